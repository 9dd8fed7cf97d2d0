"""Secrets without versions, as records."""

import pytest

from engines.common.errors import InvalidRequest
from engines.common.flat_secret import FlatSecret
from tests.engines.memory_view import NOW_MS


def test_a_record_gives_back_what_it_was_made_of() -> None:
    """Time and the exact JSON text of each member."""
    secret = FlatSecret.of({"a": 1.5, "ü": {"x": [None, True]}, "n": 10**30}, NOW_MS)
    again = FlatSecret.decode(secret.encode())
    assert again == secret
    assert again.members["n"] == b"1" + b"0" * 30


def test_values_are_in_no_repr() -> None:
    """A record that reaches a log line shows nothing."""
    assert "canary" not in repr(FlatSecret.of({"canary-name": "canary-value"}, NOW_MS))


def test_an_empty_secret_is_refused() -> None:
    """The documented text."""
    with pytest.raises(InvalidRequest, match=r"^missing data fields$"):
        FlatSecret.of({}, NOW_MS)


def test_a_name_that_is_not_unicode_is_refused() -> None:
    """A lone surrogate in a name would make an answer that cannot be encoded."""
    with pytest.raises(InvalidRequest):
        FlatSecret.of({"\ud800": 1}, NOW_MS).encode()


def test_another_format_is_refused() -> None:
    """A record of a newer version is never misread."""
    with pytest.raises(ValueError, match="format"):
        FlatSecret.decode(b"\x02abc")
