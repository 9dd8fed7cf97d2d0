"""One spelling per name: the canonical path that policy, audit, routing and storage all see.

Whatever is not canonical is refused, never repaired, because a repaired path is a second spelling of one name
(CVE-2026-3605, CVE-2026-63131 and most other path weaknesses of such servers begin there).
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from node.errors import BadRequest

PATH_CHARS_MAX: Final = 4096  # far beyond any real name; a bound on index keys and log lines

# C0 and C1 controls, delete, line and paragraph separators, bidirectional overrides, byte-order mark.
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\\\\]")
_ENCODED_SLASH: Final = re.compile("%(?:2f|5c)", re.IGNORECASE)
_BAD_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_BAD_SEGMENT: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_\-]+(?:[./][A-Za-z0-9_\-]+)*")


def canonical_path(raw: str) -> str:
    """The canonical form of the percent-encoded path after "/v1/", without a trailing slash.

    Raises:
        BadRequest: Empty or dot segments, "//", an encoded slash, control characters, invalid UTF-8, too long.
    """
    if len(raw) > PATH_CHARS_MAX:
        raise BadRequest("path is too long")
    if _PLAIN.fullmatch(raw):
        return raw
    path = raw[:-1] if raw.endswith("/") else raw
    if "%" in path:
        if _ENCODED_SLASH.search(path) or _BAD_PERCENT.search(path):
            raise BadRequest("path holds an encoded slash or a malformed escape")
        try:
            path = unquote_to_bytes(path).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("path is not valid UTF-8") from None
    if _FORBIDDEN.search(path):
        raise BadRequest("path holds a control character")
    if path and _BAD_SEGMENT.search(path):
        raise BadRequest("path holds an empty segment or a relative one")
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRequest("path is not valid UTF-8") from None
    return path
