"""Hashing what a record must not show: every string, whatever it lies in. Numbers, booleans and keys stay clear."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from engines.common.crypto import HmacSha256
from engines.common.json_values import decode_json

PREFIX: Final = "hmac-sha256:"
_REMEMBERED: Final = 8192  # tokens and accessors in use at a time; only what names a caller is ever remembered
_CLEAR_TYPES: Final = frozenset({int, float, bool, type(None)})
_NOTHING: Final[frozenset[str]] = frozenset()


class Redactor:
    """The HMACs of one device, under its salt."""

    def __init__(self, salt: bytes) -> None:
        self._hexdigest = HmacSha256(salt).hexdigest
        self.hashed_name = lru_cache(_REMEMBERED)(self.hashed)
        self._empty = self.hashed("")

    def hashed(self, value: str | bytes) -> str:
        """The HMAC of a text or of bytes, as records and sys/audit-hash show it."""
        # What comes in a header or in JSON may hold a lone surrogate, so encoding must not fail.
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return PREFIX + self._hexdigest(data)

    def redacted(self, value: object, clear: Collection[str] = _NOTHING, key: str = "") -> object:
        """The value with every string and every bytes hashed, except what lies directly below a key of `clear`.

        Lists pass on the key they lie below. What is none of JSON's types and no bytes is hashed as what it becomes in
        JSON, or else as the name of its type.
        """
        kind = type(value)
        if kind is dict:
            shown: dict[str, object] = {}
            # Most of a record is flat: its strings and numbers are done here, without a call for each.
            for name, item in value.items():  # type: ignore[attr-defined]
                inner = type(item)
                if inner is str and name not in clear:
                    shown[name] = self.hashed(item) if item else self._empty
                elif inner in _CLEAR_TYPES:
                    shown[name] = item
                else:
                    shown[name if type(name) is str else str(name)] = self.redacted(item, clear, name)
            return shown
        if kind is list:
            return [self.redacted(item, clear, key) for item in value]  # type: ignore[attr-defined]
        if kind is str:
            return value if key in clear else self.hashed(value)  # type: ignore[arg-type]
        if kind in _CLEAR_TYPES:
            return value
        return self._unusual(value, clear, key)

    def _unusual(self, value: object, clear: Collection[str], key: str) -> object:
        """What decoded JSON does not hold, and what derives from what it does."""
        if isinstance(value, str):
            return self.redacted(str.__str__(value), clear, key)
        if isinstance(value, bytes | bytearray | memoryview):
            return self.hashed(bytes(value))
        if isinstance(value, Mapping):
            return self.redacted({str(name): item for name, item in value.items()}, clear, key)
        if isinstance(value, list | tuple | set | frozenset):
            return self.redacted(list(value), clear, key)
        return self.redacted(_decoded(value), clear, key)


def _decoded(value: object) -> Any:
    """What an answer may hold besides JSON's types: embedded JSON text, or what orjson writes by itself (dates)."""
    try:
        return decode_json(orjson.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__
