"""Load from wrk, a generator nobody here wrote, against one address of this machine."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_UNITS_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}

# Each request writes another secret of 300 bytes; RUN keeps the names of two runs apart.
_WRITES: Final = """
local counter = 0
request = function()
  counter = counter + 1
  return wrk.format("POST", "/v1/secret/data/RUN/" .. counter, wrk.headers, '{"data":{"value":"VALUE"}}')
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured. `bad` counts answers other than 2xx, and connections that failed."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    bad: int


def require_wrk() -> str:
    """The path of wrk; ends the program with what to do when it is not there."""
    found = shutil.which("wrk")
    if found is None:
        sys.exit("make bench needs the load generator wrk: apt-get install wrk")
    return found


def write_script(folder: Path, run: str) -> Path:
    """A script for wrk that writes secrets below this name."""
    file = folder / f"{run.replace('/', '-')}.lua"
    file.write_text(_WRITES.replace("RUN", run).replace("VALUE", "x" * 300))
    return file


def post_script(folder: Path, name: str, path: str, body: str) -> Path:
    """A script for wrk that sends the same body again and again."""
    file = folder / f"{name}.lua"
    file.write_text(f"request = function() return wrk.format('POST', '/v1/{path}', wrk.headers, [==[{body}]==]) end\n")
    return file


def load(
    address: str, connections: int, seconds: int, *, token: str = "", path: str = "", script: Path | None = None
) -> Load:
    """Send requests over so many connections for so long: GET of the path, or what the script says."""
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "20s"]
    if token:
        command += ["-H", f"X-Vault-Token: {token}"]
    if script is not None:
        command += ["-s", str(script)]
    done = subprocess.run([*command, f"{address}/v1/{path}"], capture_output=True, text=True, check=True)
    return _parsed(done.stdout)


def _parsed(text: str) -> Load:
    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found.group(1)) if found else 0.0

    def latency(percentile: str) -> float:
        found = re.search(rf"{percentile}%\s+([0-9.]+)(us|ms|s)", text)
        return float(found.group(1)) * _UNITS_MS[found.group(2)] if found else 0.0

    failed = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    return Load(
        requests=int(number(r"(\d+) requests in")),
        per_second=number(r"Requests/sec:\s+([0-9.]+)"),
        p50_ms=latency("50"),
        p99_ms=latency("99"),
        bad=int(number(r"Non-2xx or 3xx responses: (\d+)")) + failed,
    )
