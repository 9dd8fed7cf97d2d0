"""The report of a run, for a person and for a program."""

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.watch import Change


@dataclass(slots=True)
class Injected:
    """A fault that was injected, and how the cluster came back."""

    name: str
    at_s: float
    lasted_s: float
    write_s: float  # from healing until a write was acknowledged
    equal_s: float  # from healing until all nodes had applied it


@dataclass(slots=True)
class Report:
    """What happened in a run."""

    seed: int
    began: str
    seconds: float = 0.0
    operations: Mapping[str, int] = field(default_factory=dict)
    keys: int = 0
    set_acknowledged: int = 0
    set_attempted: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)
    faults: list[Injected] = field(default_factory=list)
    left_out: Mapping[str, str] = field(default_factory=dict)
    leaders: list[Change] = field(default_factory=list)
    snapshots: int = 0
    violations: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write report.json and report.md."""
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=1))
        (folder / "report.md").write_text(self.markdown())

    def markdown(self) -> str:
        """For a person."""
        total = sum(self.operations.values())
        system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
        lines = [
            f"# Torture run of {self.began}",
            "",
            f"{self.seconds / 60:.1f} minutes, seed {self.seed}, {os.cpu_count()} cores, {system}.",
            "",
            f"**{len(self.violations)} violations.**",
            *(f"- {violation}" for violation in self.violations),
            "",
            f"{total} operations on {self.keys} keys ({total / max(1.0, self.seconds):.0f}/s), "
            f"{self.set_acknowledged} of {self.set_attempted} unique keys acknowledged, "
            f"{self.snapshots} snapshots sent to followers far behind.",
            "",
            *_table(("operation and outcome", "count"), sorted(self.operations.items())),
            "",
            *_table(("used at most so often", "count"), sorted(self.spent.items())),
            "",
            f"{len(self.faults)} faults. Seconds from healing to the next acknowledged write and to equal nodes:",
            "",
            *_table(("fault", "times", "write, worst", "equal, worst"), self._by_fault()),
            "",
            f"{max(0, len(self.leaders) - 1)} changes of leader; without one for {self._without()}.",
            "",
            *_table(("at, s", "leader", "none before, s"), [(c.at_s, c.name, c.without_s) for c in self.leaders]),
        ]
        if self.left_out:
            lines += ["", "Left out:", "", *_table(("fault", "because"), self.left_out.items())]
        return "\n".join(lines) + "\n"

    def _by_fault(self) -> list[tuple[Any, ...]]:
        times = Counter(fault.name for fault in self.faults)
        rows = []
        for name, count in sorted(times.items()):
            of_it = [fault for fault in self.faults if fault.name == name]
            rows.append((name, count, max(f.write_s for f in of_it), max(f.equal_s for f in of_it)))
        return rows

    def _without(self) -> str:
        gaps = sorted(change.without_s for change in self.leaders[1:])
        return f"{gaps[len(gaps) // 2]} s (median), {gaps[-1]} s (longest)" if gaps else "0 s"


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows),
    ]
