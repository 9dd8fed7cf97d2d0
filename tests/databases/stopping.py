"""Stopping a server where it is. A signal is only on its way when `kill` returns: a thread of it may still answer."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from tests.processes.cluster import wait_until


def stop_where_it_is(pids: Iterable[int]) -> None:
    """SIGSTOP to each process; returns once none of their threads runs."""
    stopped = list(pids)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(_stands(pid) for pid in stopped), "all threads stand still")


def _stands(pid: int) -> bool:
    """The state is the first field behind the program's name, which is in brackets and may hold anything."""
    try:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except FileNotFoundError:  # a thread ended meanwhile: look again
        return False
    return all(state in "TtZX" for state in states)
