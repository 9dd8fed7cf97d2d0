"""Bringing the stream of a restore to the other nodes, before the log names it: chunk by chunk, over calls.

Payloads are msgpack lists of our own: ["chunk", name, offset, data] and ["stage", name]. The answer is a list whose
first element is "ok" or an error that may be shown to an operator.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgpack

from cluster.errors import ClusterError, OutcomeUnknown, PeerUnreachable, SnapshotRefused
from cluster.restore import require_room

CHUNK_BYTES: Final = 1 << 20
CHUNK_TIMEOUT_S: Final = 30.0
# A node unpacks some 20 MiB a second on a slow disk; a connection that is lost ends the wait sooner.
STAGE_TIMEOUT_S: Final = 1800.0
IDLE_S_MAX: Final = 20.0  # between two questions of one restore: the leader asks again within two seconds
ATTEMPTS_MAX: Final = 5

Call = Callable[[str, bytes, float], Awaitable[bytes]]
Stage = Callable[[str, Path], Awaitable[None]]


async def send_restore(call: Call, node_id: str, name: str, stream: Path) -> None:
    """Have one node stage the stream. Raises SnapshotRefused when it says no, PeerUnreachable, OutcomeUnknown."""
    with stream.open("rb") as file:
        offset = 0
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await _ask(call, node_id, ["chunk", name, offset, chunk], CHUNK_TIMEOUT_S)
            offset += len(chunk)
    await _ask(call, node_id, ["stage", name], STAGE_TIMEOUT_S)


async def _ask(call: Call, node_id: str, question: list[object], timeout_s: float) -> None:
    """Every question may be asked twice: a chunk that is there already is passed over, a staged table stays."""
    payload: bytes = msgpack.packb(question)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            answer = await call(node_id, payload, timeout_s)
            break
        except (PeerUnreachable, OutcomeUnknown):
            if attempt == ATTEMPTS_MAX:
                raise
            await asyncio.sleep(0.2 * attempt)
    said = msgpack.unpackb(answer)[0]
    if said != "ok":
        raise SnapshotRefused(f"node {node_id}: {said}")


class RestoreReceiver:
    """Gathers one stream at a time in a file, and has it staged."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self._path = folder / "restore-incoming"
        self._stage = stage
        self._name = ""
        self._size = 0
        self._lock = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def on_call(self, question: list[object]) -> bytes:
        """Answer what `send_restore` of the leader asks."""
        async with self._lock:
            said: Any
            try:
                said = await self._work(question)
            except ClusterError as error:
                said = str(error)
            except OSError as error:
                said = f"the disk refused the snapshot: {error.strerror}"
            self._expect_more()
        answer: bytes = msgpack.packb([said])
        return answer

    def _expect_more(self) -> None:
        """A leader that falls leaves half a stream behind, which nobody will ever go on with: it goes after a while."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S_MAX, self._give_up)

    def _give_up(self) -> None:
        self._idle = None
        if not self._lock.locked():
            self._name, self._size = "", 0
            self._path.unlink(missing_ok=True)

    async def _work(self, question: list[object]) -> str:
        match question:
            case ["chunk", str(name), int(offset), bytes(data)]:
                return await self._take(name, offset, data)
            case ["stage", str(name)] if name == self._name:
                await self._stage(name, self._path)
                self._path.unlink(missing_ok=True)
                return "ok"
            case ["stage", str(name)]:
                await self._stage(name, self._path)  # asked again: it is there, or it was lost with a restart
                return "ok"
        return "the question of the leader is of another version"

    async def _take(self, name: str, offset: int, data: bytes) -> str:
        if offset == 0 and name != self._name:
            self._path.unlink(missing_ok=True)
            self._name, self._size = name, 0
        if name != self._name or offset > self._size:
            return "the transfer was interrupted"
        if offset == self._size:
            require_room(self._path.parent, len(data))
            await asyncio.to_thread(self._append, data)
            self._size += len(data)
        return "ok"

    def _append(self, data: bytes) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(data)
