"""A whole node in this process, in memory: requests go the way of real ones, from the wire to the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import bcrypt

from node.config.load import load
from node.config.model import Config
from node.core import Core, NodeIdentity
from node.dispatch import dispatch
from node.initialize import InitRequest, initialize
from node.request import WireRequest
from node.response import Response
from node.seal.registry import seal_from_stanza
from node.sources import FixedSources
from node.storage import InmemStorage
from node.system.engine import node_engines
from node.unseal import unseal
from node.unsealed import Unsealed

NOW_MS = 1_795_291_200_000
ROOT = "root"


@dataclass
class Reply:
    """A status and the decoded body."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        return self.body["data"]

    @property
    def errors(self) -> list[str]:
        return list(self.body["errors"])


@dataclass
class Live:
    """An unsealed node and what is needed to seal and unseal it."""

    core: Core
    sources: FixedSources
    share: str
    address: str = "192.0.2.1"

    @property
    def node(self) -> Unsealed:
        return self.core.require_unsealed()

    async def call(self, method: str, path: str, body: object = None, *, token: str = ROOT, **headers: str) -> Reply:
        """One request; any status is an answer."""
        path, _, query = path.partition("?")
        wire = WireRequest(
            method=method,
            path=f"/v1/{path}",
            query=query,
            headers={**({"x-vault-token": token} if token else {}), **headers},
            body=b"" if body is None else json.dumps(body).encode(),
            client_address=self.address,
        )
        return reply_of(await dispatch(self.core, self.core.config.listeners[0], wire))

    async def ok(self, method: str, path: str, body: object = None, *, token: str = ROOT, **headers: str) -> Any:
        """The body of a request that must succeed."""
        reply = await self.call(method, path, body, token=token, **headers)
        assert reply.status in (200, 204), (method, path, reply)
        return reply.body

    async def read(self, path: str, *, token: str = ROOT) -> Any:
        return (await self.ok("GET", path, token=token))["data"]

    async def write(self, path: str, /, *, token: str = ROOT, **body: object) -> Any:
        found = await self.ok("POST", path, body, token=token)
        return None if found is None else found["data"]

    async def list(self, path: str, *, token: str = ROOT) -> Any:
        return (await self.ok("LIST", path, token=token))["data"]

    async def delete(self, path: str, *, token: str = ROOT) -> None:
        await self.ok("DELETE", path, token=token)

    async def refused(self, method: str, path: str, body: object = None, *, token: str = ROOT, status: int) -> Reply:
        """A request that must be refused with this status."""
        reply = await self.call(method, path, body, token=token)
        assert reply.status == status, (method, path, reply)
        return reply

    async def policy(self, name: str, text: str) -> None:
        await self.write(f"sys/policies/acl/{name}", policy=text)

    async def accessor(self, mount: str) -> str:
        """The accessor of an auth method, such as "userpass/"."""
        return str((await self.read("sys/auth"))[mount]["accessor"])

    async def users(self, *names: str, mount: str = "userpass") -> str:
        """Enables userpass with these users; the password is the name. Its accessor."""
        await self.write(f"sys/auth/{mount}", type="userpass")
        for name in names:
            # A hash of the lowest cost: bcrypt is not what is tested.
            hashed = bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode()
            await self.write(f"auth/{mount}/users/{name}", password_hash=hashed)
        return await self.accessor(f"{mount}/")

    async def login(self, name: str, mount: str = "userpass") -> Any:
        """The auth block of a login."""
        return (await self.ok("POST", f"auth/{mount}/login/{name}", {"password": name}, token=""))["auth"]

    async def restart(self) -> None:
        """Everything that is not in the store is gone."""
        await self.core.seal_now()
        await unseal(self.core, self.share, reset=False)
        await self.core.wait_active(10)


def reply_of(response: Response) -> Reply:
    body = json.loads(response.body) if response.body else None
    return Reply(response.status, body, response.headers)


@asynccontextmanager
async def live(seed: int = 1, config: Config | None = None) -> AsyncIterator[Live]:
    """A node that has just been initialised; its root token is `ROOT`, KV version 2 is at secret/."""
    sources = FixedSources(NOW_MS, seed)
    config = config or load([], {}, dev=True)
    core = Core(
        config=config,
        storage=InmemStorage(),
        seal=seal_from_stanza(config.seal, {}, sources.random),
        sources=sources,
        identity=NodeIdentity(hostname="n", api_address="", cluster_address="", version="0", started_at_ms=NOW_MS),
        node_engine=node_engines,
        on_failed=lambda reason: None,
    )
    made = await initialize(core, InitRequest(shares=1, threshold=1, kv_mount=True, root_token=ROOT))
    await unseal(core, made.shares[0].hex(), reset=False)
    await core.wait_active(10)
    try:
        yield Live(core, sources, made.shares[0].hex())
    finally:
        await core.seal_now()
        core.storage.close()
