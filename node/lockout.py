"""User lockout: after some failed logins in a row, nobody can log in as that user for a while, right password or not.

Who failed is what the engine says in its refusal or its grant, so both sides of a login are judged by one spelling of
the name (CVE-2025-6004). Unknown users are counted and locked like known ones. The judgement comes after the engine has
looked at the credentials: however many guesses run at the same time, only the first few get an answer that depends on
them, and the time an answer takes says nothing.

Failures are counted in memory, a lock is stored: it holds after a restart and a change of leader.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgpack

from engines.common.crypto import hmac_sha256
from engines.common.duration import parse_duration_s
from engines.common.errors import InvalidRequest, PermissionDenied
from engines.common.plan import Delete, Put, Write
from node.config.model import Config
from node.config.services import LOCKOUT_METHODS
from node.mounts import Mount
from node.sources import Sources
from node.view import OpenedStore

PREFIX: Final = "sys/lockout/"  # <mount accessor>/<HMAC of the alias>: a role id is half a credential
# Bounds on what strangers can make this node hold by failing under ever new names: the oldest count goes first, and
# past the number of stored locks a lock is kept in memory only.
COUNTED_MAX: Final = 16_384
STORED_MAX: Final = 4_096
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """When to lock, and for how long."""

    threshold: int
    duration_ms: int
    reset_ms: int


@dataclass(frozen=True, slots=True)
class LockedUser:
    """A stored lock."""

    mount_accessor: str
    alias_name: str
    locked_at_ms: int


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last_ms: int


class Lockout:
    """The locks of one unsealed node, and on the active node the counts that lead to them."""

    def __init__(self, config: Config, opened: OpenedStore, sources: Sources, salt: bytes) -> None:
        self._config = config
        self._opened = opened
        self._sources = sources
        self._salt = salt
        self._key = lru_cache(COUNTED_MAX)(self._key_of)
        # Per mount accessor, as long as its row of the mount table is the same object.
        self._known: dict[str, tuple[Mount, Settings | None]] = {}
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    async def failed(self, mount: Mount, alias_name: str) -> None:
        """Count a login with wrong credentials. Raises PermissionDenied when the user was locked already."""
        settings = self.settings(mount)
        if settings is None:
            return
        now_ms = self._sources.now_ms()
        who = (mount.accessor, alias_name)
        if self._is_locked(who, settings, now_ms):
            raise PermissionDenied
        count = self._counted(who, settings, now_ms) + 1
        self._failures[who] = _Failures(count, now_ms)
        self._failures.move_to_end(who)
        while len(self._failures) > COUNTED_MAX:
            self._failures.popitem(last=False)
        if count >= settings.threshold:
            await self._store_lock(who, now_ms)

    def admit(self, mount: Mount, alias_name: str) -> tuple[Write, ...]:
        """Let a login with right credentials pass, and forget its failures.

        The writes remove what is left of a lock that has ended; commit them with the login.

        Raises:
            PermissionDenied: The user is locked.
        """
        settings = self.settings(mount)
        if settings is None:
            return ()
        who = (mount.accessor, alias_name)
        if self._is_locked(who, settings, self._sources.now_ms()):
            raise PermissionDenied
        self._failures.pop(who, None)
        key = self._key(who)
        return () if self._opened.get(key) is None else (Delete(key),)

    def unlock_writes(self, mount_accessor: str, alias_name: str) -> tuple[Write, ...]:
        """Forget failures and lock of a user; one that is not locked is no error."""
        who = (mount_accessor, alias_name)
        self._failures.pop(who, None)
        return (Delete(self._key(who)),)

    def locked_users(self, mounts: Mapping[str, Mount]) -> list[LockedUser]:
        """Who is locked now, in these mounts by accessor."""
        now_ms = self._sources.now_ms()
        found: list[LockedUser] = []
        for key in self._opened.keys(PREFIX, limit=2 * STORED_MAX):
            user = self._read(key)
            mount = mounts.get(user.mount_accessor) if user is not None else None
            settings = self.settings(mount) if mount is not None else None
            if user is not None and settings is not None and now_ms < user.locked_at_ms + settings.duration_ms:
                found.append(user)
        return found

    def settings(self, mount: Mount) -> Settings | None:
        """What holds for a mount; None where nobody is locked out.

        The variable VAULT_DISABLE_USER_LOCKOUT beats the mount's tune, which beats the configuration.
        """
        known = self._known.get(mount.accessor)
        if known is None or known[0] is not mount:
            known = self._known[mount.accessor] = (mount, self._settings_of(mount))
        return known[1]

    def _settings_of(self, mount: Mount) -> Settings | None:
        if mount.type not in LOCKOUT_METHODS or self._config.disable_user_lockout:
            return None
        base = self._config.lockout_of(mount.type)
        tuned = mount.config.user_lockout
        disabled = tuned.get("lockout_disable")
        if disabled == "true" or (disabled is None and base.disable_lockout):
            return None
        return Settings(
            threshold=int(tuned.get("lockout_threshold") or base.lockout_threshold),
            duration_ms=1000 * int(tuned.get("lockout_duration") or base.lockout_duration_s),
            reset_ms=1000 * int(tuned.get("lockout_counter_reset") or base.lockout_counter_reset_s),
        )

    def _is_locked(self, who: tuple[str, str], settings: Settings, now_ms: int) -> bool:
        stored = self._read(self._key(who))
        if stored is not None and now_ms < stored.locked_at_ms + settings.duration_ms:
            return True
        failures = self._failures.get(who)
        if failures is None or failures.count < settings.threshold:
            return False
        if now_ms < failures.last_ms + settings.duration_ms:
            return True
        del self._failures[who]
        return False

    def _counted(self, who: tuple[str, str], settings: Settings, now_ms: int) -> int:
        failures = self._failures.get(who)
        return failures.count if failures is not None and now_ms < failures.last_ms + settings.reset_ms else 0

    async def _store_lock(self, who: tuple[str, str], now_ms: int) -> None:
        """From here on the store says that the user is locked, unless it holds too many already."""
        keys = self._opened.keys(PREFIX, limit=STORED_MAX)
        writes: list[Write] = []
        if len(keys) >= STORED_MAX:
            writes += [Delete(key) for key in keys if self._is_old(key, now_ms)]
            if not writes:
                return
        key = self._key(who)
        put = Put(key, _FORMAT + bytes(msgpack.packb((*who, now_ms))))
        await self._opened.commit("", [*(write for write in writes if write.key != key), put])
        self._failures.pop(who, None)

    def _is_old(self, key: str, now_ms: int) -> bool:
        """Whether the lock is older than the configuration makes any; a longer one of a tuned mount may go early."""
        user = self._read(key)
        longest_s = max(self._config.lockout_of(method).lockout_duration_s for method in LOCKOUT_METHODS)
        return user is None or now_ms >= user.locked_at_ms + 1000 * longest_s

    def _key_of(self, who: tuple[str, str]) -> str:
        accessor, alias_name = who
        named = "\0".join(("lockout", accessor, alias_name)).encode("utf-8", "surrogatepass")
        return f"{PREFIX}{accessor}/{hmac_sha256(self._salt, named).hex()}"

    def _read(self, key: str) -> LockedUser | None:
        seen = self._opened.get(key)
        if seen is None:
            return None
        if seen.value[:1] != _FORMAT:
            raise ValueError("unknown format of a stored record")
        return LockedUser(*msgpack.unpackb(seen.value[1:]))


_TUNE_KEYS: Final[Mapping[str, str]] = {
    "lockout_threshold": "lockout_threshold",
    "lockout_duration": "lockout_duration",
    "lockout_counter_reset": "lockout_counter_reset",
    "lockout_counter_reset_duration": "lockout_counter_reset",  # what the command line sends
    "lockout_disable": "lockout_disable",
}


def tuned_lockout(mount_type: str, old: Mapping[str, str], given: Mapping[str, object]) -> dict[str, str]:
    """The lockout settings of a mount after a tune: numbers as text, durations in seconds.

    Raises:
        InvalidRequest: A value is no number, duration or boolean, or the auth method locks nobody out.
    """
    if mount_type not in LOCKOUT_METHODS:
        raise InvalidRequest(f'tuning of user lockout configuration for auth type "{mount_type}" not allowed')
    changed = dict(old)
    for name, value in given.items():
        key = _TUNE_KEYS.get(name)
        if key is None or value is None:
            continue
        try:
            changed[key] = _tuned_value(key, value)
        except (ValueError, TypeError):
            raise InvalidRequest(f"field validation failed: {name} of user_lockout_config is invalid") from None
    return changed


def _tuned_value(key: str, value: object) -> str:
    if key == "lockout_disable":
        text = str(value).lower()
        if text not in ("true", "false"):
            raise ValueError
        return text
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    number = int(value) if key == "lockout_threshold" else parse_duration_s(value)
    if number < 0:
        raise ValueError
    return str(number)


def lockout_answer(tuned: Mapping[str, str]) -> dict[str, object]:
    """The tuned settings as mounts show them: numbers, and durations in seconds."""
    return {name: value == "true" if name == "lockout_disable" else int(value) for name, value in tuned.items()}
