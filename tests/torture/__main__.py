"""`make torture`: python -m tests.torture [--minutes 30] [--seed N] [--only FAULT] [--out FOLDER]."""

import argparse
import random
import signal
import sys
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from tests.torture.run import torture


def main() -> int:
    """Run, print the report, and exit with 1 when anything was violated."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", action="append", default=[], help="a fault to choose from; may be repeated")
    parser.add_argument("--out", type=Path, help="where data, logs and the report go; by default a new folder")
    options = parser.parse_args()
    folder = options.out or Path(mkdtemp(prefix="torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that everything is cleaned up
    say = partial(print, flush=True)
    report = torture(folder, options.seed, options.minutes * 60, only=options.only, say=say)
    say(report.markdown())
    say(f"written to {folder}")
    return 1 if report.violations else 0


sys.exit(main())
