"""The connection_url of a configuration: its placeholders, and what of it may be shown."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from engines.common.errors import InvalidRequest
from engines.database.interface import Settings

_HOLE: Final = re.compile(r"\{\{\s*(username|password)\s*\}\}")
_URL_PASSWORD: Final = re.compile(r"(?P<before>://[^/?#]*?:|^[^:@/?#]+:)(?P<password>(?!\{\{)[^/?#]*)(?P<after>@)")
_FIELD_PASSWORD: Final = re.compile(
    r"(?P<before>\bpassword\s*=\s*)(?P<password>'(?:[^'\\]|\\.)*'|(?!\{\{)[^\s&]+)", re.I
)
_SHOWN: Final = "*****"


def has_username(url: str) -> bool:
    """Whether the URL takes the configured user name."""
    return any(hole[1] == "username" for hole in _HOLE.finditer(url))


def filled(settings: Settings) -> str:
    """The URL with user name and password in their places, escaped unless `disable_escaping`."""
    url = text_of(settings, "connection_url")
    is_raw = bool(settings.get("disable_escaping"))

    def value_of(hole: re.Match[str]) -> str:
        value = text_of(settings, hole[1])
        return value if is_raw else quote(value, safe="")

    return _HOLE.sub(value_of, url)


def shown(url: str) -> str:
    """The URL without a password that was written into it."""
    hidden = _URL_PASSWORD.sub(rf"\g<before>{_SHOWN}\g<after>", url, count=1)
    return _FIELD_PASSWORD.sub(lambda m: m[0] if "{{" in m["password"] else m["before"] + _SHOWN, hidden)


def text_of(settings: Settings, name: str) -> str:
    """A setting that is a text; "" when it is not given."""
    value = settings.get(name, "")
    if isinstance(value, bool | int):
        return str(value)
    return value


def int_of(settings: Settings, name: str) -> int:
    """A setting that is a number; 0 when it is not given. Raises InvalidRequest."""
    value = settings.get(name, 0)
    try:
        return int(value or 0)
    except ValueError:
        raise InvalidRequest(f"field validation failed: {name} must be a number") from None
