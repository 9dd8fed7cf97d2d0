"""The keys of the barrier, one per key term. Immutable: a rotation makes a new keyring with one key more."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import msgpack

from engines.common.crypto import KEY_BYTES
from node.limits import BARRIER_ENCRYPTIONS_MAX

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Key:
    """One AES-256 key, when it was installed (Unix milliseconds) and how often it has sealed, as last written."""

    term: int
    value: bytes = field(repr=False)
    installed_at_ms: int
    encryptions: int


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """When the active key is to be replaced by itself: after so many uses, or so old (interval_s; 0 means never)."""

    max_operations: int = BARRIER_ENCRYPTIONS_MAX
    interval_s: int = 0
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys by term. Invariant: terms count up from 1 without a gap, and the last is the active one."""

    keys: tuple[Key, ...]
    rotation: RotationPolicy = RotationPolicy()

    def __post_init__(self) -> None:
        if not self.keys or [key.term for key in self.keys] != list(range(1, len(self.keys) + 1)):
            raise ValueError("the terms of a keyring count up from 1")
        if any(len(key.value) != KEY_BYTES for key in self.keys):
            raise ValueError(f"a barrier key has {KEY_BYTES} bytes")

    @classmethod
    def created(cls, value: bytes, now_ms: int) -> Self:
        """A keyring whose first key is `value`, 32 random bytes."""
        return cls((Key(1, value, now_ms, 0),))

    @property
    def active(self) -> Key:
        """The key that seals."""
        return self.keys[-1]

    @property
    def active_term(self) -> int:
        """The term of the key that seals."""
        return len(self.keys)

    def key(self, term: int) -> Key:
        """The key of this term. Raises KeyError."""
        if not 1 <= term <= len(self.keys):
            raise KeyError(term)
        return self.keys[term - 1]

    def rotated(self, new_value: bytes, now_ms: int) -> Self:
        """The keyring with a new active key of 32 random bytes; the old keys go on opening what they sealed."""
        return replace(self, keys=(*self.keys, Key(self.active_term + 1, new_value, now_ms, 0)))

    def counted(self, encryptions: Mapping[int, int]) -> Self:
        """The keyring with these uses, by term, added to what its keys have counted so far."""
        keys = (replace(key, encryptions=key.encryptions + encryptions.get(key.term, 0)) for key in self.keys)
        return replace(self, keys=tuple(keys))

    def with_rotation(self, rotation: RotationPolicy) -> Self:
        """The keyring under another rotation policy."""
        return replace(self, rotation=rotation)

    def is_rotation_due(self, now_ms: int, uncounted: int = 0) -> bool:
        """Whether the active key is used up or too old; `uncounted` are uses not yet added by `counted`."""
        if not self.rotation.enabled:
            return False
        if self.active.encryptions + uncounted >= self.rotation.max_operations:
            return True
        interval_ms = self.rotation.interval_s * 1000
        return interval_ms > 0 and now_ms - self.active.installed_at_ms >= interval_ms

    def to_bytes(self) -> bytes:
        """Format version, then msgpack. In clear: only `seal_keyring` may see it. from_bytes reverses it."""
        keys = [(key.term, key.value, key.installed_at_ms, key.encryptions) for key in self.keys]
        rotation = (self.rotation.max_operations, self.rotation.interval_s, self.rotation.enabled)
        packed: bytes = msgpack.packb((keys, rotation))
        return bytes([_FORMAT]) + packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError when the bytes are no keyring, or one of a newer format; never shows them."""
        if data[:1] != bytes([_FORMAT]):
            raise ValueError("the keyring has a format that this version does not know")
        try:
            keys, rotation = msgpack.unpackb(data[1:])
            return cls(tuple(Key(*key) for key in keys), RotationPolicy(*rotation))
        except Exception:  # msgpack raises many kinds; all of them may quote the data, so none is chained
            raise ValueError("the keyring is damaged") from None
