"""Times as the API writes them."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from engines.common.timestamp import rfc3339
from tests.engines.memory_view import NOW_MS


def test_a_time_has_nine_digits_and_ends_in_z() -> None:
    """The form of the documentation's samples."""
    assert rfc3339(NOW_MS) == "2026-11-21T20:00:00.123000000Z"


@given(st.integers(0, 253_402_300_799_999))
def test_every_time_up_to_the_year_9999_can_be_read_back(unix_ms: int) -> None:
    """No digit is lost and none invented."""
    text = rfc3339(unix_ms)
    read = datetime.strptime(text[:-4], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)
    assert round((read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000) == unix_ms
    assert len(text) == 30
