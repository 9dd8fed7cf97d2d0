"""A stand-in for the REST interface of Google Cloud KMS: encrypt and decrypt of one symmetric key with versions.

Not Google's code: written from the API reference (cloud.google.com/kms/docs/reference/rest, cryptoKeys.encrypt and
.decrypt), for the paths, members and error bodies that the client uses.
"""

import json
import secrets
from base64 import b64decode, b64encode
from typing import Any, Final

from engines.common.crypto import Aead, NotAuthentic

KEY: Final = "projects/p/locations/europe-west3/keyRings/ring/cryptoKeys/key"

Answer = tuple[int, dict[str, Any], dict[str, str]]


class GoogleKms:
    """One key. `primary` is the version that encrypts; `fault` is what every request gets instead of an answer."""

    def __init__(self) -> None:
        self.versions = {1: secrets.token_bytes(32)}
        self.disabled: set[int] = set()
        self.fault: tuple[int, str] | None = None
        self.bodies: list[Any] = []

    @property
    def primary(self) -> int:
        return max(self.versions)

    def rotate(self) -> None:
        """A new primary version."""
        self.versions[self.primary + 1] = secrets.token_bytes(32)

    def answer(self, method: str, path: str, headers: Any, body: Any) -> Answer:
        self.bodies.append(body)
        name, _, verb = path.partition("?")[0].removeprefix("/v1/").rpartition(":")
        if self.fault is not None:
            return _error(*self.fault)
        if name != KEY or method != "POST":
            return _error(404, "NOT_FOUND")
        return self._encrypt(body) if verb == "encrypt" else self._decrypt(body)

    def _encrypt(self, body: Any) -> Answer:
        version = self.primary
        if version in self.disabled:
            return _error(400, "FAILED_PRECONDITION")
        nonce = secrets.token_bytes(12)
        sealed = bytes([version]) + nonce + Aead(self.versions[version]).seal(nonce, b64decode(body["plaintext"]), b"")
        name = f"{KEY}/cryptoKeyVersions/{version}"
        return 200, {"name": name, "ciphertext": b64encode(sealed).decode(), "protectionLevel": "SOFTWARE"}, {}

    def _decrypt(self, body: Any) -> Answer:
        sealed = b64decode(body["ciphertext"])
        version = sealed[0]
        if version in self.disabled:
            return _error(400, "FAILED_PRECONDITION")
        try:
            plaintext = Aead(self.versions[version]).open(sealed[1:13], sealed[13:], b"")
        except (KeyError, NotAuthentic, ValueError):
            return _error(400, "INVALID_ARGUMENT")
        return 200, {"plaintext": b64encode(plaintext).decode(), "usedPrimary": version == self.primary}, {}


def _error(code: int, status: str) -> Answer:
    return code, {"error": {"code": code, "message": f"canary message {json.dumps(status)}", "status": status}}, {}
