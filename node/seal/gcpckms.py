"""The seal `gcpckms`: a symmetric key of Google Cloud KMS, through Google's client and its REST transport.

The account needs cloudkms.cryptoKeyVersions.useToEncrypt and useToDecrypt on the key. The client is an extra of the
distribution, `strongroom[gcpckms]`.
"""

from typing import TYPE_CHECKING, Final, cast

from node.barrier import Random
from node.config.seals import SealStanza
from node.errors import NodeError
from node.seal.envelope import DataKey, refusal
from node.seal.kms import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    Env,
    Kms,
    KmsSeal,
    denied,
    require_client,
    unavailable,
)

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.credentials import Credentials
    from google.cloud.kms_v1 import KeyManagementServiceClient

HOST: Final = "cloudkms.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
_SERVICE: Final = "Google Cloud KMS"
_VERSIONS: Final = "/cryptoKeyVersions/"
_ADVICE: Final = {
    "PERMISSION_DENIED": "the account may not use the key; it needs cloudkms.cryptoKeyEncrypterDecrypter",
    "UNAUTHENTICATED": "the credentials are not accepted",
    "NOT_FOUND": "there is no such project, key ring or key",
    "FAILED_PRECONDITION": "the version of the key is disabled or destroyed, or none is primary",
}


def gcpckms_seal(stanza: SealStanza, env: Env, random: Random) -> KmsSeal:
    """The seal of a stanza `gcpckms`. Raises ConfigError."""
    require_client(stanza, "google.cloud.kms_v1", "gcpckms")
    project, region = stanza.required("project"), stanza.required("region")
    ring, key = stanza.required("key_ring"), stanza.required("crypto_key")
    name = f"projects/{project}/locations/{region}/keyRings/{ring}/cryptoKeys/{key}"
    file = stanza.text("credentials")
    if file == env.get("GOOGLE_APPLICATION_CREDENTIALS"):
        file = ""  # the client reads that variable itself, and knows more kinds of files than account keys
    return KmsSeal("gcpckms", lambda: GcpKms(client_at(HOST, "https", _credentials(file)), name), random)


def client_at(host: str, scheme: str, credentials: "Credentials") -> "KeyManagementServiceClient":
    """The client. REST and not gRPC, whose threads and sockets would stay for two calls a day."""
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport

    transport = KeyManagementServiceRestTransport(host=host, credentials=credentials, url_scheme=scheme)
    return KeyManagementServiceClient(transport=transport)


def _credentials(file: str) -> "Credentials":
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import service_account

    try:
        if file:
            found = service_account.Credentials.from_service_account_file(file, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
            return cast("Credentials", found)
        return google.auth.default(scopes=[_SCOPE])[0]
    except (GoogleAuthError, OSError, ValueError) as error:
        raise denied(_SERVICE, type(error).__name__, "no credentials were found, or their file is wrong") from None


class GcpKms(Kms):
    """The key of this resource name."""

    def __init__(self, client: "KeyManagementServiceClient", name: str) -> None:
        self._client = client
        self._name = name

    def wrap(self, data_key: bytes) -> DataKey:
        try:
            answer = self._client.encrypt(
                name=self._name, plaintext=data_key, timeout=CONNECT_TIMEOUT_S + READ_TIMEOUT_S, retry=None
            )
        except Exception as error:
            raise _known(error) from None
        return DataKey(key_id=answer.name, wrapped=answer.ciphertext)  # the name is that of the version

    def unwrap(self, wrapped: DataKey) -> bytes:
        key = wrapped.key_id.partition(_VERSIONS)[0]  # the service finds the version in the ciphertext
        try:
            answer = self._client.decrypt(
                name=key, ciphertext=wrapped.wrapped, timeout=CONNECT_TIMEOUT_S + READ_TIMEOUT_S, retry=None
            )
        except Exception as error:
            raise _known(error) from None
        return answer.plaintext


def _known(error: Exception) -> NodeError:
    from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
    from google.auth.exceptions import GoogleAuthError, TransportError

    if isinstance(error, GoogleAPICallError):
        status = _status(error)
        if status == "INVALID_ARGUMENT":
            return refusal()
        return denied(_SERVICE, status, _ADVICE[status]) if status in _ADVICE else unavailable(_SERVICE, status)
    if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
        return denied(_SERVICE, type(error).__name__, "the credentials are not accepted")
    if isinstance(error, GoogleAPIError | GoogleAuthError | OSError):  # requests' errors are OSErrors
        return unavailable(_SERVICE, type(error).__name__)
    raise error


def _status(error: "GoogleAPICallError") -> str:
    """The canonical code, from the body: by HTTP status alone, a disabled key and a wrong blob are the same."""
    try:
        return str(error.response.json()["error"]["status"])[:64]
    except (AttributeError, KeyError, TypeError, ValueError):
        return str(error.code)[:64]
