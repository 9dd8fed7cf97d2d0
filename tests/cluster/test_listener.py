"""The cluster port against everything that is not a well-behaved node of this cluster."""

import asyncio
import errno
import gc
import logging
import os
import socket
import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.dialling import hello
from cluster.link_limits import CALL_FRAME_BYTES_MAX, HELLO_BYTES_MAX, RAFT_FRAME_BYTES_MAX, LinkLimits
from cluster.tls import client_context, issue, new_authority
from tests.cluster.links_kit import (
    Node,
    closed,
    frame,
    greeted_client,
    identity,
    nodes,
    open_files,
    raw_client,
    timeout_now,
    until,
)

AUTHORITY = new_authority("cluster-1")
N2 = issue(AUTHORITY, "n2")
HELLO = {"type": "hello", "version": 1, "cluster_id": "cluster-1", "node_id": "n2", "kind": "raft"}


async def lives(node: Node) -> None:
    """The port still links a true peer, which can send."""
    peer = Node(AUTHORITY, "n3")
    await peer.knows(node)
    before = len(node.messages)
    peer.links.send(node.node_id, timeout_now(7))
    await until(lambda: len(node.messages) > before)
    await peer.links.stop()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 4096,
        b"\xff" * 4096,
        b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
        b"SSH-2.0-x\r\n",
        b"",
    ],
)
async def test_what_is_not_tls_is_closed(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Plain HTTP, zeros, a broken TLS record: closed, one line, no traceback."""
    async with nodes(AUTHORITY, "n1", limits=LinkLimits(greeting_timeout_s=0.3)) as (n1,):
        reader, writer = await raw_client(n1.links.bound_port, None)
        writer.write(garbage)
        assert await closed(reader)
        writer.close()
        await until(lambda: "refused 127.0.0.1" in caplog.text)
        await lives(n1)
    assert not any(record.exc_info for record in caplog.records)


async def test_a_client_without_a_certificate_is_closed() -> None:
    """It may finish its own handshake, but never gets further."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with nodes(AUTHORITY, "n1") as (n1,):
        reader, writer = await raw_client(n1.links.bound_port, context)
        writer.write(hello(identity(N2, "n2"), "raft"))
        assert await closed(reader)
        writer.close()
        await lives(n1)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({**HELLO, "node_id": "n3"}, "certificate of node 'n2' and says it is another"),
        ({**HELLO, "cluster_id": "cluster-2"}, "another cluster"),
        ({**HELLO, "version": 2}, "version 2"),
        ({**HELLO, "kind": "admin"}, "kind of connection"),
        (timeout_now(1), "not a message type"),
        ({**HELLO, "more": 1}, "does not have"),
    ],
)
async def test_a_false_hello_is_refused(message: dict[str, object], why: str, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate of the cluster is not enough: the greeting must be true, and comes first."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        reader, writer = await raw_client(n1.links.bound_port, client_context(N2))
        writer.write(frame(message) + frame(timeout_now(1)))
        assert await closed(reader)
        writer.close()
        await until(lambda: why in caplog.text)
        assert n1.messages == []
        await lives(n1)


async def test_a_node_with_this_very_nodes_certificate_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """A copied data folder that was started elsewhere does not speak to its original as a peer."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        twin = issue(AUTHORITY, "n1")
        reader, writer = await raw_client(n1.links.bound_port, client_context(twin))
        writer.write(hello(identity(twin, "n1"), "raft"))
        assert await closed(reader)
        writer.close()
        await until(lambda: "this very node" in caplog.text)


@pytest.mark.parametrize("size", [HELLO_BYTES_MAX + 1, 2**32 - 1])
async def test_a_large_length_before_the_hello_is_refused(size: int) -> None:
    """Even of a node of the cluster."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        reader, writer = await raw_client(n1.links.bound_port, client_context(N2))
        writer.write(size.to_bytes(4, "big"))
        assert await closed(reader)
        writer.close()


@pytest.mark.parametrize(("kind", "size"), [("raft", RAFT_FRAME_BYTES_MAX + 1), ("call", CALL_FRAME_BYTES_MAX + 1)])
async def test_a_frame_over_the_bound_closes_only_its_connection(
    kind: str, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line that names the node."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        reader, writer = await greeted_client(n1.links.bound_port, N2, "n2", kind)
        writer.write(size.to_bytes(4, "big") + b"x" * 1000)
        assert await closed(reader)
        writer.close()
        await until(lambda: f"closed the connection of node 'n2': a frame of {size} bytes" in caplog.text)
        await lives(n1)


async def test_malformed_messages_close_their_connection() -> None:
    """Random bytes in well-formed frames, behind a true hello: closed, nothing handed on, the port lives."""
    bodies: list[bytes] = []

    @settings(max_examples=25, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=300))
    def collect(body: bytes) -> None:
        bodies.append(body)

    collect()
    async with nodes(AUTHORITY, "n1") as (n1,):
        for body in [*bodies, b"\x91" * 50_000, b"\xdf\xff\xff\xff\xff"]:
            reader, writer = await greeted_client(n1.links.bound_port, N2, "n2", "raft")
            writer.write(len(body).to_bytes(4, "big") + body)
            assert await closed(reader)
            writer.close()
        assert n1.messages == []
        await lives(n1)


@pytest.mark.parametrize("stage", ["silent", "half a client hello", "tls, then silent", "tls, then a slow hello"])
async def test_the_slow_are_cut_off(stage: str) -> None:
    """Whoever has not said hello within the time is gone, also when it keeps dripping bytes."""
    async with nodes(AUTHORITY, "n1", limits=LinkLimits(greeting_timeout_s=0.4)) as (n1,):
        tls = client_context(N2) if stage.startswith("tls") else None
        reader, writer = await raw_client(n1.links.bound_port, tls)
        drip = {"half a client hello": b"\x16\x03\x01\x02\x00\x01" * 50, "tls, then a slow hello": b"\x00" * 3}

        async def dripping() -> None:
            for byte in drip.get(stage, b""):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)

        task = asyncio.create_task(dripping())
        assert await closed(reader, within_s=3)
        task.cancel()
        writer.close()
        await lives(n1)


async def test_too_many_silent_connections_do_not_lock_nodes_out_for_long() -> None:
    """Above the bound the newest is refused at once; after the time for a greeting there is room again."""
    limits = LinkLimits(greeting_timeout_s=1.0, ungreeted_max=8)
    async with nodes(AUTHORITY, "n1", limits=limits) as (n1,):
        held = [await raw_client(n1.links.bound_port, None) for _ in range(8)]
        refused, writer = await raw_client(n1.links.bound_port, None)
        assert await closed(refused, within_s=0.5)
        writer.close()
        await lives(n1)
        for reader, writer in held:
            assert await closed(reader)
            writer.close()


async def test_a_newer_connection_of_a_node_replaces_the_older() -> None:
    """The older is a leftover of a lost path; a node never holds more than one of a kind."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        older, writer = await greeted_client(n1.links.bound_port, N2, "n2", "raft")
        _, newer = await greeted_client(n1.links.bound_port, N2, "n2", "raft")
        assert await closed(older)
        newer.write(frame(timeout_now(3)))
        await until(lambda: n1.messages == [("n2", timeout_now(3))])
        writer.close()
        newer.close()


async def test_running_out_of_file_descriptors_only_delays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While accept fails, who knocks waits; once it works again, it is let in, and nothing has spun meanwhile."""
    refusals: list[None] = []

    def refuse(_: socket.socket) -> None:
        refusals.append(None)
        raise OSError(errno.EMFILE, "too many open files")

    async with nodes(AUTHORITY, "n1") as (n1,):
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "accept", refuse)
            greeting = asyncio.create_task(greeted_client(n1.links.bound_port, N2, "n2", "raft"))
            await until(lambda: len(refusals) == 3)
        _, writer = await asyncio.wait_for(greeting, 10)
        writer.close()
        assert len(refusals) < 10
    assert "cannot accept: [Errno 24]" in caplog.text


async def test_a_thousand_garbage_connections_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """No file, task or memory grows, the log stays short, and a node gets through."""
    caplog.set_level(logging.INFO)
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with nodes(AUTHORITY, "n1") as (n1,):

        async def knock(number: int) -> None:
            reader, writer = await raw_client(n1.links.bound_port, None)
            writer.write([b"GET / HTTP/1.0\r\n\r\n", os.urandom(100), b"\x16\x03\x01\x00\x02\x01\x00"][number % 3])
            if number % 5 == 0:
                writer.transport.abort()
            else:
                writer.write_eof()
                await closed(reader)
            writer.close()

        async def knocks(count: int) -> None:
            for start in range(0, count, 20):
                await asyncio.gather(*(knock(number) for number in range(start, start + 20)))

        await knocks(100)
        await until(lambda: not n1.links._listener._ungreeted)
        gc.collect()
        tasks, files, objects = len(asyncio.all_tasks()), open_files(), len(gc.get_objects())
        await knocks(1000)
        await until(lambda: len(asyncio.all_tasks()) <= tasks and open_files() <= files)
        gc.collect()
        assert len(gc.get_objects()) < objects + 500
        await lives(n1)
    assert len([r for r in caplog.records if r.name == "cluster.listener"]) < 10
    assert reported == []
