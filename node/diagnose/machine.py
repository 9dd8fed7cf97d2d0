"""The machine: open files, disk space, clock, randomness."""

import ctypes
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from node.diagnose.report import Finding, failure, group, ok, skipped, warning
from node.version import BUILD_DATE

OPEN_FILES_WANTED: Final = 1_024_768
FREE_SHARE_WANTED: Final = 0.05
FREE_BYTES_WANTED: Final = 1 << 30

_TIME_ERROR: Final = 5  # adjtimex(2): the kernel's clock is not synchronised
_TIMEX_BYTES: Final = 256  # more than struct timex of any architecture


def check_machine(folders: Iterable[Path]) -> Finding:
    """`folders` are those whose file systems must have room."""
    return group(
        "Check Operating System",
        [check_open_files(), check_disk_usage(folders), check_clock(), check_randomness(os.urandom)],
    )


def check_open_files(limit: Callable[[int], tuple[int, int]] = resource.getrlimit) -> Finding:
    """The soft limit of this process; the server inherits its own from what starts it."""
    name = "Check Open File Limit"
    soft, _ = limit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_WANTED:
        return ok(name, f"Open file limits are set to {'infinity' if soft == resource.RLIM_INFINITY else soft}.")
    return warning(
        name,
        f"Open file limits are set to {soft}.",
        f"Each client takes one open file; we recommend {OPEN_FILES_WANTED} (LimitNOFILE= of systemd, ulimit -n).",
    )


def check_disk_usage(folders: Iterable[Path]) -> Finding:
    """Each file system once: at least 5 % and 1 GB of it are free."""
    name = "Check Disk Usage"
    seen: dict[int, Finding] = {}
    for folder in folders:
        there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
        device = there.stat().st_dev
        if device in seen:
            continue
        usage = shutil.disk_usage(there)
        share = usage.free / usage.total if usage.total else 0.0
        told = f"{there} has {usage.free / (1 << 30):.1f} GB free ({share:.0%})."
        short = share < FREE_SHARE_WANTED or usage.free < FREE_BYTES_WANTED
        advice = "We recommend at least 5 % and 1 GB; a node whose disk is full stops."
        seen[device] = warning(name, told, advice) if short else ok(name, told)
    found = list(seen.values())
    return found[0] if len(found) == 1 else group(name, found)


def check_clock(now: Callable[[], float] = time.time, adjtimex: Callable[[], int | None] | None = None) -> Finding:
    """Leases, tokens and certificates end by the clock: it must be right, and kept so."""
    name = "Check Clock"
    built = time.mktime(time.strptime(BUILD_DATE, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    if now() < built:
        return failure(
            name, "The clock is before the day this program was built.", "Set it, and let NTP or chrony keep it."
        )
    state = (adjtimex or _adjtimex)()
    if state is None:
        return skipped(name, "The kernel does not tell whether its clock is synchronised.")
    if state == _TIME_ERROR:
        return warning(
            name,
            "The kernel's clock is not synchronised.",
            "Run chrony or systemd-timesyncd: leases, tokens and certificates end by the clock.",
        )
    return ok(name, "The clock is synchronised.")


def _adjtimex() -> int | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        state = int(library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))  # modes 0: it only reads
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state


def check_randomness(random: Callable[[int], bytes]) -> Finding:
    """Keys come from here."""
    name = "Initialize Randomness for Core"
    try:
        first, second = random(32), random(32)
    except OSError as error:
        return failure(name, f"The kernel gives no random bytes: {error.strerror}.")
    if len(first) != 32 or first == second:
        return failure(name, "The kernel's random bytes repeat.", "Do not make keys on this machine.")
    return ok(name)
