"""The meters as text for Prometheus (exposition format 0.0.4) and as the documented JSON."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest

from cluster.meters import INTERVAL_TICKS, TICK_S, Counter, Family, Interval, Labels, Spread
from node.telemetry.names import Filter, prometheus_name

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
QUANTILES: Final = (0.5, 0.9, 0.99)
_INTERVAL_S: Final = TICK_S * INTERVAL_TICKS
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How meters are shown: the `telemetry` stanza."""

    prefix: str
    shown: Filter
    host: str = ""  # for the label of each series; empty for none

    def name_of(self, family: Family) -> str:
        """Its name in dots, the prefix included."""
        return f"{self.prefix}.{family.name}" if self.prefix else family.name

    def chosen(self, families: Iterable[Family]) -> Iterator[Family]:
        """Those that are shown, in the order of their names."""
        for family in sorted(families, key=lambda one: one.name):
            if self.shown.shows(self.name_of(family)):
                yield family

    def labels_of(self, family: Family, values: Labels) -> dict[str, str]:
        """The labels of one series."""
        labels = dict(zip(family.labels, values, strict=True))
        return {"host": self.host, **labels} if self.host else labels


# Prometheus

_PROCESS: Final = CollectorRegistry()
ProcessCollector(registry=_PROCESS)
PlatformCollector(registry=_PROCESS)
GCCollector(registry=_PROCESS)


def prometheus(families: Iterable[Family], look: Look) -> bytes:
    """Every series that has a value, and those of the process that the client library knows."""
    lines: list[str] = []
    for family in look.chosen(families):
        name = prometheus_name(look.prefix, family.name)
        series = list(_series(family, name, look))
        if series:
            lines += (f"# HELP {name} {_escaped_help(family.help)}", f"# TYPE {name} {family.kind}", *series)
    return ("\n".join(lines) + "\n").encode() + process_metrics()


def process_metrics() -> bytes:
    """What the client library knows of this process: process_*, python_*."""
    return generate_latest(_PROCESS)


def _series(family: Family, name: str, look: Look) -> Iterator[str]:
    for values, number in numbers_of(family).items():
        yield f"{name}{_labels(look.labels_of(family, values))} {_number(number)}"
    for values, meter in list(family.children.items()):
        if isinstance(meter, Spread):
            labels = look.labels_of(family, values)
            meter.collect()
            for rank, quantile in zip(QUANTILES, meter.quantiles(QUANTILES), strict=True):
                yield f"{name}{_labels({**labels, 'quantile': str(rank)})} {_number(quantile)}"
            yield f"{name}_sum{_labels(labels)} {_number(meter.total)}"
            yield f"{name}_count{_labels(labels)} {meter.count}"


def numbers_of(family: Family) -> Mapping[Labels, float]:
    """Gauges and counters; of summaries nothing."""
    if family.read is not None:
        return family.read()
    return {values: meter.value for values, meter in family.children.items() if isinstance(meter, Counter)}


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


def _escaped_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


# JSON


def summary(families: Iterable[Family], look: Look, at_ms: int) -> dict[str, object]:
    """The last complete interval of ten seconds, or the first one while it runs; gauges as of now."""
    gauges: list[dict[str, object]] = []
    counters: list[dict[str, object]] = []
    samples: list[dict[str, object]] = []
    for family in look.chosen(families):
        name = look.name_of(family)
        if family.kind == "gauge":
            for values, number in numbers_of(family).items():
                gauges.append({"Name": name, "Value": number, "Labels": look.labels_of(family, values)})
        for values, meter in list(family.children.items()):
            if isinstance(meter, Spread):
                meter.collect()
            interval = meter.last or meter.interval
            if interval.count:
                row = _interval(name, interval, look.labels_of(family, values))
                (counters if isinstance(meter, Counter) else samples).append(row)
    when = datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    return {"Timestamp": when, "Gauges": gauges, "Points": [], "Counters": counters, "Samples": samples}


def _interval(name: str, interval: Interval, labels: Mapping[str, str]) -> dict[str, object]:
    mean = interval.total / interval.count
    variance = max(0.0, interval.squares / interval.count - mean * mean)
    spread = math.sqrt(variance * interval.count / (interval.count - 1)) if interval.count > 1 else 0.0
    return {
        "Name": name,
        "Count": interval.count,
        "Rate": interval.total / _INTERVAL_S,
        "Sum": interval.total,
        "Min": interval.least,
        "Max": interval.most,
        "Mean": mean,
        "Stddev": spread,
        "Labels": dict(labels),
    }


def dump(found: Mapping[str, object]) -> str:
    """The JSON form as the lines that SIGUSR1 writes: [G] gauges, [C] counters, [S] samples."""
    lines = []
    for letter, member in (("G", "Gauges"), ("C", "Counters"), ("S", "Samples")):
        rows = found[member]
        assert isinstance(rows, list)
        for row in rows:
            tail = "".join(f".{value}" for value in row["Labels"].values())
            if letter == "G":
                lines.append(f"[{found['Timestamp']}][G] '{row['Name']}{tail}': {row['Value']:.3f}")
            else:
                numbers = " ".join(f"{word}: {row[word]:.3f}" for word in ("Min", "Mean", "Max", "Stddev", "Sum"))
                lines.append(f"[{found['Timestamp']}][{letter}] '{row['Name']}{tail}': Count: {row['Count']} {numbers}")
    return "\n".join(lines)
