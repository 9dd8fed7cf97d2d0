"""A secret without versions: named JSON values, as KV version 1 and the cubbyhole keep them.

KV version 2 reads these records too: a mount that was upgraded from version 1 shows each as version 1 until its key
is next written, so that an upgrade moves nothing, takes no time and cannot be cut off half way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgpack
import orjson

from engines.common.errors import InvalidRequest
from engines.common.json_values import encode_json

KV_V1_PREFIX: Final = "secrets/"
_FORMAT: Final = b"\x01"


def kv_v1_key(path: str) -> str:
    """Where version 1 keeps the secret of this path, in the storage of its mount."""
    return KV_V1_PREFIX + path


@dataclass(frozen=True, slots=True)
class FlatSecret:
    """`members` holds the JSON text of each value; `written_ms` is Unix milliseconds."""

    written_ms: int
    members: Mapping[str, bytes] = field(repr=False)

    @staticmethod
    def of(body: Mapping[str, object], now_ms: int) -> FlatSecret:
        """The secret of a request body. Raises InvalidRequest for an empty one."""
        if not body:
            raise InvalidRequest("missing data fields")
        return FlatSecret(now_ms, {name: encode_json(value) for name, value in body.items()})

    def fragments(self) -> dict[str, object]:
        """The values, ready to be embedded in an answer."""
        return {name: orjson.Fragment(text) for name, text in self.members.items()}

    def encode(self) -> bytes:
        """The stored record. Raises InvalidRequest when a name is not Unicode (a lone surrogate)."""
        try:
            return _FORMAT + bytes(msgpack.packb((self.written_ms, self.members)))
        except UnicodeEncodeError:
            raise InvalidRequest("a name in the data is not valid Unicode") from None

    @staticmethod
    def decode(record: bytes) -> FlatSecret:
        """Undo `encode`. Raises ValueError for a record of another format."""
        if record[:1] != _FORMAT:
            raise ValueError("unknown format of a stored secret")
        written_ms, members = msgpack.unpackb(record[1:])
        return FlatSecret(written_ms, members)
