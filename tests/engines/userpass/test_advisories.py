"""Weaknesses that were published of login methods by password: none may exist here."""

import asyncio
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest

from engines.common.errors import LoginRefused
from engines.userpass import logic
from engines.userpass.logic import fold_path
from tests.engines.userpass.rig import log_in, userpass


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prefix and cost of each hash that a password was compared with, in order."""
    calls: list[str] = []
    real: Callable[[bytes, bytes], bool] = bcrypt.checkpw

    def counted(password: bytes, hashed_password: bytes) -> bool:
        calls.append(hashed_password[:7].decode())
        return real(password, hashed_password)

    monkeypatch.setattr("engines.userpass.logic.bcrypt.checkpw", counted)
    return calls


async def test_cve_2025_6011_an_unknown_user_costs_the_same(hashed: list[str]) -> None:
    """Right, wrong and too long passwords, and unknown users, each cost one comparison of the same cost."""
    rig = userpass()
    await rig.write("users/alice", password="right")
    attempts = (("alice", "right"), ("alice", "wrong"), ("nobody", "wrong"), ("nobody", "x" * 99), ("alice", "x" * 99))
    for name, password in attempts:
        hashed.clear()
        if (name, password) == ("alice", "right"):
            await log_in(rig, name, password)
        else:
            with pytest.raises(LoginRefused):
                await log_in(rig, name, password)
        assert hashed == ["$2b$10$"]


async def test_cve_2020_35177_an_unknown_user_reads_the_same() -> None:
    """One text for an unknown user and a wrong password; the alias that is counted is the typed name, folded."""
    rig = userpass()
    await rig.write("users/alice", password="right")
    refusals = []
    for name in ("alice", "nobody"):
        with pytest.raises(LoginRefused) as refused:
            await log_in(rig, name, "wrong")
        refusals.append(str(refused.value))
        assert refused.value.alias_name == name
    assert refusals == ["invalid username or password"] * 2


@pytest.mark.parametrize("typed", ["bob", "Bob", "BOB", "bob ", " bOb"])
async def test_cve_2025_6004_one_spelling_of_a_name(typed: str) -> None:
    """Every spelling is the same user at login, in its refusal, in its grant and in storage."""
    rig = userpass()
    await rig.write(f"users/{typed}", password="right")
    assert list(rig.view.records) == ["users/bob"]
    assert (await log_in(rig, typed, "right")).alias_name == "bob"
    with pytest.raises(LoginRefused) as refused:
        await log_in(rig, typed, "wrong")
    assert refused.value.alias_name == "bob"


@pytest.mark.parametrize(
    ("path", "folded"),
    [
        ("users/Bob", "users/bob"),
        ("users/BOB /password", "users/bob/password"),
        ("login/Bob", "login/bob"),
        ("users", "users"),
        ("other/Bob", "other/Bob"),
    ],
)
def test_cve_2026_89322_policy_sees_the_folded_path(path: str, folded: str) -> None:
    """What the pipeline asks policy about is the name that is acted on."""
    assert fold_path(path) == folded


async def test_a_password_that_changes_during_a_login_does_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that began before the password was changed does not end after it with a token."""
    rig = userpass()
    await rig.write("users/alice", password="old")
    real = logic.is_password

    async def meanwhile(password: str, password_hash: str) -> bool:
        matches = await real(password, password_hash)
        await rig.write("users/alice/password", password="new")
        return matches

    monkeypatch.setattr(logic, "is_password", meanwhile)
    with pytest.raises(LoginRefused):
        await log_in(rig, "alice", "old")


async def test_a_storm_of_logins_leaves_the_loop_free() -> None:
    """While many logins wait for bcrypt, the event loop keeps turning: heartbeats are on it."""
    rig = userpass()
    await rig.write("users/alice", password="right")
    storm: list[asyncio.Task[Any]] = [asyncio.create_task(log_in(rig, "alice", "right")) for _ in range(12)]
    turns = 0
    while not all(task.done() for task in storm):
        await asyncio.sleep(0.001)
        turns += 1
    assert all(task.result().alias_name == "alice" for task in storm)
    assert turns > 50, "12 logins take over 300 ms; the loop turned too seldom meanwhile"
    assert logic._THREADS._max_workers < 8
