"""Seal migration: between shamir and auto-unseal both ways, between two auto-unseal seals, cut off at every step."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from cluster.store import Put, Write
from engines.common.errors import InvalidRequest
from node.core import Core
from node.errors import InvalidShares, SealRefused, SealUnavailable
from node.local_api import seal_status
from node.seal import Seal
from node.seal_migration import PendingMigration
from node.seal_state import RECOVERY_KEY_KEY, SEAL_CONFIG_KEY, SealConfig
from node.storage import InmemStorage
from node.unseal import unseal, unseal_by_itself
from tests.node.seals import give, has_recovery_key, initialized, life, shamir, static, stored_type, until


@dataclass(frozen=True)
class Kind:
    """A migration: the seals it is between, as the stanzas of a node before, during and after it."""

    old: Callable[[], Seal]
    new: Callable[[], Seal]
    keeps_old_stanza: bool = True

    def old_stanza(self) -> Seal | None:
        return self.old() if self.keeps_old_stanza else None


KINDS = {
    "shamir to auto": Kind(shamir, lambda: static("a"), keeps_old_stanza=False),
    "auto to shamir": Kind(lambda: static("a"), shamir),
    "auto to auto": Kind(lambda: static("a"), lambda: static("b")),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


async def unsealed_by(storage: InmemStorage, seal: Seal, shares: Sequence[str]) -> bool:
    """Whether a node with this seal alone unseals: by itself, or with key shares."""
    async with life(storage, seal) as core:
        try:
            if seal.is_auto:
                await unseal_by_itself(core)
            else:
                await give(core, shares[:2])
        except SealRefused:
            return False
        return core.holds_keys()


@each_kind
async def test_a_migration(kind: Kind) -> None:
    """Before it only the old seal unseals, after it only the new one; the key shares stay what they are."""
    storage = InmemStorage()
    shares = await initialized(storage, kind.old())
    assert not await unsealed_by(storage, kind.new(), shares)
    async with life(storage, kind.new(), kind.old_stanza()) as core:
        await unseal_by_itself(core)
        assert not core.holds_keys() and seal_status(core)["migration"] is True
        with pytest.raises(InvalidRequest, match="'migrate' parameter must be set true"):
            await unseal(core, shares[0], reset=False)
        await give(core, shares[:2], migrate=True)
        assert core.holds_keys()
        await until(lambda: seal_status(core)["migration"] is False)
        status = seal_status(core)
        assert (status["type"], status["n"], status["t"]) == (kind.new().type, 3, 2)
        assert status["recovery_seal"] is has_recovery_key(storage) is kind.new().is_auto
        assert core.migrating.key is None
    assert not await unsealed_by(storage, kind.old(), shares)
    assert await unsealed_by(storage, kind.new(), shares)


@each_kind
async def test_shares_go_on_with_the_new_seal(kind: Kind) -> None:
    """Any threshold of the same shares unseals, or allows to unseal, after the migration; others do not."""
    storage = InmemStorage()
    shares = await initialized(storage, kind.old())
    foreign = await initialized(InmemStorage(), kind.old())
    async with life(storage, kind.new(), kind.old_stanza()) as core:
        await give(core, shares[:2], migrate=True)
        await until(lambda: core.migrating.source is None)
    async with life(storage, kind.new()) as core:
        with pytest.raises(InvalidShares, match="all key shares were dropped"):
            await give(core, foreign[:2])
        assert not core.holds_keys()
        await give(core, shares[1:])
        assert core.holds_keys()


@each_kind
async def test_wrong_shares_migrate_nothing(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """Shares of another cluster are refused, also where the old seal unseals by itself; nothing of them is said."""
    storage = InmemStorage()
    shares, foreign = await initialized(storage, kind.old()), await initialized(InmemStorage(), kind.old())
    async with life(storage, kind.new(), kind.old_stanza()) as core:
        with pytest.raises(InvalidShares) as refused:
            await give(core, [shares[0], foreign[1]], migrate=True)
        assert core.is_sealed and core.migrating.key is None
    assert shares[0][:16] not in caplog.text + str(refused.value)
    assert await unsealed_by(storage, kind.old(), shares)


async def test_migrate_is_refused_where_nothing_is_to_migrate() -> None:
    """`migrate` on a node that is configured with the seal of its cluster is a mistake, and takes no share."""
    storage = InmemStorage()
    shares = await initialized(storage, shamir())
    async with life(storage, shamir()) as core:
        with pytest.raises(InvalidRequest, match="no seal to migrate from"):
            await unseal(core, shares[0], reset=False, migrate=True)
        assert core.progress is None


async def test_a_seal_that_is_not_configured_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Without the old stanza the node says which one to keep, in its log and to who unseals it."""
    storage = InmemStorage()
    shares = await initialized(storage, static("a"))
    async with life(storage, shamir()) as core:
        await unseal_by_itself(core)
        with pytest.raises(SealRefused, match=r"uses the seal 'static'.*'shamir'.*keep the stanza 'static'"):
            await unseal(core, shares[0], reset=False, migrate=True)
    assert "keep the stanza 'static'" in caplog.text


class Cut:
    """Stops whoever comes to the step of this number, as a crash would."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.reached = False

    async def step(self) -> None:
        if self.left == 0:
            self.reached = True
            await asyncio.Event().wait()
        self.left -= 1


class CutSeal:
    """A seal that can be cut off before and after each of its calls."""

    def __init__(self, seal: Seal, cut: Cut) -> None:
        self._seal, self._cut = seal, cut
        self.type, self.is_auto = seal.type, seal.is_auto

    async def wrap(self, plaintext: bytes) -> bytes:
        await self._cut.step()
        blob = await self._seal.wrap(plaintext)
        await self._cut.step()
        return blob

    async def unwrap(self, blob: bytes) -> bytes:
        await self._cut.step()
        plaintext = await self._seal.unwrap(blob)
        await self._cut.step()
        return plaintext


def cut_commits(core: Core, cut: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cut count the commits of the seal configuration as steps too."""
    commit = core.storage.store.commit

    async def counted(writes: Sequence[Write]) -> int:
        is_of_seal = any(write.key == "core/seal-config" for write in writes)
        if is_of_seal:
            await cut.step()
        index = await commit(writes)
        if is_of_seal:
            await cut.step()
        return index

    monkeypatch.setattr(core.storage.store, "commit", counted)


async def cut_off(storage: InmemStorage, kind: Kind, shares: Sequence[str], cut: Cut) -> None:
    """Migrate until the cut, or to the end."""
    new = kind.new()
    async with life(storage, CutSeal(new, cut) if new.is_auto else new, kind.old_stanza()) as core:
        with pytest.MonkeyPatch.context() as patched:
            cut_commits(core, cut, patched)
            giving = asyncio.create_task(give(core, shares[:2], migrate=True))
            await until(lambda: cut.reached or (giving.done() and core.migrating.source is None))
            giving.cancel()
            await asyncio.wait({giving})


@each_kind
async def test_cut_off_after_every_step(kind: Kind) -> None:
    """A node that stops anywhere in a migration is unsealed by exactly one of the two seals, and can go on."""
    steps = 0
    while True:
        storage, cut = InmemStorage(), Cut(steps)
        shares = await initialized(storage, kind.old())
        await cut_off(storage, kind, shares, cut)
        by_old = await unsealed_by(storage, kind.old(), shares)
        assert await unsealed_by(storage, kind.new(), shares) is not by_old, f"step {steps}"
        assert has_recovery_key(storage) is (kind.old() if by_old else kind.new()).is_auto, f"step {steps}"
        if by_old:
            await cut_off(storage, kind, shares, Cut(-1))
            assert await unsealed_by(storage, kind.new(), shares)
        if not cut.reached:
            break
        steps += 1
    assert steps >= 2


async def test_another_node_has_migrated_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby forgets the shares once whoever was active has migrated, and not for any other change of the store."""
    monkeypatch.setattr(Core, "_keep_root_key_sealed", lambda *_: None)  # as on a standby
    storage = InmemStorage()
    shares = await initialized(storage, shamir())
    async with life(storage, static("a")) as core:
        await give(core, shares[:2], migrate=True)
        core.migrating.store_changed([], storage.store, core.seal)
        await put_config(storage, "shamir")
        assert core.migrating.key is not None and seal_status(core)["migration"] is True
        await put_config(storage, "static")
        assert core.migrating == PendingMigration()
        assert seal_status(core)["migration"] is False


async def put_config(storage: InmemStorage, type_: str) -> None:
    seen = storage.store.get(SEAL_CONFIG_KEY)
    assert seen is not None
    config = replace(SealConfig.from_bytes(seen.value), type=type_)
    await storage.store.commit([Put(SEAL_CONFIG_KEY, config.to_bytes(), seen.index)])


async def test_shares_that_were_changed_meanwhile_migrate_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The key is tried again in the moment of the migration: one from before a rekey is an error in the log."""
    storage = InmemStorage()
    shares = await initialized(storage, static("a"))
    seal = Late(static("b"))
    async with life(storage, seal, static("a")) as core:
        await give(core, shares[:2], migrate=True)
        await until(lambda: "stays sealed as it is for now" in caplog.text)
        seen = storage.store.get(RECOVERY_KEY_KEY)
        assert seen is not None
        rekeyed = core.barrier.seal(RECOVERY_KEY_KEY, bytes(32))
        await storage.store.commit([Put(RECOVERY_KEY_KEY, rekeyed, seen.index)])
        seal.is_late = False
        await until(lambda: core.migrating.key is None)
        assert "do not make the recovery key" in caplog.text
    assert await unsealed_by(storage, static("a"), ())


class Late:
    """A seal that cannot wrap yet."""

    type, is_auto, is_late = "static", True, True

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def wrap(self, plaintext: bytes) -> bytes:
        if self.is_late:
            raise SealUnavailable("not yet")
        return await self._seal.wrap(plaintext)

    async def unwrap(self, blob: bytes) -> bytes:
        return await self._seal.unwrap(blob)


class Garbage:
    """An auto-unseal seal that gives back other bytes than it was given."""

    type = "static"
    is_auto = True

    def __init__(self, plaintext: bytes) -> None:
        self._plaintext = plaintext

    async def wrap(self, plaintext: bytes) -> bytes:
        return await static("a").wrap(plaintext)

    async def unwrap(self, blob: bytes) -> bytes:
        return self._plaintext


@pytest.mark.parametrize("garbage", [b"", b"canary garbage", b"canary garbage of 32 bytes......"])
async def test_cve_2018_19786_a_seal_that_gives_back_garbage(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Its blob never replaces the one that opens; neither the root key nor what it gave back is logged, in any form."""
    caplog.set_level(logging.DEBUG)
    storage = InmemStorage()
    shares = await initialized(storage, shamir())
    async with life(storage, Garbage(garbage)) as core:
        await give(core, shares[:2], migrate=True)
        root_key = core.root_key
        assert root_key is not None
        await until(lambda: "does not give back what it has wrapped" in caplog.text)
        assert stored_type(storage) == "shamir"
    assert await unsealed_by(storage, shamir(), shares)
    for secret in (root_key, garbage):
        for form in (secret.hex(), repr(secret)[2:-1]):
            assert not form or form not in caplog.text
