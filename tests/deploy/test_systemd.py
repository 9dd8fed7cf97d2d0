"""The systemd unit, as systemd itself judges it; the service is not started, which takes a machine of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = SYSTEMD / "strongroom.service"
# systemd's own measure, from 0.0 (nothing to be had from it) to 10.0; 2.0 and less is its "OK".
EXPOSURE_MAX = 2.0

NEEDS_SYSTEMD = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@NEEDS_SYSTEMD
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """No unknown setting and no contradiction. The program is one that exists here."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/strongroom/bin/strongroom", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert done.returncode == 0 and not said, done


@NEEDS_SYSTEMD
def test_the_service_is_hardened() -> None:
    """Below the exposure that systemd calls OK."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:]


def test_what_only_the_text_can_tell() -> None:
    """No core dump and no swap of a process that holds keys; a stop has time to hand over; a reload is SIGHUP."""
    lines = UNIT.read_text().splitlines()
    for line in (
        "LimitCORE=0",
        "MemorySwapMax=0",
        "NoNewPrivileges=yes",
        "User=strongroom",
        "StateDirectoryMode=0700",
        "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'",
    ):
        assert line in lines
    readme = (SYSTEMD / "README.md").read_text()
    assert "/opt/strongroom/bin/strongroom server -config=/etc/strongroom/node.hcl" in UNIT.read_text()
    assert "/etc/strongroom/node.hcl" in readme and "python3 -m venv /opt/strongroom" in readme
