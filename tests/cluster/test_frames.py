"""Cutting a byte stream into frames."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.frames import FrameReader
from cluster.link_limits import READ_BUFFER_BYTES
from cluster.wire import WireError


def framed(bodies: list[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def fed(reader: FrameReader, stream: bytes, steps: list[int]) -> list[bytes]:
    """Feed the stream in pieces of these sizes, over and over, and collect the frames."""
    out: list[bytes] = []
    turn = 0
    while stream:
        room = reader.room()
        assert len(room) > 0
        take = min(len(stream), len(room), steps[turn % len(steps)])
        room[:take] = stream[:take]
        stream = stream[take:]
        out.extend(bytes(body) for body in reader.received(take))
        turn += 1
    return out


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=50), st.sampled_from([60_000, 65_532, 65_533, 65_536, 200_000]).map(bytes)),
        max_size=12,
    ),
    st.lists(st.sampled_from([1, 3, 4, 5, 1000, 65_536, 300_000]), min_size=1, max_size=4).filter(
        lambda steps: sum(steps) > 500
    ),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(bodies: list[bytes], steps: list[int]) -> None:
    """Any sizes, in any pieces, in order; afterwards the usual buffer is back."""
    reader = FrameReader(1 << 20)
    assert fed(reader, framed(bodies), steps) == bodies
    assert len(reader.room()) == READ_BUFFER_BYTES


def test_a_length_over_the_bound_is_refused_before_memory_is_taken() -> None:
    """Four bytes that announce 4 GiB cost nothing."""
    reader = FrameReader(1000)
    with pytest.raises(WireError, match="over 1000"):
        fed(reader, b"\xff\xff\xff\xff", [4])
    assert len(reader.room()) <= READ_BUFFER_BYTES


def test_the_bound_itself_is_admitted() -> None:
    """A frame of exactly frame_bytes_max comes out, one more byte does not."""
    assert fed(FrameReader(1000), framed([b"x" * 1000]), [7]) == [b"x" * 1000]
    with pytest.raises(WireError):
        fed(FrameReader(1000), framed([b"x" * 1001]), [7])
