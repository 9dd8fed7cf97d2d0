"""Nodes in memory that share a store, one after the other, as the lives of one process with different seals."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from node.core import Core
from node.initialize import InitRequest, initialize
from node.seal import Seal
from node.seal.shamir import ShamirSeal
from node.seal.static import StaticSeal
from node.seal_state import RECOVERY_KEY_KEY, SEAL_CONFIG_KEY, SealConfig
from node.storage import InmemStorage
from node.unseal import unseal
from tests.node.cores import new_core

RECOVERY = InitRequest(shares=3, threshold=2)


def static(name: str, *others: str) -> StaticSeal:
    """A static seal with the key of this name, which also opens what those of the other names wrapped."""
    keys = {each.encode(): each.encode().ljust(32, b"*") for each in (name, *others)}
    return StaticSeal("static", name.encode(), keys, secrets.token_bytes)


def shamir() -> ShamirSeal:
    """The seal of key shares."""
    return ShamirSeal(secrets.token_bytes)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a generous bound."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def life(storage: InmemStorage, seal: Seal, old_seal: Seal | None = None) -> AsyncIterator[Core]:
    """One life of a node on this storage, configured with these seals. It ends as a process does that stops."""
    core = new_core(storage)
    core.seal, core.old_seal = seal, old_seal
    try:
        yield core
    finally:
        await core.seal_now()


async def initialized(storage: InmemStorage, seal: Seal) -> tuple[str, ...]:
    """Initialise with this seal; the unseal or recovery key shares, of which two are needed."""
    async with life(storage, seal) as core:
        return tuple(share.hex() for share in (await initialize(core, RECOVERY)).shares)


async def give(core: Core, shares: Sequence[str], *, migrate: bool = False) -> None:
    """Unseal with these shares."""
    for share in shares:
        await unseal(core, share, reset=False, migrate=migrate)


def stored_type(storage: InmemStorage) -> str:
    """The seal that the stored configuration names."""
    seen = storage.store.get(SEAL_CONFIG_KEY)
    assert seen is not None
    return SealConfig.from_bytes(seen.value).type


def has_recovery_key(storage: InmemStorage) -> bool:
    """Whether there is a recovery key in the store."""
    return storage.store.get(RECOVERY_KEY_KEY) is not None
