"""The root key follows its seal to the newest key; the health of a seal."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from node import seal_upkeep
from node.core import Core
from node.dispatch import dispatch
from node.errors import SealDenied, Sealed, SealRefused, SealUnavailable, WrongKey
from node.request import WireRequest
from node.seal import Seal
from node.seal.envelope import key_id_of
from node.seal.static import StaticSeal
from node.seal_migration import SealWork, rewrap
from node.seal_state import ROOT_KEY_KEY
from node.seal_upkeep import watch_seal
from node.storage import InmemStorage
from node.unseal import unseal, unseal_by_itself
from tests.node.live import reply_of
from tests.node.seals import initialized, life, shamir, static, until


def wrapped_by(storage: InmemStorage) -> bytes:
    """The id of the key that wraps the stored root key."""
    seen = storage.store.get(ROOT_KEY_KEY)
    assert seen is not None
    return key_id_of(seen.value)


async def test_the_root_key_is_wrapped_anew_by_a_new_key() -> None:
    """A node that becomes active with a seal that has another key now wraps with it; the old key is needed no more."""
    storage = InmemStorage()
    await initialized(storage, static("2025"))
    assert wrapped_by(storage) == b"2025"
    async with life(storage, static("2026", "2025")) as core:
        await unseal_by_itself(core)
        await until(lambda: wrapped_by(storage) == b"2026")
    async with life(storage, static("2026")) as core:
        await unseal_by_itself(core)
        assert core.holds_keys()


async def test_nothing_is_written_while_the_key_is_the_same() -> None:
    """A restart alone does not write the root key again."""
    storage = InmemStorage()
    await initialized(storage, static("2025"))
    before = storage.store.get(ROOT_KEY_KEY)
    for _ in range(2):
        async with life(storage, static("2025")) as core:
            await unseal_by_itself(core)
            await core.wait_active(10)
    assert storage.store.get(ROOT_KEY_KEY) == before


async def test_a_node_with_an_older_stanza_does_not_undo_it() -> None:
    """Where the node that became active lacks the key in use, the root key is left as it is."""
    storage = InmemStorage()
    await initialized(storage, static("2026"))
    async with life(storage, static("2026")) as core:
        await unseal_by_itself(core)
        for seal, fault in ((static("2025"), SealRefused), (Flaky(static("2025"), SealDenied("no")), SealDenied)):
            with pytest.raises(fault):
                await rewrap(work_of(core, seal, core.root_key))
    assert wrapped_by(storage) == b"2026"


async def test_a_root_key_that_was_replaced_meanwhile_is_never_stored() -> None:
    """Whoever still works with the root key from before a rekey changes nothing: that key opens no keyring any more."""
    storage = InmemStorage()
    await initialized(storage, static("2025"))
    before = storage.store.get(ROOT_KEY_KEY)
    async with life(storage, static("2025")) as core:
        await unseal_by_itself(core)
        with pytest.raises(WrongKey):
            await rewrap(work_of(core, static("2026", "2025"), bytes(32)))
        with pytest.raises(Sealed):
            await rewrap(work_of(core, static("2026", "2025"), None))
    assert storage.store.get(ROOT_KEY_KEY) == before


def work_of(core: Core, seal: Seal, root_key: bytes | None) -> SealWork:
    store, random = core.storage.store, core.sources.random
    return SealWork(store=store, barrier=core.barrier, random=random, seal=seal, root_key=lambda: root_key)


class Flaky:
    """A seal that fails while there is a fault."""

    type = "static"
    is_auto = True

    def __init__(self, seal: Seal, fault: Exception | None = None) -> None:
        self.seal = seal
        self.fault = fault

    async def wrap(self, plaintext: bytes) -> bytes:
        self._check()
        return await self.seal.wrap(plaintext)

    async def unwrap(self, blob: bytes) -> bytes:
        self._check()
        return await self.seal.unwrap(blob)

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault


async def backend_status(core: Core) -> Any:
    wire = WireRequest(
        method="GET", path="/v1/sys/seal-backend-status", query="", headers={}, body=b"", client_address="192.0.2.1"
    )
    return reply_of(await dispatch(core, core.config.listeners[0], wire)).body


@pytest.mark.parametrize("fault", [SealUnavailable("the line is down"), SealDenied("the key is disabled")])
async def test_unseals_by_itself_once_the_seal_is_back(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """While the seal is away or says no the node stays sealed, says why in log and status, and tries again."""
    storage = InmemStorage()
    await initialized(storage, static("a"))
    seal = Flaky(static("a"), fault)
    async with life(storage, seal) as core:
        with patch("node.unseal.RETRY_S_MIN", 0.001):
            unsealing = asyncio.create_task(unseal_by_itself(core))
            await until(lambda: caplog.text.count(f"staying sealed and trying again: {fault}") >= 3)
            assert not core.holds_keys()
            status = await backend_status(core)
            since = status["unhealthy_since"]
            assert status["healthy"] is False and since.endswith("Z")
            assert status["backends"] == [{"name": "static", "healthy": False, "unhealthy_since": since}]
            seal.fault = None
            await unsealing
        assert core.holds_keys()
        assert await backend_status(core) == {
            "healthy": True,
            "backends": [{"name": "static", "healthy": True}],
            "fully_wrapped": True,
        }


async def test_a_seal_that_fails_later_is_told_and_changes_nothing() -> None:
    """An unsealed node goes on without its seal; seal-backend-status shows since when, and when it is back."""
    storage = InmemStorage()
    await initialized(storage, static("a"))
    seal = Flaky(static("a"))
    with patch.multiple(seal_upkeep, HEALTHY_PERIOD_S=0.001, UNHEALTHY_PERIOD_S=0.001):
        async with life(storage, seal) as core:
            await unseal_by_itself(core)
            watching = asyncio.create_task(watch_seal(seal, core.seal_health, core.sources, core.holds_keys))
            seal.fault = SealDenied("the key is disabled")
            await until(lambda: core.seal_health.unhealthy_since_ms is not None)
            assert core.holds_keys() and (await backend_status(core))["healthy"] is False
            seal.fault = None
            await until(lambda: core.seal_health.unhealthy_since_ms is None)
            watching.cancel()
            await asyncio.wait({watching})


async def test_a_migration_waits_for_a_seal_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """The node is unsealed and serves; the migration is done when the new seal can be used."""
    storage = InmemStorage()
    shares = await initialized(storage, shamir())
    seal = Flaky(static("a"), SealUnavailable("the line is down"))
    with patch.object(seal_upkeep, "RETRY_S_MIN", 0.001):
        async with life(storage, seal) as core:
            for share in shares[:2]:
                await unseal(core, share, reset=False, migrate=True)
            await until(lambda: caplog.text.count("stays sealed as it is for now: the line is down") >= 2)
            assert core.holds_keys() and core.migrating.key is not None
            seal.fault = None
            await until(lambda: core.migrating.source is None)
    assert wrapped_by(storage) == b"a"


async def test_a_sealed_node_is_unsealed_with_recovery_keys() -> None:
    """After sys/seal an auto-unsealed node stays sealed until it restarts, or is given recovery keys."""
    storage = InmemStorage()
    shares = await initialized(storage, static("a"))
    async with life(storage, static("a")) as core:
        await unseal_by_itself(core)
        await core.seal_now()
        for share in shares[1:]:
            await unseal(core, share, reset=False)
        assert core.holds_keys()


async def test_a_seal_that_would_not_unseal_initialises_nothing() -> None:
    """What a seal wraps and then refuses to open, as without the right to decrypt, is found before it is stored."""

    class Half(StaticSeal):
        async def unwrap(self, blob: bytes) -> bytes:
            raise SealDenied("may encrypt only")

    storage = InmemStorage()
    with pytest.raises(SealDenied):
        await initialized(storage, Half("static", b"1", {b"1": bytes(32)}, bytes))
    assert storage.store.get(ROOT_KEY_KEY) is None
