"""Times as cron writes them: minute, hour, day of the month, month, day of the week; in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from engines.common.errors import InvalidRequest

_BOUNDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES: Final = {
    **{name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))},
    **{
        name: i + 1
        for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
    },
}
_ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS_MAX: Final = 366 * 8 + 1  # 29 February comes again within eight years, also around 2100


@dataclass(frozen=True, slots=True)
class Schedule:
    """The moments that match every field. If both days are restricted, one of them is enough, as in cron."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def next_after_s(self, unix_s: int) -> int:
        """The first moment after this one (Unix seconds)."""
        return next(self._moments(unix_s, 1))

    def last_before_s(self, unix_s: int) -> int:
        """The last moment up to this one (Unix seconds)."""
        return next(self._moments(unix_s, -1))

    def _moments(self, unix_s: int, step: int) -> Iterator[int]:
        day = datetime.fromtimestamp(unix_s, UTC).date()
        for _ in range(_DAYS_MAX):
            if self._has(day):
                midnight_s = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
                found = [midnight_s + hour * 3600 + minute * 60 for hour in self.hours for minute in self.minutes]
                yield from (at for at in found[::step] if (at > unix_s if step > 0 else at <= unix_s))
            day += timedelta(days=step)

    def _has(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return in_month and in_week
        return in_month or in_week


@lru_cache(maxsize=256)
def parse_schedule(text: str) -> Schedule:
    """Read a schedule. Raises InvalidRequest."""
    fields = _ALIASES.get(text.strip(), text).lower().split()
    if len(fields) != 5:
        raise InvalidRequest("rotation_schedule must have the five fields of cron")
    try:
        minutes, hours, days, months, weekdays = (
            _values(field, least, most) for field, (least, most) in zip(fields, _BOUNDS, strict=True)
        )
    except ValueError:
        raise InvalidRequest("rotation_schedule has a field that cron does not know") from None
    schedule = Schedule(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        days,
        months,
        frozenset(value % 7 for value in weekdays),
        fields[2].startswith("*"),
        fields[4].startswith("*"),
    )
    if next(schedule._moments(0, 1), None) is None:
        raise InvalidRequest("rotation_schedule never comes")
    return schedule


def _values(field: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if slash else 1
        if span == "*":
            first, last = least, most
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text)
            last = _number(last_text) if dash else most if slash else first
        if step < 1 or not least <= first <= last <= most:
            raise ValueError
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str) -> int:
    return _NAMES[text] if text in _NAMES else int(text)
