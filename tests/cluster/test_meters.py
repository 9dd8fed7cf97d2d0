"""Meters: sums are exact, quantiles are those of the last ten seconds, and memory has a bound."""

import math
import threading

from cluster.meters import KEPT_PER_TICK_MAX, WINDOW_TICKS, Registry, Sampled, Sampling, Spread


def test_a_summary_counts_sums_and_ranks() -> None:
    """Seconds go in, milliseconds come out."""
    spread = Spread()
    for number in range(100):
        spread.add(number / 1000)
    spread.tick()
    assert (spread.count, round(spread.total)) == (100, 4950)
    assert [round(quantile) for quantile in spread.quantiles((0.5, 0.9, 0.99))] == [50, 90, 99]


def test_quantiles_forget_after_ten_seconds() -> None:
    """Count and sum stay; without samples in the window there is no quantile."""
    spread = Spread(scale=1.0)
    spread.add(7.0)
    spread.tick()
    for _ in range(WINDOW_TICKS - 1):
        assert spread.quantiles((0.5,)) == [7.0]
        spread.tick()
    assert math.isnan(spread.quantiles((0.5,))[0])
    assert (spread.count, spread.total) == (1, 7.0)


def test_memory_is_bounded() -> None:
    """However much is added, quantiles are kept of some of it, evenly picked."""
    spread = Spread(scale=1.0)
    for _ in range(WINDOW_TICKS + 5):
        for number in range(10_000):
            spread.add(number)
        spread.tick()
    assert sum(len(second) for second in spread._recent) <= WINDOW_TICKS * KEPT_PER_TICK_MAX
    assert abs(spread.quantiles((0.5,))[0] - 5000) < 100
    assert spread.count == (WINDOW_TICKS + 5) * 10_000


def test_intervals() -> None:
    """An interval has what was added in it, and the one before stays to be read."""
    spread = Spread(scale=1.0)
    for sample in (1.0, 2.0, 6.0):
        spread.add(sample)
        spread.collect()
    spread.end_interval()
    spread.add(5.0)
    spread.collect()
    last = spread.last
    assert last is not None
    assert (last.count, last.total, last.least, last.most, last.squares) == (3, 9.0, 1.0, 6.0, 41.0)
    assert (spread.interval.count, spread.interval.least) == (1, 5.0)


def test_threads_may_add() -> None:
    """What other threads add while the meter is read is neither lost nor counted twice."""
    spread = Spread(scale=1.0)

    def add() -> None:
        for _ in range(20_000):
            spread.add(1.0)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        spread.tick()
    for thread in threads:
        thread.join()
    spread.tick()
    assert (spread.count, spread.total) == (60_000, 60_000.0)


def test_sampling_counts_everything() -> None:
    """The count is of all that was seen, and the sum as if the samples were like the rest."""
    sampling = Sampling()
    sampling.partial = True
    meter = Sampled(sampling)
    follower = Sampled(sampling, lambda: meter.seen)
    for number in range(160):
        meter.seen += 1
        if number % 16 == 0:
            meter.add(0.002)
            follower.add(0.001)
    meter.tick()
    follower.tick()
    assert (meter.count, round(meter.total)) == (160, 320)
    assert (follower.count, round(follower.total)) == (160, 160)
    assert meter.interval.count == 160


def test_sampling_everything_is_exact() -> None:
    """While each one is timed, the sum is that of the samples."""
    meter = Sampled(Sampling())
    for sample in (0.001, 0.002, 0.004):
        meter.seen += 1
        meter.add(sample)
        meter.collect()
    assert (meter.count, round(meter.total)) == (3, 7)


def test_asking_twice_gives_the_same_meter() -> None:
    """Whoever names a meter gets the one of that name."""
    registry = Registry()
    registry.counter("a.b", "Help.").value += 1
    assert registry.counter("a.b", "Help.").value == 1
    assert registry.spreads("c", "Help.", "peer").of("n1") is registry.spreads("c", "Help.", "peer").of("n1")
