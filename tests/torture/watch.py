"""Who leads, asked of every node several times a second."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from tests.torture.nodes import TortureNode

PERIOD_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """A node became active. Seconds since the beginning, and without an active node before that."""

    at_s: float
    name: str
    without_s: float


class Watch:
    """Threads that ask while it is used as a context."""

    def __init__(self, nodes: Sequence[TortureNode]) -> None:
        self.changes: list[Change] = []
        self._nodes = nodes
        self._began_s = self._seen_s = time.monotonic()
        self._active = ""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(node,), daemon=True) for node in nodes]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, node: TortureNode) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                with urllib.request.urlopen(f"{node.address}/v1/sys/leader", timeout=1) as answer:
                    leads = json.loads(answer.read()).get("is_self")
            except (OSError, ValueError):
                continue
            if leads:
                self._note(node.name, time.monotonic())

    def _note(self, name: str, now_s: float) -> None:
        with self._lock:
            if name != self._active:
                without_s = now_s - self._seen_s if self._active else 0.0
                self.changes.append(Change(round(now_s - self._began_s, 2), name, round(without_s, 2)))
                self._active = name
            self._seen_s = now_s
