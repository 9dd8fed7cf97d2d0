"""The seal `awskms`: a symmetric key of AWS KMS, through boto3 (documentation of the stanza: docs/operations/seals.md).

What is not in the stanza or the environment comes from where the AWS client looks by itself: profiles, the role of the
instance or container. The credentials need kms:Encrypt and kms:Decrypt.
"""

from typing import TYPE_CHECKING, Any, Final

from node.barrier import Random
from node.config.seals import SealStanza
from node.errors import NodeError
from node.seal.envelope import DataKey, refusal
from node.seal.kms import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Env, Kms, KmsSeal, denied, unavailable

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

REGION_DEFAULT: Final = "us-east-1"
_SERVICE: Final = "AWS KMS"
_ADVICE: Final = {
    "AccessDeniedException": "the credentials may not use the key; they need kms:Encrypt and kms:Decrypt",
    "AccessDenied": "the credentials may not use the key; they need kms:Encrypt and kms:Decrypt",
    "DisabledException": "the key is disabled; enable it",
    "KMSInvalidStateException": "the key is pending deletion, import or creation; cancel the deletion",
    "NotFoundException": "there is no such key or alias in this region and account",
    "InvalidKeyUsageException": "the key is not for encryption; a symmetric key is needed",
    "InvalidArnException": "kms_key_id is not the ARN of a key or an alias",
    "ValidationException": "kms_key_id is not valid",
    "UnrecognizedClientException": "the access key is not known",
    "InvalidClientTokenId": "the access key is not known",
    "InvalidSignatureException": "the secret key does not belong to the access key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "ExpiredTokenException": "the session token has expired",
    "MissingAuthenticationTokenException": "no credentials were sent",
    "OptInRequired": "the account may not use this service or region",
}
_WRONG_BLOB: Final = frozenset(("InvalidCiphertextException", "IncorrectKeyException"))


def awskms_seal(stanza: SealStanza, env: Env, random: Random) -> KmsSeal:
    """The seal of a stanza `awskms`. Raises ConfigError."""
    key_id = stanza.required("kms_key_id")
    endpoint = stanza.text("endpoint")
    options = {
        "region_name": stanza.text("region") or REGION_DEFAULT,
        "endpoint_url": endpoint if not endpoint or "://" in endpoint else f"https://{endpoint}",
        "aws_access_key_id": stanza.text("access_key"),
        "aws_secret_access_key": stanza.text("secret_key"),
        "aws_session_token": stanza.text("session_token"),
    }
    if bool(options["aws_access_key_id"]) != bool(options["aws_secret_access_key"]):
        raise stanza.error("access_key", "access_key and secret_key come together")
    given = {name: value for name, value in options.items() if value}
    return KmsSeal("awskms", lambda: _connected(key_id, given), random)


def _connected(key_id: str, options: dict[str, Any]) -> Kms:
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # One attempt: who asks tries again by itself, and says so in the log.
    config = Config(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, retries={"total_max_attempts": 1})
    try:
        return _AwsKms(Session().client("kms", config=config, **options), key_id)
    except (BotoCoreError, ValueError) as error:  # a profile or an endpoint that cannot be
        raise denied(_SERVICE, type(error).__name__, "check region, endpoint and profile") from None


class _AwsKms:
    def __init__(self, client: "KMSClient", key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    def wrap(self, data_key: bytes) -> DataKey:
        try:
            answer = self._client.encrypt(KeyId=self._key_id, Plaintext=data_key)
        except Exception as error:
            raise _known(error) from None
        # The key's ARN, also where the stanza names an alias.
        return DataKey(key_id=answer["KeyId"], wrapped=answer["CiphertextBlob"])

    def unwrap(self, wrapped: DataKey) -> bytes:
        try:
            return self._client.decrypt(KeyId=wrapped.key_id, CiphertextBlob=wrapped.wrapped)["Plaintext"]
        except Exception as error:
            raise _known(error) from None


def _known(error: Exception) -> NodeError:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", "unknown"))[:64]
        if code in _WRONG_BLOB:
            return refusal()
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _ADVICE or status in (401, 403):  # a proxy may have codes of its own
            return denied(_SERVICE, code, _ADVICE.get(code, "the credentials are not accepted"))
        return unavailable(_SERVICE, code)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return denied(_SERVICE, type(error).__name__, "no credentials were found")
    if isinstance(error, BotoCoreError | HTTPClientError | OSError):
        return unavailable(_SERVICE, type(error).__name__)
    raise error
