"""A node whose key has several holders, and OpenPGP keys for them, made without any program."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pysequoia import Tsk, decrypt

from node.config.load import load
from node.core import Core, NodeIdentity
from node.initialize import InitRequest, initialize
from node.seal.registry import seal_from_stanza
from node.seal.static import StaticSeal
from node.sources import FixedSources
from node.storage import InmemStorage
from node.system.engine import node_engines
from node.unseal import unseal
from tests.node.live import NOW_MS, ROOT, Live, Reply


@dataclass(frozen=True)
class Person:
    """Somebody with an OpenPGP key."""

    key: Tsk

    @property
    def public(self) -> str:
        """The public key as the API takes it."""
        return b64encode(bytes(self.key.extract_certificate())).decode()

    @property
    def fingerprint(self) -> str:
        return self.key.extract_certificate().fingerprint

    def reads(self, message: str) -> str:
        """What a message in base64 says to this person. Raises RuntimeError when it is for somebody else."""
        found = decrypt(bytes=b64decode(message), decryptor=self.key.decryptor()).bytes
        assert found is not None
        return found.decode()


def people(count: int) -> list[Person]:
    return [Person(Tsk.generate(user_id=f"Holder {number} <h{number}@example.com>")) for number in range(count)]


@dataclass
class Held(Live):
    """A node and the shares that lead to its keys: unseal keys, or recovery keys where it unseals by itself."""

    shares: Sequence[str] = ()

    async def give(self, path: str, shares: Sequence[str], nonce: str) -> Reply:
        """Give these shares one after the other, without a token; the last answer."""
        for share in shares:
            reply = await self.call("POST", path, {"key": share, "nonce": nonce}, token="")
        return reply

    async def begin(self, path: str, body: object = None, token: str = "") -> str:
        """Begin a ceremony; its nonce."""
        return str((await self.ok("POST", path, body or {}, token=token))["nonce"])

    async def unseals_with(self, shares: Sequence[str]) -> bool:
        """Whether the node, sealed, is unsealed by these shares. It is sealed or unsealed afterwards accordingly."""
        await self.core.seal_now()
        for share in shares:
            await self.call("POST", "sys/unseal", {"key": share}, token="")
        if self.core.is_sealed:
            await self.ok("POST", "sys/unseal", {"reset": True}, token="")
            return False
        await self.core.wait_active(10)
        return True


def fresh_core(*, auto: bool = False, seed: int = 1) -> tuple[Core, FixedSources]:
    """A node that is not initialised."""
    sources = FixedSources(NOW_MS, seed)
    config = load([], {}, dev=True)
    core = Core(
        config=config,
        storage=InmemStorage(),
        seal=StaticSeal("static", b"1", {b"1": bytes(32)}, sources.random)
        if auto
        else seal_from_stanza(config.seal, {}, sources.random),
        sources=sources,
        identity=NodeIdentity(hostname="n", api_address="", cluster_address="", version="0", started_at_ms=NOW_MS),
        node_engine=node_engines,
        on_failed=lambda reason: None,
    )
    return core, sources


@asynccontextmanager
async def held(shares: int = 3, threshold: int = 2, *, auto: bool = False) -> AsyncIterator[Held]:
    """A node that is unsealed; its root token is `ROOT`."""
    core, sources = fresh_core(auto=auto)
    made = await initialize(core, InitRequest(shares=shares, threshold=threshold, kv_mount=True, root_token=ROOT))
    texts = [share.hex() for share in made.shares]
    if not auto:
        for text in texts[:threshold]:
            await unseal(core, text, reset=False)
    await core.wait_active(10)
    try:
        yield Held(core, sources, texts[0], shares=texts)
    finally:
        await core.seal_now()
        core.storage.close()
