"""Unsealing where the node's own copy of the sealed root key is out of date: it was down while the seal was changed."""

import logging

import pytest

from node.errors import JoinRefused
from node.join_target import JoinTarget
from node.seal_state import ROOT_KEY_KEY, SealConfig, SealedKeys
from node.storage import InmemStorage
from node.unseal import unseal_by_itself
from tests.node.seals import give, initialized, life, shamir, static, until

OTHERS = [JoinTarget(api_address="https://gone"), JoinTarget(api_address="https://there")]


def others_have(monkeypatch: pytest.MonkeyPatch, keys: SealedKeys) -> None:
    """Of two nodes in retry_join the first is away, and the second answers with these."""

    async def ask_keys(target: JoinTarget, node_id: str) -> SealedKeys:
        if target is OTHERS[0]:
            raise JoinRefused("it is away")
        return keys

    monkeypatch.setattr("node.unseal.configured_targets", lambda config: OTHERS)
    monkeypatch.setattr("node.unseal.ask_keys", ask_keys)


async def root_key_of(storage: InmemStorage, shares: tuple[str, ...]) -> bytes:
    async with life(storage, shamir()) as core:
        await give(core, shares[:2])
        assert core.root_key is not None
        return core.root_key


def config(type_: str) -> SealConfig:
    return SealConfig(type=type_, shares=3, threshold=2)


async def test_a_node_that_missed_a_migration_unseals_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It still has the copy that shamir sealed, and the new stanza: another node has the one that its seal opens."""
    storage = InmemStorage()
    shares = await initialized(storage, shamir())
    blob = await static("a").wrap(await root_key_of(storage, shares))
    others_have(monkeypatch, SealedKeys(config=config("static"), sealed_root_key=blob))
    async with life(storage, static("a")) as core:
        await unseal_by_itself(core)
        assert core.holds_keys() and core.migrating.source is None


async def test_a_node_that_missed_a_rotation_unseals_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy names a key that its seal no longer has."""
    storage = InmemStorage()
    shares = await initialized(storage, shamir())
    root_key = await root_key_of(storage, shares)
    await migrated(storage, shares, "2025")
    blob = await static("2026").wrap(root_key)
    others_have(monkeypatch, SealedKeys(config=config("static"), sealed_root_key=blob))
    async with life(storage, static("2026")) as core:
        await unseal_by_itself(core)
        assert core.holds_keys()


async def migrated(storage: InmemStorage, shares: tuple[str, ...], name: str) -> None:
    async with life(storage, static(name)) as core:
        await give(core, shares[:2], migrate=True)
        await until(lambda: core.migrating.source is None)


@pytest.mark.parametrize("type_", ["static", "shamir"])
async def test_what_others_say_is_not_believed(
    type_: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A root key that does not open this node's keyring, or another kind of seal, changes nothing and is not logged."""
    caplog.set_level(logging.DEBUG)
    storage, canary = InmemStorage(), b"canary of a foreign root key...."
    await initialized(storage, shamir())
    before = storage.store.get(ROOT_KEY_KEY)
    others_have(monkeypatch, SealedKeys(config=config(type_), sealed_root_key=await static("a").wrap(canary)))
    async with life(storage, static("a")) as core:
        await unseal_by_itself(core)
        assert not core.holds_keys() and core.migrating.source is not None
    assert storage.store.get(ROOT_KEY_KEY) == before
    assert "canary" not in caplog.text and canary.hex() not in caplog.text
