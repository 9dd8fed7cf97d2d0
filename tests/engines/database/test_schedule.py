"""engines/database/schedule.py: cron's rules, in UTC."""

from datetime import UTC, datetime

import pytest

from engines.common.errors import InvalidRequest
from engines.database.schedule import parse_schedule


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("schedule", "after", "moment"),
    [
        ("0 0 * * *", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("*/15 9-17 * * mon-fri", "2026-11-20T17:45", "2026-11-23T09:00"),
        ("0 0 29 2 *", "2026-11-21T00:00", "2028-02-29T00:00"),
        ("0 12 1 * sun", "2026-11-21T13:00", "2026-11-22T12:00"),
        ("0 0 * * 7", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("@hourly", "2026-12-31T23:30", "2027-01-01T00:00"),
    ],
)
def test_next(schedule: str, after: str, moment: str) -> None:
    """The first moment after one; and that moment's last one up to it is itself."""
    parsed = parse_schedule(schedule)
    assert parsed.next_after_s(at(after)) == at(moment)
    assert parsed.last_before_s(at(moment)) == at(moment)
    assert parsed.last_before_s(at(moment) - 1) < at(moment)


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "a * * * *", "0 0 31 2 *", "*/0 * * * *", "5-1 * * * *"])
def test_refused(text: str) -> None:
    """Also what never comes."""
    with pytest.raises(InvalidRequest, match="rotation_schedule"):
        parse_schedule(text)
