"""The keyring changes while the node serves."""

import asyncio
from collections.abc import Callable
from unittest.mock import patch

import pytest

from cluster.errors import NoLeader
from cluster.store import Put
from node.barrier import open_keyring, seal_keyring
from node.core import Core
from node.keyring import Keyring, RotationPolicy
from node.keyring_upkeep import change_keyring, keep_keyring
from node.seal_state import KEYRING_KEY
from tests.node.audit.kit import Asked, active_node, body_of


def stored(core: Core) -> Keyring:
    """The keyring as it is in storage."""
    record = core.storage.store.get(KEYRING_KEY)
    assert record is not None and core.root_key is not None
    return open_keyring(core.root_key, record.value)


async def keep(core: Core) -> None:
    assert core.root_key is not None
    await keep_keyring(core.storage.store, core.barrier, core.root_key, core.sources)


async def status(node: Asked) -> dict[str, int]:
    data: dict[str, int] = body_of(await node.call("GET", "sys/key-status"))["data"]
    return data


async def test_rotation_seals_anew_and_opens_what_was() -> None:
    """sys/rotate adds a key term; what older terms sealed is still read (API documentation, "/sys/rotate")."""
    async with active_node() as node:
        await node.call("POST", "secret/data/old", {"data": {"a": 1}})
        assert (await node.call("POST", "sys/rotate")).status == 204
        await node.call("POST", "secret/data/new", {"data": {"a": 2}})
        assert (await status(node))["term"] == 2
        root_key = node.core.root_key
        await node.core.seal_now()
        assert root_key is not None
        await node.core.unseal_with(root_key)
        for name, value in (("old", 1), ("new", 2)):
            answer = await node.call("GET", f"secret/data/{name}")
            assert body_of(answer)["data"]["data"] == {"a": value}
        terms = {entry.value[:4] for _, entry in node.core.storage.store.scan("logical/")}
        assert terms == {b"\0\0\0\1", b"\0\0\0\2"}


async def test_rotations_at_once_are_all_made() -> None:
    """A rotation that lost a race is made after the other: no key is overwritten."""
    async with active_node() as node:
        answers = await asyncio.gather(*(node.call("POST", "sys/rotate") for _ in range(5)))
        assert [answer.status for answer in answers] == [204] * 5
        assert stored(node.core).active_term == 6


async def test_rotation_takes_sudo() -> None:
    """A right to update sys/rotate is not enough (API documentation: root-protected paths)."""
    async with active_node() as node:
        for name, capabilities in (("some", '"update"'), ("more", '"update", "sudo"')):
            text = f'path "sys/rotate" {{ capabilities = [{capabilities}] }}'
            await node.call("POST", f"sys/policies/acl/{name}", {"policy": text})
            made = await node.call("POST", "auth/token/create", {"policies": [name]})
            token = body_of(made)["auth"]["client_token"]
            answer = await node.call("POST", "sys/rotate", token=token)
            assert answer.status == (403 if name == "some" else 204)


async def test_uses_are_counted_and_written() -> None:
    """What a key has sealed survives a restart, but for the latest; nothing is written when nothing was sealed."""
    async with active_node() as node:
        for number in range(10):
            await node.call("POST", "secret/data/a", {"data": {"a": number}})
        shown = (await status(node))["encryptions"]
        assert shown >= 10
        assert stored(node.core).active.encryptions == 0
        await keep(node.core)
        assert stored(node.core).active.encryptions == shown
        assert (await status(node))["encryptions"] == shown
        index = node.core.storage.store.applied_index
        await keep(node.core)
        assert node.core.storage.store.applied_index == index


async def test_a_key_that_is_used_up_is_replaced_by_itself() -> None:
    """Random nonces must not be drawn more than 2**32 times under one key (design.md, section 3)."""
    async with active_node() as node:
        core = node.core
        assert core.root_key is not None
        few: Callable[[Keyring], Keyring] = lambda ring: ring.with_rotation(RotationPolicy(max_operations=5))  # noqa: E731
        await change_keyring(core.storage.store, core.barrier, core.root_key, core.sources.random, few)
        for number in range(10):
            await node.call("POST", "secret/data/a", {"data": {"a": number}})
        await keep(core)
        assert stored(core).active_term == 2
        assert stored(core).key(1).encryptions >= 10


async def test_counts_are_not_lost_when_they_cannot_be_written() -> None:
    """A leader that falls keeps what it has counted for the next time."""
    async with active_node() as node:
        await node.call("POST", "secret/data/a", {"data": {"a": 1}})
        before = node.core.barrier.uncounted

        async def fails(_: object) -> int:
            raise NoLeader("leadership was lost")

        with patch.object(node.core.storage.store, "commit", fails):
            await keep(node.core)
        assert node.core.barrier.uncounted == before


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"max_operations": 1_000_000, "interval": "48h"}, 204),
        ({"max_operations": 999_999}, 400),
        ({"max_operations": 3_865_470_567}, 400),
        ({"interval": "1h"}, 400),
        ({"interval": "soon"}, 400),
        ({"interval": 0, "enabled": False}, 204),
    ],
)
async def test_the_policy_of_rotation(given: dict[str, object], status: int) -> None:
    """sys/rotate/config within its documented bounds; what is left out stays."""
    async with active_node() as node:
        assert (await node.call("POST", "sys/rotate/config", given)).status == status
        data = body_of(await node.call("GET", "sys/rotate/config"))["data"]
        expected: dict[str, object] = {"enabled": True, "interval": 0, "max_operations": 3_865_470_566}
        if status == 204:
            expected |= {**given, **({"interval": "48h0m0s"} if given["interval"] else {})}
        assert data == expected


async def test_a_keyring_of_another_cluster_seals_the_node() -> None:
    """It arrives inside apply, which must not fail; nothing that it sealed could be opened."""
    async with active_node() as node:
        core = node.core
        foreign = seal_keyring(bytes(32), Keyring.created(bytes(32), 0), core.sources.random)
        await core.storage.store.commit([Put(KEYRING_KEY, foreign)])
        async with asyncio.timeout(10):
            while not core.is_sealed:
                await asyncio.sleep(0)


async def test_a_rotation_is_made_once_though_the_leader_falls_behind_it() -> None:
    """Its own commit is the proof that the answer needs: asked again elsewhere, it would be made twice."""

    def refuses(_since: int | None = None) -> None:
        raise NoLeader("this node cannot reach a majority of the cluster")

    async with active_node() as node:
        with patch.object(node.core.storage.store, "require_lease", refuses):
            assert (await node.call("POST", "sys/rotate")).status == 204
        assert stored(node.core).active_term == 2
