"""Durations as written, as sent and as shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.durations import parse_duration, short_duration, ttl_setting, wire_duration

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("90", 90 * S),
        ("90s", 90 * S),
        ("1h30m", 5400 * S),
        ("7d", 604800 * S),
        ("1.5h", 5400 * S),
        ("0.1s", S // 10),
        ("500ms", S // 2),
        ("-1", -S),
        ("0", 0),
    ],
)
def test_parse(text: str, nanos: int) -> None:
    """Bare numbers are seconds; units may be combined and have fractions."""
    assert parse_duration(text) == nanos


@pytest.mark.parametrize("text", ["", "h", "1x", "1h 2m", "1h2", "abc", "--1s", "1.2.3s"])
def test_parse_refuses(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_the_wire_form_reads_back(nanos: int) -> None:
    """What is sent means what was given."""
    assert parse_duration(wire_duration(nanos)) == nanos


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (3600, "1h"), (2764800, "768h"), (3599, "59m59s"), (5400, "1h30m"), (3605, "1h0m5s"), (60, "1m")],
)
def test_tables_show_the_short_form(seconds: int, text: str) -> None:
    """Zero parts at the end are left off."""
    assert short_duration(seconds) == text


def test_wire_form() -> None:
    """The form is Go's, and a negative lease setting is the system's own."""
    assert wire_duration(86400 * S) == "24h0m0s"
    assert wire_duration(300 * S) == "5m0s"
    assert wire_duration(1_500_000) == "1.5ms"
    assert ttl_setting(-S) == "system"
