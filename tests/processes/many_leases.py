"""Leases by the hundred thousand, put into the store of a stopped node: what took a week to grant, in a minute.

The records are those that `node.leases.store` makes, sealed by the node's own barrier. Only for tests.
"""

import asyncio
import os
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cluster.state import State
from cluster.store import Put as SealedPut
from engines.common.plan import Put
from node.barrier import Barrier, open_keyring
from node.leases import store
from node.leases.model import Lease
from node.mounts import MOUNTS_KEY, decode_mounts
from node.seal.static import StaticSeal
from node.seal_state import KEYRING_KEY, ROOT_KEY_KEY
from tests.processes.cluster import STATIC_KEY, Node

_TOKENS: Final = 1000  # as if so many tokens shared them
_BATCH: Final = 10_000
_PATH: Final = "secret/creds/app"


@dataclass(frozen=True, slots=True)
class Bulk:
    """`count` leases named <first>, <first + 1>, ..., of which `per_ms` end in each millisecond from `from_ms` on."""

    count: int
    from_ms: int
    first: int = 0
    per_ms: int = 1

    def lease_id(self, number: int) -> str:
        """The name of the lease with this number."""
        return f"{_PATH}/{number:024d}"

    def leases(self, mount_uuid: str) -> Iterator[Lease]:
        """All of them."""
        for number in range(self.first, self.first + self.count):
            end_ms = self.from_ms + (number - self.first) // self.per_ms
            yield Lease(
                lease_id=self.lease_id(number),
                path=_PATH,
                mount_uuid=mount_uuid,
                token_key=f"{number % _TOKENS:064x}",
                issued_at_ms=self.from_ms - 3_600_000,
                expire_at_ms=end_ms,
                ttl_s=3600,
                max_ttl_s=86_400,
                internal=b'{"username":"v-approle-app-0123456789abcdef"}',
            )


def put_leases(node: Node, *bulks: Bulk) -> None:
    """Store these leases on a node that is stopped, the only one of its cluster, with the mount secret/ as engine."""
    assert node.process is None
    state = State(node.data, _no_loop, threaded=False)
    try:
        barrier = _barrier(state)
        stored = state.get(MOUNTS_KEY)
        assert stored is not None
        mounts = decode_mounts(barrier.open(MOUNTS_KEY, stored.value))
        uuid = next(mount.uuid for mount in mounts if mount.path == "secret/")
        for bulk in bulks:
            leases = bulk.leases(uuid)
            while batch := list(islice(leases, _BATCH)):
                state.apply(state.applied_index + 1, state.applied.raft_term, [_sealed(barrier, batch)])
                state.flush_now()
    finally:
        state.close()


def _no_loop(act: Callable[[], None]) -> None:
    raise AssertionError("nothing runs in the background here")


def _barrier(state: State) -> Barrier:
    root_key, keyring = state.get(ROOT_KEY_KEY), state.get(KEYRING_KEY)
    assert root_key is not None and keyring is not None
    seal = StaticSeal("static", b"test", {b"test": b64decode(STATIC_KEY)}, os.urandom)
    barrier = Barrier(os.urandom)
    barrier.unsealed(open_keyring(asyncio.run(seal.unwrap(root_key.value)), keyring.value))
    return barrier


def _sealed(barrier: Barrier, leases: list[Lease]) -> list[SealedPut]:
    puts: list[Put] = []
    for lease in leases:
        puts += (write for write in store.stored(lease, lease.expire_at_ms, 0) if isinstance(write, Put))
        puts.append(Put(store.of_token_key(lease.token_key, lease.lease_id), lease.lease_id.encode()))
    return [SealedPut(put.key, barrier.seal(put.key, put.value)) for put in puts]
