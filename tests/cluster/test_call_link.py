"""Requests passed on to a peer: many at a time, and always a true word on whether they were sent."""

import asyncio
import itertools

import pytest

from cluster.errors import EntryTooLarge, NoLeader, OutcomeUnknown, PeerUnreachable
from cluster.link_limits import CALL_FRAME_BYTES_MAX, LinkLimits
from cluster.tls import issue, new_authority
from tests.cluster.links_kit import (
    closed,
    deaf_peer,
    frame,
    greeted_client,
    nodes,
    timeout_now,
    until,
)

AUTHORITY = new_authority("cluster-1")


async def test_a_slow_call_holds_up_no_other() -> None:
    """A hundred calls on one connection are answered in the order they finish, each with its own answer."""
    gate = asyncio.Event()

    async def answer(peer: str, payload: bytes) -> bytes:
        if payload.startswith(b"slow"):
            await gate.wait()
        return peer.encode() + b":" + payload

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        slow = [asyncio.create_task(n1.links.call("n2", b"slow%d" % n, 10)) for n in range(50)]
        fast = await asyncio.gather(*(n1.links.call("n2", b"fast%d" % n, 10) for n in range(50)))
        assert fast == [b"n1:fast%d" % n for n in range(50)]
        assert not any(task.done() for task in slow)
        gate.set()
        assert await asyncio.gather(*slow) == [b"n1:slow%d" % n for n in range(50)]


async def test_the_largest_body_goes_through_and_raft_is_not_behind_it() -> None:
    """32 MiB there and back, while a Raft message that was sent later arrives earlier."""
    order: list[str] = []

    async def answer(peer: str, payload: bytes) -> bytes:
        order.append("call")
        return payload

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        await n1.knows(n2)
        n2.links.on_message = lambda peer, message: order.append("raft")
        await n1.links.call("n2", b"", 10)  # the connection is there
        order.clear()
        body = bytes(range(256)) * (32 << 12)
        call = asyncio.create_task(n1.links.call("n2", body, 30))
        await asyncio.sleep(0)
        n1.links.send("n2", timeout_now(1))
        assert await call == body
        assert order == ["raft", "call"]


async def test_a_request_that_is_too_large_is_not_sent() -> None:
    """It is the caller's to know, not a closed connection."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n1.links.set_peers({"n2": n2.address})
        with pytest.raises(EntryTooLarge):
            await n1.links.call("n2", bytes(CALL_FRAME_BYTES_MAX), 5)


async def test_what_never_left_is_unreachable() -> None:
    """No such peer, nobody listening, no address, a peer that takes no calls (yet): safe to ask again."""
    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n1.links.set_peers({"n2": n2.address, "n8": "127.0.0.1:1", "n7": "nowhere"})
        for peer in ("n9", "n8", "n7", "n2"):
            with pytest.raises(PeerUnreachable):
                await n1.links.call(peer, b"x", 5)

        async def answer(peer: str, payload: bytes) -> bytes:
            return b"now"

        n2.links.on_call = answer
        assert await n1.links.call("n2", b"x", 5) == b"now"


async def test_a_peer_that_is_back_is_called_again() -> None:
    """After a lost connection the next call dials anew."""

    async def answer(peer: str, payload: bytes) -> bytes:
        return payload

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        assert await n1.links.call("n2", b"1", 5) == b"1"
        port = n2.links.bound_port
        await n2.links.stop()
        await until(lambda: n1.links._call_links["n2"]._channel is None)
        with pytest.raises(PeerUnreachable):
            await n1.links.call("n2", b"2", 5)
        await n2.links.start("127.0.0.1", port)
        answers: list[bytes] = []

        async def again() -> None:
            while not answers:
                try:
                    answers.append(await n1.links.call("n2", b"3", 5))
                except PeerUnreachable:
                    await asyncio.sleep(0.01)

        await asyncio.wait_for(again(), 10)
        assert answers == [b"3"]


async def test_time_that_runs_out_after_sending_leaves_the_outcome_unknown() -> None:
    """And the late answer is dropped; the connection goes on with other calls."""
    gate = asyncio.Event()

    async def answer(peer: str, payload: bytes) -> bytes:
        if payload == b"late":
            await gate.wait()
        return payload

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        await n1.links.call("n2", b"warm", 5)
        with pytest.raises(OutcomeUnknown):
            await n1.links.call("n2", b"late", 0.05)
        gate.set()
        assert await n1.links.call("n2", b"next", 5) == b"next"
        assert n1.links._call_links["n2"]._pending == {}


async def test_a_caller_that_gives_up_leaves_nothing_pending() -> None:
    """Cancelling one call, also while it waits for the connection, does not disturb the others."""
    gate = asyncio.Event()

    async def answer(peer: str, payload: bytes) -> bytes:
        await gate.wait()
        return payload

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        calls = [asyncio.create_task(n1.links.call("n2", b"%d" % n, 10)) for n in range(3)]
        await asyncio.sleep(0)
        calls[0].cancel()
        await until(lambda: len(n1.links._call_links["n2"]._pending) == 2)
        calls[1].cancel()
        gate.set()
        assert await calls[2] == b"2"
        assert n1.links._call_links["n2"]._pending == {}


async def test_a_handler_that_fails_leaves_the_outcome_unknown() -> None:
    """It may have acted before it failed; what failed is in the log of the node where it did, and not on the wire."""

    async def answer(peer: str, payload: bytes) -> bytes:
        raise RuntimeError("canary-detail")

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        with pytest.raises(OutcomeUnknown) as unknown:
            await n1.links.call("n2", b"x", 5)
        assert "canary" not in str(unknown.value)


async def test_a_node_answers_only_so_many_at_a_time() -> None:
    """Beyond the count or the bytes it refuses, which is safe to repeat, and it recovers."""
    gate = asyncio.Event()

    async def answer(peer: str, payload: bytes) -> bytes:
        await gate.wait()
        return payload

    async with nodes(AUTHORITY, "n1", "n2", limits=LinkLimits(calls_max=3, call_bytes_max=1000)) as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        held = [asyncio.create_task(n1.links.call("n2", bytes(size), 10)) for size in (1, 900)]
        await until(lambda: len(n2.links._answerer._tasks) == 2)
        with pytest.raises(PeerUnreachable):
            await n1.links.call("n2", bytes(100), 5)
        held.append(asyncio.create_task(n1.links.call("n2", b"", 10)))
        await until(lambda: len(n2.links._answerer._tasks) == 3)
        with pytest.raises(PeerUnreachable):
            await n1.links.call("n2", b"", 5)
        gate.set()
        await asyncio.gather(*held)
        assert await n1.links.call("n2", bytes(1000), 5) == bytes(1000)


async def test_what_was_still_queued_when_the_peer_died_is_known_to_be_unsent() -> None:
    """Of two calls to a peer that stopped reading, the one partly sent is unknown, the one behind it is not."""
    async with nodes(AUTHORITY, "n1") as (n1,), deaf_peer(issue(AUTHORITY, "n2"), "n2") as (address, kill):
        n1.links.set_peers({"n2": address})
        partly = asyncio.create_task(n1.links.call("n2", bytes(32 << 20), 30))
        await until(lambda: len(n1.links._call_links["n2"]._pending) == 1)
        behind = asyncio.create_task(n1.links.call("n2", b"x", 30))
        await until(lambda: len(n1.links._call_links["n2"]._pending) == 2)
        kill()
        with pytest.raises(OutcomeUnknown):
            await partly
        with pytest.raises(PeerUnreachable):
            await behind
        n1.links.set_peers({})


async def test_calls_to_a_peer_that_does_not_read_are_bounded() -> None:
    """Beyond the bytes of the queue a call is refused at once."""
    limits = LinkLimits(call_queue_bytes_max=40 << 20)
    async with nodes(AUTHORITY, "n1", limits=limits) as (n1,), deaf_peer(issue(AUTHORITY, "n2"), "n2") as (address, _):
        n1.links.set_peers({"n2": address})
        first = asyncio.create_task(n1.links.call("n2", bytes(36 << 20), 30))
        await until(lambda: len(n1.links._call_links["n2"]._pending) == 1)
        with pytest.raises(PeerUnreachable, match="takes no more"):
            await n1.links.call("n2", bytes(16 << 20), 30)
        n1.links.set_peers({})
        with pytest.raises(OutcomeUnknown):
            await first


async def test_a_dropped_peer_ends_its_calls() -> None:
    """Also one that is still waiting for its connection."""

    async def answer(peer: str, payload: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        for wait_for_it in (True, False):
            n1.links.set_peers({"n2": n2.address})
            call = asyncio.create_task(n1.links.call("n2", b"x", 30))
            await asyncio.sleep(0)
            if wait_for_it:
                await until(lambda: len(n2.links._answerer._tasks) == 1)
            n1.links.set_peers({})
            with pytest.raises(OutcomeUnknown if wait_for_it else PeerUnreachable):
                await call


@pytest.mark.parametrize(
    ("error", "has_trace"),
    [(NoLeader("nobody\nleads"), False), (ValueError("it is of another shape"), False), (KeyError("a bug"), True)],
)
async def test_a_request_that_fails_is_told_in_a_line(
    error: Exception, has_trace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What the peer or the cluster is the cause of is no bug of this program, and leaves no trace of the stack."""

    async def answer(peer: str, payload: bytes) -> bytes:
        raise error

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        with pytest.raises(OutcomeUnknown):
            await n1.links.call("n2", b"x", 10)
    (record,) = [record for record in caplog.records if "passed on by node 'n1' failed" in record.getMessage()]
    assert (record.exc_info is not None) is has_trace
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("message", [{"type": "reply", "call_id": 1, "payload": b""}, {"type": "failed", "call_id": 1}])
async def test_an_answer_that_nobody_asked_for_closes_the_connection(message: dict[str, object]) -> None:
    """On the connection that a peer asks on, it only asks."""
    async with nodes(AUTHORITY, "n1") as (n1,):
        reader, writer = await greeted_client(n1.links.bound_port, issue(AUTHORITY, "n2"), "n2", "call")
        writer.write(frame(message))
        assert await closed(reader)
        writer.close()


async def test_call_ids_are_not_mixed_up_across_connections() -> None:
    """A hundred calls around a loss of the connection: each gets its own answer or a true error."""

    async def answer(peer: str, payload: bytes) -> bytes:
        await asyncio.sleep(0.001 * (payload[0] % 7))
        return payload

    async with nodes(AUTHORITY, "n1", "n2") as (n1, n2):
        n2.links.on_call = answer
        n1.links.set_peers({"n2": n2.address})
        outcomes: list[bytes | BaseException] = []
        for start in itertools.chain(range(0, 100, 20)):
            batch = [asyncio.create_task(n1.links.call("n2", bytes([start + n]), 5)) for n in range(20)]
            await until(lambda: len(n2.links._answerer._tasks) > 0)
            for channel in list(n2.links._listener._greeted.values()):
                channel.abort()
            outcomes += await asyncio.gather(*batch, return_exceptions=True)
        for sent, outcome in enumerate(outcomes):
            assert outcome == bytes([sent]) or isinstance(outcome, OutcomeUnknown | PeerUnreachable)
