"""The clock by which leases end: believed while it is steady, doubted for a while when it leaps, and told about."""

import logging

import pytest

from node.clock_guard import AHEAD_MS_MAX, BEHIND_MS_MAX, HOLD_S, ClockGuard

YEAR_MS = 365 * 24 * 3600 * 1000
START_MS = 1_700_000_000_000


class Clocks:
    """A wall clock that leaps, beside one that does not."""

    def __init__(self) -> None:
        self.wall_ms = START_MS
        self.steady_s = 50.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.steady_s

    def random(self, size: int) -> bytes:
        raise AssertionError("nothing here is random")

    def pass_s(self, seconds: float) -> None:
        self.wall_ms += int(seconds * 1000)
        self.steady_s += seconds


def test_a_steady_clock_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    """Also over weeks, and over small corrections."""
    clocks = Clocks()
    guard = ClockGuard(clocks, START_MS - 5000)
    for _ in range(100):
        clocks.pass_s(86400 / 2)
        clocks.wall_ms -= 300
        assert guard.now_ms() == clocks.wall_ms
    assert caplog.records == []


@pytest.mark.parametrize("at_boot", [True, False])
def test_a_leap_is_doubted_and_then_believed(caplog: pytest.LogCaptureFixture, at_boot: bool) -> None:
    """Years ahead, since the last write before the start or since a moment ago: time goes on as if it had not been."""
    clocks = Clocks()
    if at_boot:
        guard = ClockGuard(clocks, START_MS - YEAR_MS)
        expected_ms = START_MS - YEAR_MS
    else:
        guard = ClockGuard(clocks, 0)
        assert guard.now_ms() == START_MS
        clocks.wall_ms += YEAR_MS
        expected_ms = START_MS
    assert guard.now_ms() == expected_ms
    assert "365 days ahead" in caplog.text
    clocks.pass_s(HOLD_S - 1)
    assert guard.now_ms() == expected_ms + int((HOLD_S - 1) * 1000)
    assert len(caplog.records) == 1
    clocks.pass_s(1)
    assert guard.now_ms() == clocks.wall_ms
    assert "taken to be right" in caplog.text


def test_a_clock_that_is_corrected_is_believed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """And what was not due by the right time was never taken for due."""
    clocks = Clocks()
    guard = ClockGuard(clocks, START_MS)
    clocks.wall_ms += YEAR_MS
    assert guard.now_ms() == START_MS
    clocks.pass_s(60)
    clocks.wall_ms -= YEAR_MS
    assert guard.now_ms() == clocks.wall_ms == START_MS + 60_000
    assert "right again" in caplog.text


def test_the_bounds_are_where_they_are_said_to_be() -> None:
    """A day ahead is believed, a millisecond more is not; a minute behind is not told, more is."""
    for ahead_ms, is_believed in ((AHEAD_MS_MAX, True), (AHEAD_MS_MAX + 1, False)):
        clocks = Clocks()
        guard = ClockGuard(clocks, 0)
        clocks.wall_ms += ahead_ms
        assert (guard.now_ms() == clocks.wall_ms) is is_believed


@pytest.mark.parametrize(("behind_ms", "told"), [(BEHIND_MS_MAX, False), (BEHIND_MS_MAX + 1, True), (YEAR_MS, True)])
def test_a_clock_that_is_behind_is_told(caplog: pytest.LogCaptureFixture, behind_ms: int, told: bool) -> None:
    """There is nothing to hold back: what is to end ends later. When the clock is set right it is believed."""
    caplog.set_level(logging.ERROR)
    clocks = Clocks()
    guard = ClockGuard(clocks, START_MS + behind_ms)
    assert ("behind the time at which its data was last written" in caplog.text) is told
    assert guard.now_ms() == clocks.wall_ms
