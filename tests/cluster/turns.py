"""Stands in for the event loop: what other threads ask for runs on the test's own thread, when the test says so."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Turns:
    """`call_soon` for a test."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def call_soon(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def run_until(self, condition: Callable[[], bool], *, within_s: float = 20) -> None:
        """Run what was asked for until the condition holds; fails after within_s."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            try:
                self._calls.get(timeout=0.05)()
            except Empty:
                continue
