"""The replicated command: what is encoded is decoded, and nothing else is."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.entry import KEY_BYTES_MAX, decode, encode, encoded_size
from cluster.store import Check, Delete, Put

_key = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_index = st.integers(0, 2**64 - 1)
_writes = st.lists(
    st.one_of(
        st.builds(Put, _key, st.binary(max_size=50), st.none() | _index),
        st.builds(Delete, _key, st.none() | _index),
        st.builds(Check, _key, _index),
    ),
    max_size=5,
)


@given(st.lists(_writes, max_size=5))
def test_round_trip(sets: list[list[Put | Delete | Check]]) -> None:
    """Decoding gives what was encoded, and the estimate is an upper bound of the size."""
    data = encode(sets)
    assert decode(data) == sets
    assert len(data) <= 6 + sum(encoded_size(writes) for writes in sets)


@given(st.binary(max_size=60))
def test_garbage_is_refused(data: bytes) -> None:
    """Whatever the bytes are, the answer is a list or ValueError."""
    for candidate in (data, b"\x01" + data):
        try:
            assert isinstance(decode(candidate), list)
        except ValueError as error:
            assert error.__cause__ is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        1,
        [1],
        [[1]],
        [[[]]],
        [[[0, "k"]]],
        [[[0, "k", "text", None]]],
        [[[0, b"k", b"v", None]]],
        [[[0, "k", b"v", -1]]],
        [[[0, "k", b"v", True]]],
        [[[0, "", b"v", None]]],
        [[[False, "k", b"v", None]]],
        [[[1, "k", 1, 1]]],
        [[[2, "k", None]]],
        [[[3, "k", 1]]],
        [[[1, "k" * (KEY_BYTES_MAX + 1), None]]],
        [[[1, "é" * (KEY_BYTES_MAX // 2 + 1), None]]],
    ],
)
def test_other_shapes_are_refused(payload: object) -> None:
    """Valid msgpack of another shape is refused, too."""
    with pytest.raises(ValueError, match=r"entry|write|key"):
        decode(b"\x01" + msgpack.packb(payload))


def test_truncated_and_unknown_versions() -> None:
    """Every prefix of an entry is refused, and so is one of a later format."""
    data = encode([[Put("key", b"value", 7)]])
    for size in range(len(data)):
        with pytest.raises(ValueError, match="the entry"):
            decode(data[:size])
    with pytest.raises(ValueError, match="version"):
        decode(b"\x02" + data[1:])


@pytest.mark.parametrize(
    "write", [Put("", b""), Delete("k" * 65537), Check("k", -1), Put("\ud800", b""), Put("k", b"", 2**64)]
)
def test_unwritable_sets_are_refused_before_the_log(write: Put | Delete | Check) -> None:
    """What every node would have to refuse never becomes an entry."""
    with pytest.raises(ValueError):
        encode([[write]])
