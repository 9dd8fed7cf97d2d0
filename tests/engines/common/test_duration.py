"""engines/common/duration.py: what counts as a duration, and how it is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.common.duration import DURATION_S_MAX, format_go, parse_duration_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (3600, 3600),
        (1.2, 2),
        ("", 0),
        ("0", 0),
        ("90", 90),
        ("1.5", 2),
        ("90s", 90),
        ("24h", 86400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5h", 1800),
        ("7d", 604800),
        ("1d12h", 129600),
        ("100ms", 1),
        ("1ns", 1),
        ("1500ms", 2),
        ("-1h", -3600),
        ("-1ms", -1),
        ("768h", 2764800),
    ],
)
def test_accepted(value: str | int | float, seconds: int) -> None:
    """Numbers are seconds, text is a Go duration or a number, "d" is 24 hours, and parts of a second round up."""
    assert parse_duration_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "canary",
        "1x",
        "1h canary",
        "h",
        "-",
        "1h-2m",
        "1e3",
        " 1h",
        "1 h",
        "٣s",
        "9" * 65,
        "9999999999",
        True,
        float("nan"),
        float("inf"),
        2**64,
        -(2**64),
        "--1h",
        "1.2.3s",
    ],
)
def test_refused_without_echo(value: str | int | float) -> None:
    """What is no duration is a ValueError whose text does not repeat the value (CVE-2025-52893)."""
    with pytest.raises(ValueError) as refused:
        parse_duration_s(value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5, "5s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s"), (86400, "24h0m0s"), (-3661, "-1h1m1s")],
)
def test_printed_as_go_prints(seconds: int, text: str) -> None:
    """Hours are not folded into days, and lower units are kept once a higher one is there."""
    assert format_go(seconds) == text


@given(st.integers(-DURATION_S_MAX, DURATION_S_MAX))
def test_round_trip(seconds: int) -> None:
    """What is printed reads back as the same number."""
    assert parse_duration_s(format_go(seconds)) == seconds
