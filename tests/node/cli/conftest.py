"""A fake node: a real HTTP server in a thread that gives the documented bodies a test has prepared."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from node.cli.command import Surroundings
from node.cli.main import main


@dataclass
class Received:
    """One request the fake has seen."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Prepared:
    """One answer: a JSON value, bytes as they are, or nothing."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class FakeNode:
    """Answers `METHOD path` with what `on` has prepared: each answer once, the last one for ever."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._answers: dict[str, list[Prepared]] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.address = ""

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _listen(self) -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(self._handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return runner

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/")
        raw = await request.read()
        self.received.append(
            Received(request.method, path, dict(request.query), dict(request.headers), raw),
        )
        method = "LIST" if request.query.get("list") == "true" else request.method
        prepared = self._answers.get(f"{method} {path}")
        if prepared is None:
            return web.json_response({"errors": []}, status=404)
        answer = prepared.pop(0) if len(prepared) > 1 else prepared[0]
        if isinstance(answer.body, bytes):
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        if answer.body is None:
            return web.Response(status=answer.status, headers=answer.headers)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)

    def on(self, request: str, body: Any = None, status: int | None = None, **headers: str) -> None:
        """Prepare an answer to `METHOD path`; no body and no status mean 204."""
        status = status if status is not None else 204 if body is None else 200
        self._answers.setdefault(request, []).append(Prepared(status, body, headers))

    def data(self, request: str, data: dict[str, Any], status: int = 200, **members: Any) -> None:
        """Prepare the usual envelope around data."""
        self.on(request, envelope(data, **members), status)

    def refuse(self, request: str, status: int, *errors: str) -> None:
        """Prepare a refusal."""
        self.on(request, {"errors": list(errors)}, status)

    def mount(self, path: str, version: int, *keys: str) -> None:
        """Prepare what kv commands ask first, for each key and for the mount itself."""
        for key in ("", *keys):
            asked = f"{path}/{key}".rstrip("/")
            self.data(
                f"GET sys/internal/ui/mounts/{asked}",
                {"path": f"{path}/", "type": "kv", "options": {"version": str(version)}},
            )

    @property
    def last(self) -> Received:
        return self.received[-1]


def envelope(data: Any, **members: Any) -> dict[str, Any]:
    """The documented envelope: unused members are null, empty, false or 0."""
    return {
        "request_id": "4c1f2d9e-0000-4000-8000-000000000001",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        **members,
    }


@dataclass(frozen=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """Runs command lines in this process, with their own environment, home folder and streams."""

    def __init__(self, home: Path, address: str) -> None:
        self.home = home
        self.environ = {"HOME": str(home), "VAULT_ADDR": address, "VAULT_TOKEN": "hvs.test"}
        self.slept: list[float] = []

    def __call__(self, *words: str, stdin: str = "") -> Result:
        out, err = io.StringIO(), io.StringIO()
        around = Surroundings(
            environ=self.environ, stdin=io.StringIO(stdin), stdout=out, stderr=err, sleep=self.slept.append
        )
        code = main(words, around)
        return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="package")
def shared_node() -> Iterator[FakeNode]:
    node = FakeNode()
    node.start()
    yield node
    node.stop()


@pytest.fixture
def node(shared_node: FakeNode) -> FakeNode:
    """A fake node that knows nothing yet."""
    shared_node.received.clear()
    shared_node._answers.clear()
    return shared_node


@pytest.fixture
def sr(node: FakeNode, tmp_path: Path) -> Terminal:
    """A terminal whose VAULT_ADDR is the fake node."""
    return Terminal(tmp_path, node.address)
