"""User lockout: when it locks, whom, for how long, and what configures it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.common.context import Seen
from engines.common.errors import InvalidRequest, PermissionDenied
from engines.common.plan import Delete, Put, Write
from node import lockout
from node.config.load import load
from node.lockout import Lockout, lockout_answer, tuned_lockout
from node.mounts import Mount, MountConfig
from node.sources import FixedSources

MOUNT = Mount(path="auth/userpass/", type="userpass", uuid="u", accessor="auth_userpass_1")


class Store:
    """The opened storage, as far as Lockout uses it."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def get(self, key: str) -> Seen | None:
        return Seen(key, self.records[key], 1) if key in self.records else None

    def keys(self, prefix: str, limit: int | None = None) -> Sequence[str]:
        return sorted(key for key in self.records if key.startswith(prefix))[:limit]

    async def commit(self, _prefix: str, writes: Sequence[Write]) -> int:
        for write in writes:
            if isinstance(write, Put):
                self.records[write.key] = write.value
            elif isinstance(write, Delete):
                self.records.pop(write.key, None)
        return 1


class Rig:
    """Lockout on a configuration text, with a clock to turn."""

    def __init__(self, tmp_path: Path, text: str = "", env: dict[str, str] | None = None) -> None:
        file = tmp_path / "c.hcl"
        file.write_text(text)
        self.config = load([file], env or {}, dev=True)
        self.sources = FixedSources(1_795_291_200_000, 1)
        self.store = Store()
        self.lockout = self.other_leader()

    def other_leader(self) -> Lockout:
        """The same storage on a node that has counted nothing."""
        store: Any = self.store
        return Lockout(self.config, store, self.sources, b"s" * 32)

    async def fail(self, times: int = 1, name: str = "bob", mount: Mount = MOUNT) -> list[bool]:
        """For each failed login, whether it was answered as locked."""
        locked = []
        for _ in range(times):
            try:
                await self.lockout.failed(mount, name)
            except PermissionDenied:
                locked.append(True)
            else:
                locked.append(False)
        return locked

    async def succeed(self, name: str = "bob", mount: Mount = MOUNT) -> bool:
        """Whether right credentials are let in."""
        try:
            writes = self.lockout.admit(mount, name)
        except PermissionDenied:
            return False
        await self.store.commit("", writes)
        return True


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_five_failures_lock_for_fifteen_minutes(rig: Rig) -> None:
    """The documented defaults; the right password does not help while it lasts, and trying does not prolong it."""
    assert await rig.fail(5) == [False] * 5
    assert not await rig.succeed()
    rig.sources.advance(899_999)
    assert await rig.fail() == [True]
    rig.sources.advance(1)
    assert await rig.succeed()
    assert rig.store.records == {}


async def test_after_a_lock_the_count_begins_anew(rig: Rig) -> None:
    """The first failure after a lock has ended does not lock again."""
    await rig.fail(5)
    rig.sources.advance(900_000)
    assert await rig.fail(5) == [False] * 5
    assert await rig.fail() == [True]


async def test_a_success_and_a_pause_reset_the_count(rig: Rig) -> None:
    """Four failures are forgotten by a login, and fifteen minutes after the last of them."""
    await rig.fail(4)
    assert await rig.succeed()
    assert await rig.fail(4) == [False] * 4
    rig.sources.advance(900_000)
    assert await rig.fail(4) == [False] * 4
    assert await rig.succeed()


async def test_users_and_mounts_are_counted_apart(rig: Rig) -> None:
    """Another user, and a user of that name in another mount, are not locked."""
    await rig.fail(5)
    other = replace(MOUNT, accessor="auth_userpass_2")
    assert await rig.succeed("eve")
    assert await rig.succeed("bob", other)


async def test_a_lock_survives_a_change_of_leader(rig: Rig) -> None:
    """It is in the store; the name is not in its key."""
    await rig.fail(5)
    assert not any("bob" in key for key in rig.store.records)
    rig.lockout = rig.other_leader()
    assert not await rig.succeed()


async def test_locked_users_and_unlock(rig: Rig) -> None:
    """Who is locked is listed; unlocking is done once or twice, and forgets the failures."""
    await rig.fail(5)
    await rig.fail(1, "eve")
    mounts = {MOUNT.accessor: MOUNT}
    assert [user.alias_name for user in rig.lockout.locked_users(mounts)] == ["bob"]
    assert rig.lockout.locked_users({}) == []
    for _ in range(2):
        await rig.store.commit("", rig.lockout.unlock_writes(MOUNT.accessor, "bob"))
    assert rig.lockout.locked_users(mounts) == []
    assert await rig.succeed()
    await rig.fail(5)
    rig.sources.advance(900_000)
    assert rig.lockout.locked_users(mounts) == []


async def test_precedence(tmp_path: Path) -> None:
    """The variable beats tune, tune beats the method's block, that beats "all", that beats the defaults."""
    text = 'user_lockout "all" { lockout_threshold = 4 }\nuser_lockout "userpass" { lockout_threshold = 3 }\n'
    rig = Rig(tmp_path, text)
    tuned = replace(MOUNT, config=MountConfig(user_lockout={"lockout_threshold": "2"}))
    approle = replace(MOUNT, type="approle")
    found = [rig.lockout.settings(mount) for mount in (approle, MOUNT, tuned)]
    assert [one.threshold if one else None for one in found] == [4, 3, 2]
    for name in ("VAULT_DISABLE_USER_LOCKOUT", "STRONGROOM_DISABLE_USER_LOCKOUT"):
        assert Rig(tmp_path, text, {name: "true"}).lockout.settings(tuned) is None
    off = replace(MOUNT, config=MountConfig(user_lockout={"lockout_disable": "true"}))
    on = replace(MOUNT, config=MountConfig(user_lockout={"lockout_disable": "false"}))
    assert rig.lockout.settings(off) is None
    disabled = Rig(tmp_path, 'user_lockout "all" { disable_lockout = true }\n').lockout
    assert disabled.settings(MOUNT) is None
    assert disabled.settings(on) is not None


async def test_where_nobody_is_locked_out(rig: Rig) -> None:
    """Other methods, and a mount that is tuned so, count nothing."""
    for mount in (
        replace(MOUNT, type="kubernetes"),
        replace(MOUNT, config=MountConfig(user_lockout={"lockout_disable": "true"})),
    ):
        assert await rig.fail(20, mount=mount) == [False] * 20
        assert await rig.succeed(mount=mount)


async def test_strangers_cannot_fill_memory_or_storage(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are bounded; past the bound a lock holds in memory, and what has ended makes room."""
    monkeypatch.setattr(lockout, "COUNTED_MAX", 50)
    monkeypatch.setattr(lockout, "STORED_MAX", 10)
    for number in range(100):
        await rig.fail(5, f"stranger-{number}")
    assert len(rig.store.records) == 10
    assert len(rig.lockout._failures) <= 50
    await rig.fail(5)
    assert len(rig.store.records) == 10
    assert not await rig.succeed()
    rig.sources.advance(900_000)
    await rig.fail(5, "last")
    assert len(rig.store.records) == 1


def test_tuning() -> None:
    """Numbers, durations and booleans as the command line and the API give them; kept and shown in seconds."""
    given = {"lockout_threshold": "7", "lockout_duration": "10m", "lockout_counter_reset_duration": "90s"}
    kept = tuned_lockout("userpass", {"lockout_disable": "true"}, {**given, "lockout_disable": False})
    assert lockout_answer(kept) == {
        "lockout_disable": False,
        "lockout_threshold": 7,
        "lockout_duration": 600,
        "lockout_counter_reset": 90,
    }
    for name, value in (
        ("lockout_threshold", "canary"),
        ("lockout_threshold", -1),
        ("lockout_duration", []),
        ("lockout_disable", "canary"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            tuned_lockout("approle", {}, {name: value})
        assert "canary" not in str(refused.value)
    with pytest.raises(InvalidRequest, match='auth type "kubernetes" not allowed'):
        tuned_lockout("kubernetes", {}, {"lockout_threshold": "7"})
