"""Commits through three processes over TLS: p50 of one writer, and commits/s of many.

    python -m benchmarks.raft_commit [seconds per row]

Each commit is one write set of three puts of 300 bytes, as a KV write makes it.
"""

import asyncio
import gc
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from cluster.folder import open_folder
from cluster.links import TlsLinks
from cluster.peers import Peer
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from cluster.store import Put
from cluster.tls import TlsMaterial, issue, new_authority

NODES = ("n1", "n2", "n3")
VALUE = b"x" * 300


async def measure(store: RaftStore, writers: int, seconds: float) -> dict[str, Any]:
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def write(writer: int) -> None:
        count = 0
        while (started := time.perf_counter()) < end:
            count += 1
            await store.commit([Put(f"logical/{writer}/{part}/{count % 1000}", VALUE) for part in "abc"])
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(write(writer) for writer in range(writers)))
    return {
        "writers": writers,
        "commits_per_s": round(len(took) / seconds),
        "p50_ms": round(statistics.median(took) * 1000, 3),
        "p99_ms": round(sorted(took)[int(len(took) * 0.99)] * 1000, 3),
    }


async def run_node(
    path: Path, node_id: str, ports: dict[str, int], material: TlsMaterial, pipe: Connection, seconds: float
) -> None:
    links = TlsLinks(node_id, material)
    await links.start("127.0.0.1", ports[node_id])
    store = RaftStore(open_folder(path / node_id, node_id), RaftSettings())
    store.on_failed = lambda error: os._exit(1)
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    store.adopt([Peer(name, address) for name, address in addresses.items()])
    await store.start(links, addresses[node_id])
    gc.freeze()
    while not pipe.poll():
        await asyncio.sleep(0.05)
        if store.is_ready_leader:
            await asyncio.sleep(1)
            pipe.send([await measure(store, writers, seconds) for writers in (1, 32, 128)])
            while not pipe.poll():
                await asyncio.sleep(0.05)
    await store.stop()
    await links.stop()
    store.close()


def node_process(*arguments: Any) -> None:
    sys.setswitchinterval(0.0005)
    uvloop.run(run_node(*arguments))


def free_ports() -> dict[str, int]:
    with ExitStack() as held:
        sockets = {node_id: held.enter_context(socket.create_server(("127.0.0.1", 0))) for node_id in NODES}
        return {node_id: taken.getsockname()[1] for node_id, taken in sockets.items()}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    spawn = get_context("spawn")
    authority = new_authority("bench")
    with tempfile.TemporaryDirectory() as folder:
        ports = free_ports()
        pipes, processes = [], []
        for node_id in NODES:
            ours, theirs = spawn.Pipe()
            arguments = (Path(folder), node_id, ports, issue(authority, node_id), theirs, seconds)
            processes.append(spawn.Process(target=node_process, args=arguments))
            pipes.append(ours)
            processes[-1].start()
        rows = None
        deadline = time.monotonic() + 30 + 4 * seconds
        while rows is None and time.monotonic() < deadline:
            for pipe in pipes:
                if pipe.poll(0.1):
                    rows = pipe.recv()
        for pipe in pipes:
            pipe.send("stop")
        for process in processes:
            process.join(10)
            process.kill()
        for row in rows or []:
            print(json.dumps(row))


if __name__ == "__main__":
    main()
