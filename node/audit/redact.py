"""Hashing what a record must not show: every string, whatever it lies in. Numbers, booleans and keys stay clear."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from engines.common.crypto import HmacSha256
from engines.common.json_values import decode_json

PREFIX: Final = "hmac-sha256:"
_REMEMBERED: Final = 8192  # tokens and accessors in use at a time; only what names a caller is ever remembered
_NOTHING: Final[frozenset[str]] = frozenset()


class Redactor:
    """The HMACs of one device, under its salt."""

    def __init__(self, salt: bytes) -> None:
        self._hmac = HmacSha256(salt)
        self.hashed_name = lru_cache(_REMEMBERED)(self.hashed)
        self._empty = self.hashed("")

    def hashed(self, value: str | bytes) -> str:
        """The HMAC of a text or of bytes, as records and sys/audit-hash show it."""
        # What comes in a header or in JSON may hold a lone surrogate, so encoding must not fail.
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return PREFIX + self._hmac.hexdigest(data)

    def redacted(self, value: object, clear: Collection[str] = _NOTHING, key: str = "") -> object:
        """The value with every string and every bytes hashed, except what lies directly below a key of `clear`.

        Lists pass on the key they lie below. What is none of JSON's types and no bytes shows as its type's name.
        """
        if isinstance(value, str):
            if key in clear:
                return value
            return self.hashed(value) if value else self._empty
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {_name(name): self.redacted(item, clear, _name(name)) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.redacted(item, clear, key) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return self.hashed(bytes(value))
        return self.redacted(_decoded(value), clear, key)


def _name(key: object) -> str:
    return key if isinstance(key, str) else str(key)


def _decoded(value: object) -> Any:
    """What an answer may hold besides JSON's types: embedded JSON text, or what orjson writes by itself (dates)."""
    try:
        return decode_json(orjson.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__.encode()
