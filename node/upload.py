"""A request body that is too large for memory, as its handler pulls it from the socket."""

from collections.abc import AsyncIterator
from typing import Final

# The bodies of these paths are streamed both ways, and only ever between a client and the active node.
STREAMED_PATHS: Final = frozenset({"sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force"})


class Upload:
    """The chunks of one body, once. `started`: some of it is gone, so the request cannot be worked on anew."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.started = False
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.started = True
        return await anext(self._chunks)


async def one_chunk(body: bytes) -> AsyncIterator[bytes]:
    """A body that has been read already."""
    yield body
