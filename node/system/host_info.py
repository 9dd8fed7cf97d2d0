"""What sys/host-info tells of the machine. Reads /proc and asks every file system: not for the event loop's thread."""

import platform
import socket
from pathlib import Path
from typing import Final

import psutil

_CPUINFO: Final = Path("/proc/cpuinfo")
_WITH_DEVICES: Final = False  # of partitions: only those on real devices, as the documentation's


def host_info(timestamp: str) -> dict[str, object]:
    """The documented members."""
    return {
        "cpu": _cpus(),
        "cpu_times": _cpu_times(),
        "disk": _disks(),
        "host": _host(),
        "memory": _memory(),
        "timestamp": timestamp,
    }


def _cpus() -> list[dict[str, object]]:
    blocks = _CPUINFO.read_text().split("\n\n") if _CPUINFO.exists() else []
    rows: list[dict[str, object]] = []
    for block in blocks:
        members = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if "processor" in members:
            rows.append(
                {
                    "cpu": int(members["processor"]),
                    "vendorId": members.get("vendor_id", ""),
                    "family": members.get("cpu family", ""),
                    "model": members.get("model", ""),
                    "stepping": int(members.get("stepping", "0")) if members.get("stepping", "0").isdecimal() else 0,
                    "physicalId": members.get("physical id", ""),
                    "coreId": members.get("core id", ""),
                    "cores": 1,
                    "modelName": members.get("model name", ""),
                    "mhz": float(members.get("cpu MHz", 0)),
                    "cacheSize": int(members.get("cache size", "0").split()[0]),
                    "flags": members.get("flags", "").split(),
                    "microcode": members.get("microcode", ""),
                }
            )
    return rows


def _cpu_times() -> list[dict[str, object]]:
    return [
        {"cpu": f"cpu{number}", **{_CPU_WORDS.get(name, name): value for name, value in times._asdict().items()}}
        for number, times in enumerate(psutil.cpu_times(percpu=True))
    ]


_CPU_WORDS: Final = {"guest_nice": "guestNice"}


def _disks() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for partition in psutil.disk_partitions(all=_WITH_DEVICES):
        try:
            usage = psutil.disk_usage(partition.mountpoint)
        except OSError:
            continue  # a file system that this user may not look at
        rows.append(
            {
                "path": partition.mountpoint,
                "fstype": partition.fstype,
                "total": usage.total,
                "free": usage.free,
                "used": usage.used,
                "usedPercent": usage.percent,
            }
        )
    return rows


def _host() -> dict[str, object]:
    booted_s = int(psutil.boot_time())
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return {
        "hostname": socket.gethostname(),
        "uptime": int(_uptime_s()),
        "bootTime": booted_s,
        "procs": len(psutil.pids()),
        "os": platform.system().lower(),
        "platform": release.get("ID", ""),
        "platformFamily": release.get("ID_LIKE", release.get("ID", "")),
        "platformVersion": release.get("VERSION_ID", ""),
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
    }


def _uptime_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _memory() -> dict[str, object]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "total": memory.total,
        "available": memory.available,
        "used": memory.used,
        "usedPercent": memory.percent,
        "free": memory.free,
        "buffers": memory.buffers,
        "cached": memory.cached,
        "swapTotal": swap.total,
        "swapFree": swap.free,
    }
