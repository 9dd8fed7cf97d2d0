"""Where the journal is synced: inline while the disk is fast, in the thread while it is not."""

from itertools import count

from cluster.sync_pace import INLINE_AVERAGE_S_MAX, SLOW_HOLD_S, SLOW_S, SyncPace

FAST_S = INLINE_AVERAGE_S_MAX / 5


def _syncs(pace: SyncPace, now_s: float, took_s: float, number: int, gap_s: float = 0.001) -> tuple[int, float]:
    """How many of so many syncs that take this long were inline, and the time after them."""
    inline = 0
    for _ in range(number):
        now_s += gap_s
        where = pace.wants_inline(now_s)
        now_s += took_s
        pace.note(now_s, took_s, inline=where)
        inline += where
    return inline, now_s


def test_a_fast_disk_is_synced_inline() -> None:
    """After the first look at it."""
    assert _syncs(SyncPace(), 0, FAST_S, 100)[0] >= 95


def test_a_moment_of_slowness_is_soon_over() -> None:
    """While the state is written beside it, syncs take milliseconds; soon afterwards they are inline again."""
    pace = SyncPace()
    _, now_s = _syncs(pace, 0, FAST_S, 20)
    during, now_s = _syncs(pace, now_s, 0.005, 10)
    assert during <= 2
    assert _syncs(pace, now_s, FAST_S, 200)[0] >= 90


def test_a_slow_disk_costs_the_loop_little() -> None:
    """However slow, what is tried inline takes a twentieth of the loop's time at most."""
    for took_s in (0.001, 0.01, 0.05):
        inline, now_s = _syncs(SyncPace(), 0, took_s, 2000)
        assert inline >= 1
        assert inline * took_s <= now_s / 16


def test_a_very_slow_disk_is_left_alone_for_long() -> None:
    """One sync near the time between heartbeats, wherever it ran, sends all to the thread for a while."""
    pace = SyncPace()
    _, now_s = _syncs(pace, 0, FAST_S, 20)
    pace.note(now_s, SLOW_S, inline=False)
    assert not any(pace.wants_inline(now_s + second) for second in range(int(SLOW_HOLD_S)))
    later = (pace.wants_inline(now_s + SLOW_HOLD_S + turn) for turn in count())
    assert next(later)


def test_without_a_thread_everything_is_inline() -> None:
    """The simulation has one order of events."""
    assert _syncs(SyncPace(threaded=False), 0, 1.0, 10)[0] == 10
