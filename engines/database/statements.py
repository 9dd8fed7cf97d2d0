"""Statements of roles: how they are written in a request, and how values get into them safely.

A placeholder such as {{name}} stands in an identifier, in a string or bare, and what a value must look like there
differs. So the text is read as the database reads it, and each value is escaped for its place; where no escape is
possible (bare, in a dollar-quoted body, in a comment) only plain words are let in. No value can end the place it is
put into, whatever it holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from engines.common.errors import InvalidRequest

STATEMENT_CHARS_MAX: Final = 2**18  # of one role; far beyond any hand-written statement, and it is read on each use
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@+-]+")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}")
_HOLE: Final = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database reads strings, identifiers and comments.

    `identifier`: the quote around one, doubled inside. `strings`: the quotes around texts, doubled inside.
    `has_backslash`: a backslash escapes in every string; else only in those that begin with E. `has_dollar`: bodies
    between $tag$ and $tag$. `has_hash`: # begins a comment.
    """

    identifier: str
    strings: str
    has_backslash: bool
    has_dollar: bool
    has_hash: bool


POSTGRESQL: Final = Dialect('"', "'", has_backslash=False, has_dollar=True, has_hash=False)
MYSQL: Final = Dialect("`", "'\"", has_backslash=True, has_dollar=False, has_hash=True)


def given_statements(value: object) -> tuple[str, ...]:
    """The statements of a request: a list, a text, a JSON list, or one of the last two in base64.

    Raises InvalidRequest when it is none of these.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise InvalidRequest("statements must be a text or a list of texts")
    if sum(map(len, value)) > STATEMENT_CHARS_MAX:
        raise InvalidRequest(f"statements may not have more than {STATEMENT_CHARS_MAX} characters")
    return tuple(value)


def unwrapped(statements: Sequence[str]) -> tuple[str, ...]:
    """The statements behind JSON and base64; blank ones are none."""
    found: list[str] = []
    for given in statements:
        text = _from_base64(given.strip())
        listed = _from_json(text)
        found += [text] if listed is None else listed
    return tuple(text for text in found if text.strip(" \t\r\n;"))


def _from_base64(text: str) -> str:
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text
    return decoded if decoded.isprintable() or "\n" in decoded else text


def _from_json(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def rendered(statements: Sequence[str], values: Mapping[str, str], dialect: Dialect) -> tuple[str, ...]:
    """Single statements, split at each ";" that is one, with the values in their places.

    Raises:
        InvalidRequest: A value cannot be put safely where its placeholder stands; names the placeholder only.
    """
    found: list[str] = []
    for text in unwrapped(statements):
        parts = [""]
        for place, piece in _pieces(text, dialect):
            if place == ";":
                parts.append("")
                continue
            parts[-1] += _filled(piece, place, values)
        found += [part.strip() for part in parts if part.strip()]
    return tuple(found)


def placeholders(statements: Sequence[str]) -> frozenset[str]:
    """The names between {{ and }}, wherever they stand."""
    return frozenset(hole[1] for text in unwrapped(statements) for hole in _HOLE.finditer(text))


def quoted(value: str, quote: str, *, has_backslash: bool = False) -> str:
    """The value between quotes, as an identifier or a string. Raises InvalidRequest for a NUL."""
    return quote + _escaped(value, quote, has_backslash=has_backslash) + quote


def _escaped(value: str, quote: str, *, has_backslash: bool) -> str:
    if "\0" in value:
        raise InvalidRequest("a name or password may not hold a NUL character")
    if has_backslash:
        value = value.replace("\\", "\\\\")
    return value.replace(quote, quote + quote)


def _filled(piece: str, place: str, values: Mapping[str, str]) -> str:
    def value_of(hole: re.Match[str]) -> str:
        value = values.get(hole[1])
        if value is None:
            return hole[0]
        if place:
            return _escaped(value, place[0], has_backslash=place.endswith("\\"))
        if not (_PLAIN.fullmatch(value) and "--" not in value) and not _MOMENT.fullmatch(value):
            raise InvalidRequest(f"the value of {{{{{hole[1]}}}}} cannot stand safely outside of quotes")
        return value

    return _HOLE.sub(value_of, piece)


def _pieces(text: str, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """The text in order, each piece with its place: "" (bare), a quote, a quote and a backslash, or ";"."""
    start = at = 0
    while at < len(text):
        one = text[at]
        if one == ";":
            yield "", text[start:at]
            yield ";", ""
            at = start = at + 1
            continue
        end, place = _region(text, at, dialect)
        if end == at:
            at += 1
            continue
        yield "", text[start:at]
        yield place, text[at:end]
        at = start = end
    yield "", text[start:]


def _region(text: str, at: int, dialect: Dialect) -> tuple[int, str]:
    """Where the quoted region or comment that begins here ends, and its place; `at` itself if none begins."""
    one = text[at]
    if one == dialect.identifier:
        return _quote_end(text, at, has_backslash=False), one
    if one in dialect.strings:
        is_e = not dialect.has_backslash and text[at - 1 : at] in ("e", "E") and not _is_word(text[at - 2 : at - 1])
        has_backslash = dialect.has_backslash or is_e
        return _quote_end(text, at, has_backslash=has_backslash), one + ("\\" if has_backslash else "")
    if text.startswith("--", at) or (one == "#" and dialect.has_hash):
        end = text.find("\n", at)
        return (len(text) if end < 0 else end), ""
    if text.startswith("/*", at):
        return _comment_end(text, at, is_nested=dialect.has_dollar), ""
    if one == "$" and dialect.has_dollar and not _is_word(text[at - 1 : at]):
        tag = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$").match(text, at)
        if tag is not None:
            end = text.find(tag[0], tag.end())
            return (len(text) if end < 0 else end + len(tag[0])), ""
    return at, ""


def _is_word(one: str) -> bool:
    return one.isalnum() or one == "_"


def _quote_end(text: str, at: int, *, has_backslash: bool) -> int:
    """A doubled quote ends one region and begins the next, which comes to the same."""
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if has_backslash and text[at] == "\\" else 1
    return min(at + 1, len(text))


def _comment_end(text: str, at: int, *, is_nested: bool) -> int:
    depth = 0
    while at < len(text):
        if text.startswith("/*", at) and (is_nested or not depth):
            depth, at = depth + 1, at + 2
        elif text.startswith("*/", at):
            depth, at = depth - 1, at + 2
            if not depth:
                return at
        else:
            at += 1
    return at
