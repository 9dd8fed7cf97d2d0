"""Values come back as they were sent."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.common.errors import InvalidRequest
from engines.common.json_values import decode_json, encode_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_json_value_survives(value: object) -> None:
    """Integers of any size, floats, unicode, nesting and null."""
    assert decode_json(encode_json(value)) == value
    assert json.loads(encode_json(value)) == value


def test_what_orjson_refuses_is_written_by_the_standard_encoder() -> None:
    """Integers over 64 bits and lone surrogates are valid JSON."""
    assert encode_json({"n": 10**40}) == b'{"n":1' + b"0" * 40 + b"}"
    assert decode_json(encode_json("\ud800")) == "\ud800"


def test_what_json_cannot_hold_is_refused_without_being_shown() -> None:
    """The message never holds the value."""
    with pytest.raises(InvalidRequest) as refusal:
        encode_json({"canary": {1, 2}, "big": 10**40})
    assert "canary" not in str(refusal.value)
    with pytest.raises(InvalidRequest):
        encode_json([10**40, math.inf])
