"""What a device may be enabled with."""

import pytest

from engines.common.errors import InvalidRequest
from node.audit.options import (
    file_options,
    line_options,
    require_known,
    socket_options,
    syslog_options,
)


def test_defaults_are_the_documented_ones() -> None:
    """Mode 0600, hashed accessors, AUTH and vault for syslog, tcp and two seconds for sockets."""
    assert file_options({"file_path": "/var/log/a"}).mode == 0o600
    assert line_options({}).hmac_accessor and not line_options({}).log_raw
    assert syslog_options({}).facility == 4 and syslog_options({}).tag == "vault"
    socket = socket_options({"address": "127.0.0.1:9090"})
    assert (socket.socket_type, socket.write_timeout_s) == ("tcp", 2)


@pytest.mark.parametrize("mode", ["0700", "0755", "0601", "0010", "777", "1600", "4600", "abc", "-1"])
@pytest.mark.parametrize("name", ["file_path", "path"])
def test_cve_2025_6000_no_mode_makes_the_file_executable(name: str, mode: str) -> None:
    """No executable, setuid or sticky bit can be asked for, under either name of the path (CVE-2026-5051)."""
    with pytest.raises(InvalidRequest):
        file_options({name: "/var/log/a", "mode": mode})


def test_mode_zero_leaves_the_mode_alone() -> None:
    """ "0000" keeps the server from changing the mode (documentation, "File audit device")."""
    assert file_options({"file_path": "/var/log/a", "mode": "0000"}).mode is None
    assert file_options({"file_path": "/var/log/a", "mode": "0640"}).mode == 0o640


@pytest.mark.parametrize("name", ["filter", "fallback", "exclude", "max_bytes"])
def test_enterprise_options_are_refused_by_name(name: str) -> None:
    """An option that would change what is recorded is never silently ignored."""
    with pytest.raises(InvalidRequest, match=f"{name} is an enterprise feature"):
        require_known("file", {"file_path": "/var/log/a", name: "x"})


def test_unknown_types_and_options_are_refused() -> None:
    """A misspelt log_raw must not look as if it had been set."""
    with pytest.raises(InvalidRequest, match="unknown audit device type"):
        require_known("kafka", {})
    with pytest.raises(InvalidRequest, match="no option"):
        require_known("file", {"log-raw": "true"})


@pytest.mark.parametrize(
    "options",
    [{"format": "jsonx"}, {"prefix": "a\nb"}, {"prefix": "x" * 2000}, {"log_raw": "perhaps"}],
)
def test_line_options_that_cannot_be_used_are_refused(options: dict[str, str]) -> None:
    """A prefix cannot forge a record of its own, and a flag is true or false."""
    with pytest.raises(InvalidRequest):
        line_options(options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"address": "127.0.0.1"},
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:99999"},
        {"address": "127.0.0.1:1", "socket_type": "carrier-pigeon"},
        {"address": "127.0.0.1:1", "write_timeout": "soon"},
        {"address": "127.0.0.1:1", "write_timeout": "2h"},
    ],
)
def test_sockets_that_cannot_be_used_are_refused(options: dict[str, str]) -> None:
    """An address needs a port, a time-out an end."""
    with pytest.raises(InvalidRequest):
        socket_options(options)


@pytest.mark.parametrize("options", [{"facility": "NOISE"}, {"tag": "a b"}, {"tag": "a:"}, {"tag": "x[1]"}])
def test_syslog_options_that_cannot_be_used_are_refused(options: dict[str, str]) -> None:
    """A tag ends at a blank, a colon or a bracket (RFC 3164, 4.1.3)."""
    with pytest.raises(InvalidRequest):
        syslog_options(options)
