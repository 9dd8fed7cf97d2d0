"""`python -m tests.kms.moto_server PORT`: moto's server, with what AWS KMS does and moto leaves out.

A key that is disabled neither encrypts nor decrypts (API reference of KMS: DisabledException), and one that is to be
deleted is in a state for neither (KMSInvalidStateException). Refused credentials are told in the protocol of KMS, JSON
(common errors of AWS: AccessDeniedException, UnrecognizedClientException, InvalidSignatureException).
"""

import sys
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.iam import access_control
from moto.iam.access_control import IAMRequest
from moto.kms.models import KmsBackend
from moto.server import main


class _Refusal(JsonRESTError):
    code = 400


def _require_enabled(backend: KmsBackend, key_id: str) -> None:
    state = backend.keys[backend.any_id_to_key_id(key_id)].key_state
    if state == "Disabled":
        raise _Refusal("DisabledException", f"{key_id} is disabled.")
    if state != "Enabled":
        raise _Refusal("KMSInvalidStateException", f"{key_id} is {state}.")


_encrypt, _decrypt = KmsBackend.encrypt, KmsBackend.decrypt


def _checked_encrypt(self: KmsBackend, key_id: str, *args: Any, **kwargs: Any) -> tuple[bytes, str]:
    _require_enabled(self, key_id)
    return _encrypt(self, key_id, *args, **kwargs)


def _checked_decrypt(self: KmsBackend, *args: Any, **kwargs: Any) -> tuple[bytes, str]:
    plaintext, arn = _decrypt(self, *args, **kwargs)
    _require_enabled(self, arn)
    return plaintext, arn


class _KmsIamRequest(IAMRequest):
    def _raise_access_denied(self) -> None:
        raise _Refusal("AccessDeniedException", f"{self._access_key.arn} is not authorized")

    def _raise_invalid_access_key(self, _: str) -> None:
        raise _Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")

    def _raise_signature_does_not_match(self) -> None:
        raise _Refusal("InvalidSignatureException", "The request signature we calculated does not match.")


if __name__ == "__main__":
    access_control.IAMRequest = _KmsIamRequest  # type: ignore[misc]
    KmsBackend.encrypt = _checked_encrypt  # type: ignore[method-assign]
    KmsBackend.decrypt = _checked_decrypt  # type: ignore[method-assign]
    main(["--host", "127.0.0.1", "--port", sys.argv[1]])
