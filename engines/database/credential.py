"""What a user proves who it is with: a password, or a private RSA key whose public half the database is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.database.statements import placeholders

PASSWORD: Final = "password"  # noqa: S105 - a type of credential
RSA: Final = "rsa_private_key"
_KEY_BITS: Final = {"2048": 2048, "3072": 3072, "4096": 4096}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """`secret`: the password, or the private key as PEM (PKCS #8). `public_key`: PEM, for a key alone."""

    type: str = PASSWORD
    secret: str = field(repr=False)
    public_key: str = ""

    @property
    def values(self) -> dict[str, str]:
        """What statements may hold of it."""
        return {"public_key": self.public_key} if self.type == RSA else {"password": self.secret}


def require_type(given: str, config: Mapping[str, str]) -> str:
    """The type, if it and its settings are what databases here can have. Raises InvalidRequest."""
    kind = given or PASSWORD
    known = {PASSWORD: {"password_policy"}, RSA: {"key_bits", "format"}}.get(kind)
    if known is None:
        raise InvalidRequest(f"unsupported credential_type {given!r}: there are {PASSWORD} and {RSA}")
    if extra := set(config) - known:
        raise InvalidRequest(f"credential_config of {kind} has no {min(extra)!r}")
    if config.get("key_bits", "2048") not in _KEY_BITS:
        raise InvalidRequest("key_bits must be 2048, 3072 or 4096")
    if config.get("format", "pkcs8") != "pkcs8":
        raise InvalidRequest("format must be pkcs8")
    return kind


def require_place(kind: str, statements: Sequence[str], field_name: str) -> None:
    """Raise InvalidRequest where statements would not set the credential, or leave a placeholder as a password."""
    found = placeholders(statements)
    if kind == RSA and "public_key" not in found:
        raise InvalidRequest(f"{field_name} must hold {{{{public_key}}}} for credential_type {RSA}")
    other = "password" if kind == RSA else "public_key"
    if other in found:
        raise InvalidRequest(f"{field_name} may not hold {{{{{other}}}}} for credential_type {kind}")


async def new_credential(kind: str, config: Mapping[str, str], password_policy: str, ctx: Context) -> Credential:
    """A new one. A key is made in a thread: it takes up to a second."""
    if kind != RSA:
        return Credential(secret=ctx.out.new_password(config.get("password_policy") or password_policy))
    return await asyncio.to_thread(_new_key, _KEY_BITS[config.get("key_bits", "2048")])


def _new_key(bits: int) -> Credential:
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Credential(type=RSA, secret=pem.decode(), public_key=public.decode())
