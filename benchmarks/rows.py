"""A promise, its measure, and the table of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.processes.cluster import Node


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: what was measured, its goal, and whether that holds. `at_most` turns the comparison round."""

    name: str
    value: float
    goal: float
    at_most: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def print_rows(rows: list[Row]) -> None:
    """The table."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        sign = "<=" if row.at_most else ">="
        verdict = "holds" if row.holds else "MISSED"
        print(f"{row.name:<{width}}  {row.value:>9.2f}  goal {sign} {row.goal:<7.2f}  {verdict:<7} {row.note}")


def rss_mib(node: Node) -> float:
    """Memory of the process's own. The pages of LMDB's file that are mapped belong to the system's cache."""
    assert node.process is not None
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


def cpu_s(node: Node) -> float:
    """CPU time that the process has used in all its life, in seconds."""
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
