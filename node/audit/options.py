"""The options of a device, from text to types. What cannot be used is refused when the device is enabled."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engines.common.duration import parse_duration_s
from engines.common.errors import InvalidRequest

_COMMON: Final = frozenset({"format", "log_raw", "hmac_accessor", "elide_list_responses", "prefix"})
_OWN: Final[Mapping[str, frozenset[str]]] = {
    "file": frozenset({"file_path", "path", "mode"}),
    "syslog": frozenset({"facility", "tag"}),
    "socket": frozenset({"address", "socket_type", "write_timeout", "mode"}),
}
_ENTERPRISE: Final = frozenset({"filter", "fallback", "exclude", "max_files", "max_bytes", "max_duration"})
_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false", ""})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TAG: Final = re.compile(r"[!-9;-Z\\^-~]{1,64}")  # printable; ":" and "[" end a tag in RFC 3164
_TEXT_CHARS_MAX: Final = 1024  # of a prefix: it is written before every record

FACILITIES: Final[Mapping[str, int]] = {
    name: number
    for number, name in enumerate(
        ["KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"]
        + ["", "", "", ""]
        + [f"LOCAL{number}" for number in range(8)]
    )
    if name
}
_SOCKET_TYPES: Final = frozenset({"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """What a record shows. `prefix` is written before each record."""

    log_raw: bool = False
    hmac_accessor: bool = True
    elide_list_responses: bool = False
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """`path` is a file, "stdout" or "discard". `mode` None leaves the mode of an existing file as it is."""

    path: str
    mode: int | None = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogOptions:
    """Facility number (RFC 3164, 4.1.1) and tag."""

    facility: int
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """`address` is host:port, or a path for unix sockets; `write_timeout_s` bounds connecting and each write."""

    address: str
    socket_type: str
    write_timeout_s: float


def require_known(device_type: str, options: Mapping[str, str]) -> None:
    """Refuse a type or an option that does not exist here. Raises InvalidRequest."""
    own = _OWN.get(device_type)
    if own is None:
        raise InvalidRequest(f'unknown audit device type "{device_type}": use file, syslog or socket')
    for name in options:
        if name in _ENTERPRISE:
            raise InvalidRequest(f"the audit option {name} is an enterprise feature that this server does not have")
        if name not in own and name not in _COMMON:
            raise InvalidRequest(f'the audit device type {device_type} has no option "{name[:64]}"')


def line_options(options: Mapping[str, str]) -> LineOptions:
    """The options that every type has. Raises InvalidRequest."""
    if options.get("format", "json") not in ("json", ""):
        raise InvalidRequest("the only audit format is json")
    prefix = options.get("prefix", "")
    if _CONTROL.search(prefix) or len(prefix) > _TEXT_CHARS_MAX:
        raise InvalidRequest(f"prefix must be at most {_TEXT_CHARS_MAX} characters on one line")
    return LineOptions(
        log_raw=_flag(options, "log_raw", default=False),
        hmac_accessor=_flag(options, "hmac_accessor", default=True),
        elide_list_responses=_flag(options, "elide_list_responses", default=False),
        prefix=prefix,
    )


def file_options(options: Mapping[str, str]) -> FileOptions:
    """The options of a file device; `path` is the older name of `file_path`. Raises InvalidRequest."""
    path = options.get("file_path") or options.get("path") or ""
    if not path:
        raise InvalidRequest("file_path is required")
    if _CONTROL.search(path):
        raise InvalidRequest("file_path holds a control character")
    return FileOptions(path=path, mode=_mode(options.get("mode") or "0600"))


def syslog_options(options: Mapping[str, str]) -> SyslogOptions:
    """The options of a syslog device. Raises InvalidRequest."""
    facility = FACILITIES.get((options.get("facility") or "AUTH").upper())
    if facility is None:
        raise InvalidRequest(f"unknown syslog facility: use one of {', '.join(FACILITIES)}")
    tag = options.get("tag") or "vault"
    if not _TAG.fullmatch(tag):
        raise InvalidRequest("tag must be 1 to 64 printable characters without blanks, colons and brackets")
    return SyslogOptions(facility=facility, tag=tag)


def socket_options(options: Mapping[str, str]) -> SocketOptions:
    """The options of a socket device. Raises InvalidRequest."""
    address = options.get("address", "")
    if not address:
        raise InvalidRequest("address is required")
    kind = options.get("socket_type") or "tcp"
    if kind not in _SOCKET_TYPES:
        raise InvalidRequest("socket_type must be tcp, udp or unix")
    if not kind.startswith("unix"):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
            raise InvalidRequest("address must be host:port")
    try:
        timeout_s = parse_duration_s(options.get("write_timeout") or "2s")
    except ValueError:
        raise InvalidRequest("write_timeout must be a duration") from None
    if not 0 < timeout_s <= 60:
        raise InvalidRequest("write_timeout must be between 1s and 60s")
    return SocketOptions(address=address, socket_type=kind, write_timeout_s=timeout_s)


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    if name not in options:
        return default
    text = options[name].lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidRequest(f"{name} must be true or false")


def _mode(text: str) -> int | None:
    try:
        mode = int(text, 8)
    except ValueError:
        raise InvalidRequest("mode must be an octal number such as 0600") from None
    if mode & ~0o777:
        raise InvalidRequest("mode must be an octal number from 0000 to 0666")
    if mode & 0o111:
        # What the log holds is under its clients' influence, so it must never be able to run (CVE-2025-6000).
        raise InvalidRequest("mode must not make the audit file executable")
    return mode or None
