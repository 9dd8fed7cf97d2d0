"""One node in this process, in memory and unsealed, asked through its whole pipeline."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.core import Core
from node.initialize import InitRequest, initialize
from node.request import WireRequest
from node.response import Response
from node.unseal import unseal
from tests.node.cores import new_core

ROOT: Final = "root-token-of-this-test"


@dataclass
class Asked:
    """The active node, and what to ask it with."""

    core: Core

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = ROOT,
        headers: Mapping[str, str] | None = None,
        address: str = "192.0.2.7",
    ) -> Response:
        """The answer to one request."""
        sent = {**({"x-vault-token": token} if token else {}), **(headers or {})}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        wire = WireRequest(
            method=method,
            path=f"/v1/{path}",
            query=query,
            headers=sent,
            body=data,
            client_address=address,
            client_port=4711,
        )
        return await self.core.handle(wire)

    async def enable(self, path: str, device: str = "file", **options: str) -> Response:
        """Enable an audit device."""
        return await self.call("POST", f"sys/audit/{path}", {"type": device, "options": options})


@asynccontextmanager
async def active_node() -> AsyncIterator[Asked]:
    """A node with KV version 2 at secret/."""
    core = new_core()
    result = await initialize(core, InitRequest(shares=1, threshold=1, kv_mount=True, root_token=ROOT))
    await unseal(core, result.shares[0].hex(), reset=False)
    await core.wait_active(30)
    try:
        yield Asked(core)
    finally:
        await core.seal_now()


def body_of(response: Response) -> Any:
    """The decoded body of an answer."""
    return json.loads(response.body)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records in a file, each of which must be one whole line."""
    return [json.loads(line) for line in path.read_text().splitlines()]
