"""From a value of the configuration text to a value of the right type. Lenient as the documented server is: numbers and
booleans may be strings, durations may be numbers, lists may be comma-separated. No error repeats the value."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from engines.common.duration import parse_duration_s
from engines.common.hcl import ListValue, Literal, Value

T = TypeVar("T")
Read = Callable[[Value], T]
Network = IPv4Network | IPv6Network

_TRUE = frozenset(("1", "t", "true"))
_FALSE = frozenset(("0", "f", "false", ""))


class Wrong(Exception):
    """A value that cannot be used; `reason` says what was expected. The caller knows key, file and line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def text(value: Value) -> str:
    """A string, or a number taken as one."""
    if not isinstance(value, Literal) or value.value is None or isinstance(value.value, bool):
        raise Wrong("expected a string")
    return str(value.value)


def flag(value: Value) -> bool:
    """true or false, also as a string or as 1 and 0."""
    word = str(value.value).lower() if isinstance(value, Literal) and value.value is not None else "?"
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Wrong("expected true or false")


def is_given(value: Value) -> bool:
    """True for any text but the empty one: how some environment variables mean "yes"."""
    return bool(text(value))


def whole(minimum: int, maximum: int = 2**63 - 1) -> Read[int]:
    """A whole number within these bounds, also as a string."""

    def read(value: Value) -> int:
        try:
            number = int(text(value))
        except (Wrong, ValueError):
            raise Wrong("expected a whole number") from None
        if not minimum <= number <= maximum:
            bounds = f"at least {minimum}" if maximum == 2**63 - 1 else f"from {minimum} to {maximum}"
            raise Wrong(f"expected a number {bounds}")
        return number

    return read


def duration(value: Value) -> int:
    """Seconds of a duration that is not negative."""
    if not isinstance(value, Literal) or value.value is None:
        raise Wrong("expected a duration")
    try:
        seconds = parse_duration_s(value.value)
    except ValueError as error:
        raise Wrong(str(error)) from None
    if seconds < 0:
        raise Wrong("a duration cannot be negative")
    return seconds


def choice(*names: str) -> Read[str]:
    """One of these words, whatever its case."""

    def read(value: Value) -> str:
        word = text(value).lower()
        if word not in names:
            raise Wrong("expected one of: " + ", ".join(name or '""' for name in names))
        return word

    return read


def texts(value: Value) -> tuple[str, ...]:
    """A list of strings, or one string with commas."""
    if isinstance(value, ListValue):
        return tuple(text(element) for element in value.items)
    return tuple(part.strip() for part in text(value).split(",") if part.strip())


def networks(value: Value) -> tuple[Network, ...]:
    """Addresses or CIDR blocks, as a list or with commas."""
    try:
        return tuple(ip_network(part, strict=False) for part in texts(value))
    except ValueError:
        raise Wrong("expected IP addresses or CIDR blocks") from None


def file_mode(value: Value) -> int | None:
    """Permission bits as an octal string; "" leaves them as they are."""
    if not isinstance(value, Literal) or not isinstance(value.value, str):
        raise Wrong('expected an octal string such as "0660"')
    if not value.value:
        return None
    try:
        mode = int(value.value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise Wrong('expected an octal string such as "0660"')
    return mode
