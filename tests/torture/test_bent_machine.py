"""The library that is preloaded into servers delays and fails their syncs as it is told, and at once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.torture.nodes import bent_machine_library

SYNC = """
import os, sys
with open(sys.argv[1], "wb") as file:
    for call in (os.fsync, os.fdatasync):
        try:
            call(file.fileno())
        except OSError as error:
            print(error.errno)
"""


def test_orders_are_obeyed(tmp_path: Path) -> None:
    """Milliseconds are waited for each sync; "e5" is EIO; "0" and no file at all leave the disk as it is."""
    library = bent_machine_library(tmp_path)
    if library is None:
        pytest.skip("no C compiler")
    orders = tmp_path / "orders"

    def run() -> tuple[str, float]:
        environment = {**os.environ, "LD_PRELOAD": str(library), "SLOW_DISK_ORDERS": str(orders)}
        command = [sys.executable, "-c", SYNC, str(tmp_path / "file")]
        began_s = time.monotonic()
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout, time.monotonic() - began_s

    assert run()[0] == ""
    orders.write_text("400")
    said, took_s = run()
    assert said == "" and took_s >= 0.8
    orders.write_text("e5")
    assert run()[0].split() == ["5", "5"]
    orders.write_text("0")
    assert run()[0] == ""
