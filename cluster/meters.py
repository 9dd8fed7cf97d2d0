"""Meters: what is counted and timed while the node works. Reading and showing them is node/telemetry/.

They are on the way of every request, so counting is an addition and timing is one `list.append`; sums, extremes and
quantiles are made once a second by `tick`, and again when somebody looks. A meter never holds a name or a value that a
client sent, but for the labels that the documentation lists.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import mul
from typing import Final, Generic, TypeVar

clock = time.perf_counter
"""Seconds, of which only differences count."""

TICK_S: Final = 1.0
WINDOW_TICKS: Final = 10  # quantiles are those of the last ten seconds, as the documentation's are
KEPT_PER_TICK_MAX: Final = 512  # samples kept for quantiles: evenly picked where there were more
INTERVAL_TICKS: Final = 10  # one interval of the JSON form

ROUTE_NAMES_MAX: Final = 4096  # names that hold a mount's path: mounts come and go, and meters stay


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened in one interval, in the meter's unit."""

    count: int = 0
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0
    squares: float = 0.0

    def with_samples(self, samples: list[float], stands_for: float = 1) -> "Interval":
        """The interval with these samples, of which there is at least one; each stands for so many."""
        least, most = min(samples), max(samples)
        return Interval(
            self.count + round(len(samples) * stands_for),
            self.total + sum(samples) * stands_for,
            min(self.least, least) if self.count else least,
            max(self.most, most) if self.count else most,
            self.squares + sum(map(mul, samples, samples)) * stands_for,
        )


_EMPTY: Final = Interval()


class Counter:
    """A number that only grows: add to `value`."""

    __slots__ = ("_before", "last", "value")

    def __init__(self) -> None:
        self.value = 0
        self.last: Interval | None = None
        self._before = 0

    @property
    def interval(self) -> Interval:
        """The interval that runs."""
        grown = self.value - self._before
        return Interval(grown, grown, min(grown, 1), min(grown, 1), grown) if grown else _EMPTY

    def end_interval(self) -> None:
        """Begin the next interval."""
        self.last, self._before = self.interval, self.value


class Spread:
    """A summary: count, sum, and quantiles of the last ten seconds. Times are added in seconds and shown in ms.

    `add` takes a sample, from any thread. It is the list's own method: nothing costs less.
    """

    __slots__ = ("_pending", "_recent", "_scale", "add", "count", "interval", "last", "total")

    def __init__(self, scale: float = 1000.0) -> None:
        self._pending: list[float] = []
        self._recent: deque[list[float]] = deque([[]], WINDOW_TICKS)
        self._scale = scale
        self.add: Callable[[float], None] = self._pending.append
        self.count = 0
        self.total = 0.0
        self.interval = _EMPTY
        self.last: Interval | None = None

    def collect(self) -> list[float]:
        """Take in what was added since; gives those samples, in the meter's unit."""
        size = len(self._pending)
        if not size:
            return []
        taken = self._pending[:size]  # what other threads append meanwhile stays for the next time
        del self._pending[:size]
        scale = self._scale
        samples = taken if scale == 1.0 else [sample * scale for sample in taken]
        self._take(samples)
        room = KEPT_PER_TICK_MAX - len(self._recent[-1])
        if room > 0:
            self._recent[-1].extend(samples[:: -(-size // room)])
        return samples

    def _take(self, samples: list[float]) -> None:
        self.count += len(samples)
        self.total += sum(samples)
        self.interval = self.interval.with_samples(samples)

    def tick(self) -> list[float]:
        """As `collect`, at the end of a second."""
        samples = self.collect()
        self._recent.append([])
        return samples

    def end_interval(self) -> None:
        """Begin the next interval."""
        self.last, self.interval = self.interval, _EMPTY

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        """The samples of the window at these ranks; not a number where there are none."""
        ordered = sorted(sample for second in self._recent for sample in second)
        if not ordered:
            return [float("nan") for _ in wanted]
        return [ordered[min(len(ordered) - 1, int(rank * len(ordered)))] for rank in wanted]

    def timing(self) -> "Timing":
        """A context whose duration is a sample, however it ends. For where nanoseconds do not count."""
        return Timing(self)


class Sampling:
    """When what happens often is timed. `partial`: since the meters were last read, some of it was not."""

    __slots__ = ("partial", "timed")

    def __init__(self) -> None:
        self.timed = True
        self.partial = False


class Sampled(Spread):
    """A summary of what happens too often to time it each time: `seen` counts all of it, `add` takes some.

    The sum is that of the samples times what they stand for; while everything is timed, it is exact.
    """

    __slots__ = ("_counted", "_counted_before", "_sampling", "seen")

    def __init__(self, sampling: Sampling, counted: Callable[[], int] | None = None) -> None:
        """`counted` says how often it happened so far, where that is counted elsewhere."""
        super().__init__()
        self.seen = 0
        self._sampling = sampling
        self._counted = counted or (lambda: self.seen)
        self._counted_before = 0

    def _take(self, samples: list[float]) -> None:
        counted = self._counted()
        news = len(samples)
        if self._sampling.partial:
            news = max(news, counted - self._counted_before)
        self._counted_before = counted
        self.count += news
        stands_for = news / len(samples)
        self.total += sum(samples) * stands_for
        self.interval = self.interval.with_samples(samples, stands_for)


class Timing:
    """See Spread.timing."""

    __slots__ = ("_began", "_spread")

    def __init__(self, spread: Spread) -> None:
        self._spread = spread

    def __enter__(self) -> "Timing":
        self._began = clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._spread.add(clock() - self._began)


Labels = tuple[str, ...]
Meter = TypeVar("Meter", Counter, Spread)


class Labelled(Generic[Meter]):
    """One meter for each set of label values. Whoever adds to it often keeps what `of` gave."""

    def __init__(self, make: Callable[[], Meter]) -> None:
        self._make: Callable[[], Meter] = make
        self.children: dict[Labels, Meter] = {}

    def of(self, *labels: str) -> Meter:
        """The meter of these label values."""
        found = self.children.get(labels)
        if found is None:
            found = self.children[labels] = self._make()
        return found


Gauge = Callable[[], Mapping[Labels, float]]
"""Reads a gauge: its value for each set of label values, and nothing while it has none."""


@dataclass(slots=True)
class Family:
    """All meters of one name, in dots ("raft.apply"), without the prefix."""

    name: str
    kind: str  # "counter", "summary" or "gauge"
    help: str
    labels: tuple[str, ...] = ()
    children: Mapping[Labels, Counter | Spread] = field(default_factory=dict)
    read: Gauge | None = None


class Registry:
    """The meters of one part by name. Asking for a name a second time gives what is there."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}

    def counter(self, name: str, help_: str) -> Counter:
        """A counter without labels."""
        return self.counters(name, help_).of()

    def spread(self, name: str, help_: str, *, scale: float = 1000.0) -> Spread:
        """A summary without labels; of milliseconds unless `scale` says otherwise."""
        return self.spreads(name, help_, scale=scale).of()

    def sampled(self, name: str, help_: str, sampling: Sampling, counted: Callable[[], int] | None = None) -> Sampled:
        """A summary of which some are timed; see Sampled."""
        known = self.families.get(name)
        found = known.children.get(()) if known is not None else None
        if not isinstance(found, Sampled):
            found = Sampled(sampling, counted)
            self.families[name] = Family(name, "summary", help_, children={(): found})
        return found

    def counters(self, name: str, help_: str, *labels: str) -> Labelled[Counter]:
        """Counters by label values."""
        family: Labelled[Counter] = Labelled(Counter)
        return self._family(Family(name, "counter", help_, labels), family)

    def spreads(self, name: str, help_: str, *labels: str, scale: float = 1000.0) -> Labelled[Spread]:
        """Summaries by label values."""
        return self._family(Family(name, "summary", help_, labels), Labelled(lambda: Spread(scale)))

    def gauge(self, name: str, help_: str, read: Callable[[], float | None]) -> None:
        """A number that is read when somebody looks; None while there is none."""

        def of_all() -> Mapping[Labels, float]:
            value = read()
            return {} if value is None else {(): value}

        self.gauges(name, help_, (), of_all)

    def gauges(self, name: str, help_: str, labels: tuple[str, ...], read: Gauge) -> None:
        """Numbers by label values, read when somebody looks."""
        self.families[name] = Family(name, "gauge", help_, labels, read=read)

    def counts(self, name: str, help_: str, labels: tuple[str, ...], read: Gauge) -> None:
        """Counters by label values that are kept elsewhere and read when somebody looks."""
        self.families[name] = Family(name, "counter", help_, labels, read=read)

    def same(self, name: str, help_: str, spread: Spread) -> None:
        """Another name for a summary: the documentation has two for some."""
        self.families[name] = Family(name, "summary", help_, children={(): spread})

    def _family(self, family: Family, labelled: Labelled[Meter]) -> Labelled[Meter]:
        known = self.families.get(family.name)
        if known is not None:
            labelled.children = known.children  # type: ignore[assignment]  # a name has one kind
        else:
            family.children = labelled.children
            self.families[family.name] = family
        return labelled
