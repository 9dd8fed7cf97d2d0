"""The messages between nodes: exactly the table's shapes are admitted."""

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.link_limits import ENTRIES_MAX, RAFT_FRAME_BYTES_MAX
from cluster.wire import CALLS, GREETING, HEADER_BYTES, INT_MAX, RAFT, FrameTooLarge, Protocol, WireError, pack, unpack

EXAMPLES: list[tuple[Protocol, dict[str, Any]]] = [
    (GREETING, {"type": "hello", "version": 1, "cluster_id": "c", "node_id": "n", "kind": "raft"}),
    (
        RAFT,
        {
            "type": "append_entries",
            "term": 5,
            "commit_index": 7,
            "entries": [[b"x", 8, 5], [b"", 9, 5]],
            "prev_index": 7,
            "prev_term": 5,
            "sent_at": INT_MAX,
        },
    ),
    (RAFT, {"type": "append_ack", "term": 5, "next_index": 9, "success": True, "reset": False, "sent_at": 1}),
    (RAFT, {"type": "request_vote", "term": 5, "last_log_index": 1, "last_log_term": 1, "transfer": True}),
    (RAFT, {"type": "response_vote", "term": 5}),
    (RAFT, {"type": "pre_vote", "term": 5, "last_log_index": 1, "last_log_term": 1}),
    (RAFT, {"type": "pre_vote_granted", "term": 5}),
    (RAFT, {"type": "timeout_now", "term": 5}),
    (
        RAFT,
        {
            "type": "snapshot_chunk",
            "term": 5,
            "snapshot_id": "s",
            "offset": 0,
            "data": b"d",
            "last": True,
            "index": 3,
            "snapshot_term": 2,
        },
    ),
    (RAFT, {"type": "snapshot_ack", "term": 5, "snapshot_id": "s", "offset": 1, "ok": False}),
    (RAFT, {"type": "not_a_member", "term": 5}),
    (RAFT, {"type": "log_lost", "term": 5, "acked_index": 7}),
    (CALLS, {"type": "call", "call_id": 1, "payload": b"p"}),
    (CALLS, {"type": "reply", "call_id": 1, "payload": b""}),
    (CALLS, {"type": "refused", "call_id": 1}),
    (CALLS, {"type": "failed", "call_id": 1}),
]
OPTIONAL = {"append_ack": {"reset": False}, "request_vote": {"transfer": False}}
WRONG: list[Any] = [
    None,
    -1,
    2**63,
    1.5,
    True,
    "text",
    b"bytes",
    [],
    [1],
    [[b"", 1]],
    [[b"", 1, -1]],
    [[b"", 1, 1], 5],
    {},
]


def body_of(message: dict[str, Any]) -> bytes:
    return pack(message, 1 << 30)[HEADER_BYTES:]


def test_the_examples_cover_the_table() -> None:
    """Each message type of each protocol is tested below."""
    assert {message["type"] for _, message in EXAMPLES} == {*GREETING.shapes, *RAFT.shapes, *CALLS.shapes}


@pytest.mark.parametrize(("protocol", "message"), EXAMPLES, ids=lambda value: getattr(value, "get", str)("type"))
def test_a_message_survives_the_way_and_nothing_near_it_does(protocol: Protocol, message: dict[str, Any]) -> None:
    """What is packed comes out equal; a missing, additional or wrongly typed field does not come out at all."""
    assert unpack(body_of(message), protocol) == message
    with pytest.raises(WireError):
        unpack(body_of({**message, "extra": 1}), protocol)
    for name in message.keys() - {"type"}:
        without = {key: value for key, value in message.items() if key != name}
        if name in OPTIONAL.get(message["type"], {}):
            assert unpack(body_of(without), protocol)[name] == OPTIONAL[message["type"]][name]
        else:
            with pytest.raises(WireError):
                unpack(body_of(without), protocol)
        for wrong in WRONG:
            if type(wrong) is type(message[name]) and wrong not in (-1, 2**63) and name != "entries":
                continue
            if wrong == [] and name == "entries":
                continue
            with pytest.raises(WireError):
                unpack(body_of({**message, name: wrong}), protocol)
    for other in (GREETING, RAFT, CALLS):
        if other is not protocol:
            with pytest.raises(WireError):
                unpack(body_of(message), other)


def test_entries_may_be_empty_and_tuples() -> None:
    """A heartbeat has no entries; a sender may keep its entries as tuples."""
    heartbeat = {**EXAMPLES[1][1], "entries": []}
    assert unpack(body_of(heartbeat), RAFT)["entries"] == []
    assert unpack(body_of({**heartbeat, "entries": [(b"x", 1, 2)]}), RAFT)["entries"] == [[b"x", 1, 2]]


@pytest.mark.parametrize("type_name", [None, 5, "unknown", "hello", [], {}, b"append_ack"])
def test_an_unknown_type_is_refused(type_name: object) -> None:
    """Also one that could not even be looked up."""
    with pytest.raises(WireError):
        unpack(msgpack.packb({"type": type_name, "term": 1}), RAFT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\xc1",
        b"\x90",
        b"\x81",
        b"\x81\xa4type",
        b"\x81\x90\xc0",
        b"\x81\xa4type\xa1\xff",
        msgpack.packb(EXAMPLES[4][1]) + b"\xc0",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        msgpack.packb(msgpack.Timestamp(1)),
        msgpack.packb({"type": "timeout_now", "term": msgpack.ExtType(5, b"")}),
        msgpack.packb({"type": "timeout_now", "term": msgpack.ExtType(5, b"data")}),
        b"\x91" * 100_000 + b"\xc0",
        b"\x81\xa1a" * 100_000 + b"\xc0",
    ],
)
def test_malformed_msgpack_is_refused(body: bytes) -> None:
    """Truncated, trailing, reserved, announced huge, extension types, nested without end."""
    for protocol in (GREETING, RAFT, CALLS):
        with pytest.raises(WireError):
            unpack(body, protocol)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdc\xff\xff" + (b"\xdc\xff\xff" + b"\x90" * 65535) * 100,
        b"\x9f" + (b"\xdc\xff\xff" + b"\xc0" * 65535) * 15,
        b"\x8f" + b"".join(b"\xa1" + bytes([65 + n]) + b"\x8f" + b"\xa1a\x80" * 15 for n in range(15)),
    ],
)
def test_a_small_frame_does_not_unfold_into_much_memory(body: bytes) -> None:
    """CVE-2025-6203: nested empty lists and maps are refused before many of them exist."""
    for protocol in (RAFT, CALLS):
        tracemalloc.start()
        with pytest.raises(WireError):
            unpack(body, protocol)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 128 * ENTRIES_MAX


def test_a_refusal_does_not_quote_what_came() -> None:
    """What a peer sent may be sealed data or worse; it is in no error text, nor in its cause."""
    canary = "canary-5518"
    bodies = [
        msgpack.packb({"type": canary, canary: canary}),
        msgpack.packb({"type": "timeout_now", "term": canary}),
        msgpack.packb({"type": "timeout_now", "term": 1, canary: 1}),
        b"\xa4" + canary.encode(),
    ]
    for body in bodies:
        with pytest.raises(WireError) as refused:
            unpack(body, RAFT)
        assert canary not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_message_over_the_bound_is_not_packed() -> None:
    """The sender learns of it, and not by a closed connection."""
    with pytest.raises(FrameTooLarge):
        pack({"type": "call", "call_id": 1, "payload": b"x" * RAFT_FRAME_BYTES_MAX}, RAFT_FRAME_BYTES_MAX)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([GREETING, RAFT, CALLS]))
def test_random_bytes_are_refused_or_a_message(body: bytes, protocol: Protocol) -> None:
    """No other exception, and nothing but the table's types comes out."""
    try:
        message = unpack(body, protocol)
    except WireError:
        return
    assert message["type"] in protocol.shapes


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_damaged_message_is_refused_or_a_message(
    example: tuple[Protocol, dict[str, Any]], place: int, value: int, cut: bool
) -> None:
    """One byte changed or the rest cut off: WireError or a well-formed message."""
    protocol, message = example
    body = bytearray(body_of(message))
    place %= len(body)
    body[place] = value
    try:
        out = unpack(bytes(body[:place] if cut else body), protocol)
    except WireError:
        return
    assert {field.name for field in protocol.shapes[out["type"]]} == out.keys() - {"type"}
