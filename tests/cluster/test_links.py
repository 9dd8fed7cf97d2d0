"""Raft links between real nodes on loopback, under both event loops."""

import asyncio
import logging
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.errors import AddressInUse, OutcomeUnknown, PeerUnreachable, TlsMaterialRefused
from cluster.link_limits import LinkLimits
from cluster.links import TlsLinks
from cluster.tls import TlsMaterial, issue, new_authority
from cluster.wire import FrameTooLarge
from tests.cluster.links_kit import (
    Node,
    chunk,
    deaf_peer,
    nodes,
    open_files,
    timeout_now,
    until,
)

AUTHORITY = new_authority("cluster-1")

PEER_PROCESS = """
import asyncio, sys
from cluster.links import TlsLinks
from cluster.tls import TlsMaterial

async def main():
    texts = sys.stdin.buffer.read().split(b"\\0")
    links = TlsLinks("n2", TlsMaterial(*texts))
    links.on_message = lambda peer, message: links.send(peer, message)
    async def never(peer, payload):
        while not links.send(peer, {"type": "timeout_now", "term": 99}):
            await asyncio.sleep(0.005)  # until its own link is up
        await asyncio.Event().wait()
    links.on_call = never
    await links.start("127.0.0.1", int(sys.argv[2]))
    links.set_peers({"n1": f"127.0.0.1:{sys.argv[1]}"})
    print(links.bound_port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def peer_process(
    material: TlsMaterial, our_port: int, its_port: int = 0
) -> tuple[asyncio.subprocess.Process, int]:
    """Node n2 in a process of its own, that echoes messages and never answers calls; and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PEER_PROCESS,
        str(our_port),
        str(its_port),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    process.stdin.write(b"\0".join((material.ca_pem, material.cert_pem, material.key_pem)))
    process.stdin.close()
    return process, int(await process.stdout.readline())


async def test_three_nodes_talk_in_order_and_by_their_true_names() -> None:
    """Each message arrives once, in order, small and large mixed, with the sender's certified id."""
    async with nodes(AUTHORITY, "n1", "n2", "n3") as (n1, n2, n3):
        for node in (n1, n2, n3):
            await node.knows(*({n1, n2, n3} - {node}))
        sent = [chunk(n, 3 << 20) if n % 50 == 7 else timeout_now(n) for n in range(200)]
        for message in sent:
            assert n1.links.send("n2", message)
            assert n3.links.send("n2", message)
        await until(lambda: len(n2.messages) == 400)
        for sender in ("n1", "n3"):
            assert [message for peer, message in n2.messages if peer == sender] == sent
        assert n1.messages == n3.messages == []
    assert sorted(n1.events) == ["+n2", "+n3", "-n2", "-n3"]


async def test_what_cannot_be_sent_is_false_and_does_not_wait() -> None:
    """An unknown peer, a peer that is not there, this node itself, and a node that has stopped."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n1.links.set_peers({"n1": n1.address, "n9": "127.0.0.1:1", "n8": "no address", "n7": "host.invalid:1"})
        for peer in ("n1", "n2", "n7", "n8", "n9"):
            assert not n1.links.send(peer, timeout_now(1))
            assert not n1.links.connected(peer)
        await n1.knows(n2)
        with pytest.raises(FrameTooLarge):
            n1.links.send("n2", chunk(0, 9 << 20))
        await n1.links.stop()
        assert not n1.links.send("n2", timeout_now(1))


async def test_a_node_answers_over_the_connection_of_the_other() -> None:
    """One that is no peer here (removed, or not yet known) has dialled this node, and hears what it has to hear."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        await n1.knows(n2)
        n1.links.send("n2", timeout_now(1))
        await until(lambda: n2.messages == [("n1", timeout_now(1))])
        assert not n2.links.connected("n1")
        assert n2.links.send("n1", timeout_now(2))
        await until(lambda: n1.messages == [("n2", timeout_now(2))])
        n1.links.set_peers({})
        await until(lambda: not n2.links.send("n1", timeout_now(3)))


async def test_a_dropped_peer_is_disconnected_and_can_come_back_elsewhere() -> None:
    """set_peers without it ends the link at once; with another address it is dialled there."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        await n1.knows(n2)
        n1.links.send("n2", timeout_now(1))
        n1.links.set_peers({})
        assert not n1.links.connected("n2")
        assert not n1.links.send("n2", timeout_now(2))
        await until(lambda: n1.events == ["+n2", "-n2"])
        await until(lambda: n2.messages == [("n1", timeout_now(1))])  # sent before, so it still arrives
        moved = Node(AUTHORITY, "n2")
        await moved.links.start("127.0.0.1", 0)
        await n1.knows(n2)
        await n1.knows(moved)
        n1.links.send("n2", timeout_now(3))
        await until(lambda: moved.messages == [("n1", timeout_now(3))])
        await moved.links.stop()


async def test_a_peer_that_restarts_is_linked_again() -> None:
    """Without a new set_peers, on the same address, in both directions."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        await n1.knows(n2)
        await n2.knows(n1)
        port = n2.links.bound_port
        await n2.links.stop()
        await until(lambda: not n1.links.connected("n2"))
        again = Node(AUTHORITY, "n2")
        await again.links.start("127.0.0.1", port)
        await again.knows(n1)
        await until(lambda: n1.links.connected("n2"))
        n1.links.send("n2", timeout_now(5))
        await until(lambda: again.messages == [("n1", timeout_now(5))])
        assert n1.events == ["+n2", "-n2", "+n2"]
        await again.links.stop()


async def test_a_killed_process_is_noticed_and_found_again() -> None:
    """SIGKILL: disconnected at once, connected again after its restart on the same port."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        material = issue(AUTHORITY, "n2")
        process, port = await peer_process(material, n1.links.bound_port)
        n1.links.set_peers({"n2": f"127.0.0.1:{port}"})

        async def live_and_die(echo: dict[str, Any]) -> None:
            # Sent again and again: the peer can only answer once its own link is up.
            await until(lambda: n1.links.send("n2", echo) and ("n2", echo) in n1.messages)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await until(lambda: not n1.links.connected("n2"), within_s=2)

        await live_and_die(timeout_now(1))
        process, _ = await peer_process(material, n1.links.bound_port, port)
        await live_and_die(timeout_now(2))


async def test_a_call_to_a_process_that_is_killed_has_an_unknown_outcome() -> None:
    """The request had arrived; nobody can say what became of it."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        process, port = await peer_process(issue(AUTHORITY, "n2"), n1.links.bound_port)
        n1.links.set_peers({"n2": f"127.0.0.1:{port}"})
        call = asyncio.create_task(n1.links.call("n2", b"write", 30))
        await until(lambda: ("n2", timeout_now(99)) in n1.messages)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        with pytest.raises(OutcomeUnknown):
            await call
        with pytest.raises(PeerUnreachable):
            await n1.links.call("n2", b"write", 30)


@pytest.mark.parametrize(
    "stranger",
    [
        issue(new_authority("cluster-1"), "n2"),
        issue(AUTHORITY, "n2", until=datetime.now(UTC) - timedelta(hours=1)),
    ],
    ids=["other cluster", "expired"],
)
async def test_a_stranger_is_never_linked(stranger: TlsMaterial, caplog: pytest.LogCaptureFixture) -> None:
    """In neither direction; each side says why in one line, without a traceback, and serves its true peers."""
    caplog.set_level(logging.INFO)
    limits = LinkLimits(backoff_min_s=0.005, backoff_max_s=0.01)
    async with nodes(AUTHORITY, "n1", "n3", limits=limits) as (n1, n3):
        other = Node(AUTHORITY, "n2")
        other.links = TlsLinks("n2", stranger, limits)
        await other.links.start("127.0.0.1", 0)
        other.links.set_peers({"n1": n1.address})
        n1.links.set_peers({"n2": other.address, "n3": n3.address})
        await until(lambda: n1.links.connected("n3") and "refused 127.0.0.1" in caplog.text)
        await until(lambda: "no link: node 'n2'" in caplog.text and "no link: node 'n1'" in caplog.text)
        for _ in range(20):  # many more attempts, no more lines
            await asyncio.sleep(0.01)
        assert not n1.links.connected("n2")
        assert not other.links.connected("n1")
        await other.links.stop()
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 2 <= len(lines) <= 6, lines
    assert any("not one of this cluster, or not valid now" in line for line in lines)
    assert not any(record.exc_info for record in caplog.records)


async def test_an_address_that_another_node_answers_is_not_that_peer(caplog: pytest.LogCaptureFixture) -> None:
    """Dialling n3 and reaching n2 (a stale address) links neither."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n1.links.set_peers({"n3": n2.address})
        await until(lambda: "it is node 'n2'" in caplog.text)
        assert not n1.links.connected("n3")
        assert n2.events == []
        assert n2.messages == []


def test_material_of_another_node_is_refused() -> None:
    """A node never starts under a name that its certificate does not carry."""
    with pytest.raises(TlsMaterialRefused, match="not that of node 'n2'"):
        TlsLinks("n2", issue(AUTHORITY, "n1"))
    with pytest.raises(TlsMaterialRefused):
        TlsLinks("n1", TlsMaterial(b"", b"garbage", b""))


async def test_a_peer_that_does_not_read_fills_a_bounded_queue_and_then_loses_its_link() -> None:
    """send says False at the bound and never blocks; the link ends when nothing was taken for the time allowed."""
    limits = LinkLimits(raft_queue_bytes_max=8 << 20, unacknowledged_timeout_s=1.0)
    async with nodes(AUTHORITY, "n1", limits=limits) as (n1,), deaf_peer(issue(AUTHORITY, "n2"), "n2") as (address, _):
        n1.links.set_peers({"n2": address})
        await until(lambda: n1.links.connected("n2"))
        accepted = 0
        for _ in range(500):
            if n1.links.send("n2", chunk(0, 256 << 10)):
                accepted += 1
            await asyncio.sleep(0)
        assert 16 < accepted < 120  # the queue, and what the kernel's buffers hold
        assert n1.links.connected("n2")
        await until(lambda: not n1.links.connected("n2"), within_s=8)
        n1.links.set_peers({})


async def test_a_failing_receiver_does_not_end_the_link(caplog: pytest.LogCaptureFixture) -> None:
    """A bug behind a callback is a trace in the log; the next message is handled."""
    seen: list[Any] = []

    def fail_once(peer: str, message: dict[str, Any]) -> None:
        seen.append(message["term"])
        if len(seen) == 1:
            raise RuntimeError("a bug")

    def fail(peer: str) -> None:
        raise RuntimeError("another bug")

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_message = fail_once
        n1.links.on_connected = fail
        await n1.knows(n2)
        for n in range(3):
            n1.links.send("n2", timeout_now(n))
        await until(lambda: seen == [0, 1, 2])
        assert n1.links.connected("n2")
    assert "a bug" in caplog.text
    assert "another bug" in caplog.text


async def test_peers_that_come_and_go_leave_nothing_behind() -> None:
    """A hundred changes of the peers, also in the middle of a dial, and no task or file is left over."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        await n1.knows(n2)
        n1.links.set_peers({})
        await until(lambda: len(n1.events) == 2)
        tasks, files = len(asyncio.all_tasks()), open_files()
        for turn in range(100):
            n1.links.set_peers({"n2": n2.address, "n8": "127.0.0.1:1"})
            for _ in range(turn % 10):
                await asyncio.sleep(0.001)
            n1.links.set_peers({})
        await until(lambda: len(asyncio.all_tasks()) <= tasks and open_files() <= files)
        await n1.knows(n2)


async def test_a_taken_port_is_a_clear_error() -> None:
    """The message names the address and what to do; so do those for addresses that are not of this machine."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        links = TlsLinks("n1", issue(AUTHORITY, "n1"))
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"127.0.0.1:{port}: another program uses this port"):
            await links.start("127.0.0.1", port)
        with pytest.raises(AddressInUse, match="no such address"):
            await links.start("192.0.2.1", port)
        with pytest.raises(AddressInUse, match="cannot listen"):
            await links.start("host.invalid", port)
        await links.stop()


async def test_a_port_is_free_again_after_stop() -> None:
    """Stop, start on the same port; stopping twice is the same as once."""
    first = Node(AUTHORITY, "n1")
    await first.links.start("127.0.0.1", 0)
    await first.links.stop()
    await first.links.stop()
    second = Node(AUTHORITY, "n1")
    await second.links.start("127.0.0.1", first.links.bound_port)
    await second.links.stop()
