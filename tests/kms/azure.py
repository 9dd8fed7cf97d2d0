"""A stand-in for the REST interface of Azure Key Vault: one RSA key with versions, and its challenge for a token.

Not Microsoft's code: written from the API reference (learn.microsoft.com/rest/api/keyvault/keys: Get Key, Wrap Key,
Unwrap Key; "Authentication, requests and responses"), for the paths, members and error bodies that the client uses.
"""

import secrets
import ssl
import subprocess
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

KEY: Final = "unseal"
TOKEN: Final = "canary-bearer-token"
_OAEP: Final = OAEP(MGF1(SHA256()), SHA256(), None)

Answer = tuple[int, dict[str, Any], dict[str, str]]


class Credential:
    """A credential that always has the same token."""

    def __init__(self, token: str = TOKEN) -> None:
        self._token = token

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> "AccessToken":
        """The token, good for an hour."""
        from azure.core.credentials import AccessToken

        return AccessToken(self._token, int(time.time()) + 3600)


class AzureVault:
    """One key. The last version is the current one; `fault` is what every authenticated request gets instead."""

    def __init__(self) -> None:
        self.versions: dict[str, RSAPrivateKey] = {}
        self.fault: int | None = None
        self.url = ""
        self.rotate()

    def rotate(self) -> None:
        """A new version."""
        self.versions[secrets.token_hex(16)] = generate_private_key(65537, 2048)

    def answer(self, method: str, path: str, headers: Any, body: Any) -> Answer:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            domain = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000"
            challenge = f'Bearer authorization="{domain}", resource="https://vault.azure.net"'
            return (*_error(401)[:2], {"WWW-Authenticate": challenge})
        if self.fault is not None:
            return _error(self.fault)
        parts = path.partition("?")[0].strip("/").split("/")
        version = parts[2] if len(parts) > 2 else list(self.versions)[-1]
        if parts[:2] != ["keys", KEY] or version not in self.versions:
            return _error(404)
        if parts[3:] == ["unwrapkey"] and method == "POST":
            return self._unwrap(version, body)
        return 200, self._bundle(version), {}

    def _bundle(self, version: str) -> dict[str, Any]:
        numbers = self.versions[version].public_key().public_numbers()
        key = {"kid": self.kid(version), "kty": "RSA", "n": _text(numbers.n), "e": _text(numbers.e)}
        return {"key": {**key, "key_ops": ["wrapKey", "unwrapKey"]}, "attributes": {"enabled": True}}

    def kid(self, version: str) -> str:
        """The identifier of a version."""
        return f"{self.url}/keys/{KEY}/{version}"

    def _unwrap(self, version: str, body: Any) -> Answer:
        value = urlsafe_b64decode(body["value"] + "==")
        try:
            plaintext = self.versions[version].decrypt(value, _OAEP)
        except ValueError:
            return _error(400)
        return 200, {"kid": self.kid(version), "value": urlsafe_b64encode(plaintext).rstrip(b"=").decode()}, {}


def tls_of_localhost(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the certificate to trust."""
    key, certificate = folder / "key", folder / "crt"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    command = ["openssl", "req", "-x509", *kind, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def _text(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()


def _error(status: int) -> Answer:
    return status, {"error": {"code": "Refused", "message": "canary message"}}, {}
