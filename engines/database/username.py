"""User names from templates: the part of Go's text/template that the documentation of user name templates shows.

Source: the Vault documentation, "Username Templating". A template is text with actions in {{ }}; an action is a
pipeline of calls, whose arguments are fields (.DisplayName, .RoleName), texts, numbers and calls in parentheses.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from engines.common.context import Sources
from engines.common.errors import InvalidRequest

_CHARS_MAX: Final = 4096  # of a template, and of what it makes
_DEPTH_MAX: Final = 16
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>-?\d+)"""
    r"""|(?P<field>\.[A-Za-z]\w*)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[()|]))"""
)
_ACTION: Final = re.compile(r"\{\{(?P<left>- )?(?P<code>.*?)(?P<right> -)?\}\}", re.DOTALL)

Value = str | int


@dataclass(frozen=True, slots=True)
class _Call:
    """A function with its arguments; a bare value has no name."""

    name: str
    arguments: tuple[_Pipeline | Value | _Field, ...]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


@dataclass(frozen=True, slots=True)
class _Pipeline:
    calls: tuple[_Call, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    parts: tuple[str | _Pipeline, ...]

    def render(self, fields: Mapping[str, str], sources: Sources) -> str:
        """The user name. Raises InvalidRequest when a function refuses its arguments or nothing comes out."""
        run = _Run(fields, sources)
        made = "".join(part if isinstance(part, str) else str(run.pipeline(part)) for part in self.parts)
        if not made or len(made) > _CHARS_MAX:
            raise InvalidRequest("the username_template makes no usable name")
        return made


@lru_cache(maxsize=256)
def parse_template(text: str) -> Template:
    """Read a template. Raises InvalidRequest that says what is wrong with it."""
    if len(text) > _CHARS_MAX:
        raise InvalidRequest(f"a username_template may not have more than {_CHARS_MAX} characters")
    parts: list[str | _Pipeline] = []
    at = 0
    for action in _ACTION.finditer(text):
        before = text[at : action.start()]
        parts.append(before.rstrip() if action["left"] else before)
        parts.append(_Parser(action["code"]).whole())
        at = action.end()
        if action["right"]:
            at += len(text[at:]) - len(text[at:].lstrip())
    parts.append(text[at:])
    if any(isinstance(part, str) and ("{{" in part or "}}" in part) for part in parts):
        raise _refused("an action is not closed")
    return Template(tuple(part for part in parts if part != ""))


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"unable to parse username_template: {reason}")


class _Parser:
    def __init__(self, code: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        self._depth = 0
        at, code = 0, code.rstrip()
        while at < len(code):
            token = _TOKEN.match(code, at)
            if token is None:
                raise _refused("an action holds something that is no function, field, text or number")
            self._tokens.append((token.lastgroup or "", token[token.lastgroup or 0]))
            at = token.end()

    def whole(self) -> _Pipeline:
        pipeline = self._pipeline()
        if self._at != len(self._tokens):
            raise _refused("unexpected parenthesis")
        return pipeline

    def _pipeline(self) -> _Pipeline:
        calls = [self._call(is_first=True)]
        while self._next("|"):
            calls.append(self._call(is_first=False))
        return _Pipeline(tuple(calls))

    def _next(self, mark: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == ("mark", mark):
            self._at += 1
            return True
        return False

    def _call(self, *, is_first: bool) -> _Call:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "name":
            name = self._tokens[self._at][1]
            if name not in _FUNCTIONS:
                raise _refused(f'function "{name}" not defined')
            self._at += 1
            arguments = []
            while (argument := self._argument()) is not None:
                arguments.append(argument)
            return _Call(name, tuple(arguments))
        value = self._argument()
        if value is None or not is_first:
            raise _refused("a function is missing")
        return _Call("", (value,))

    def _argument(self) -> _Pipeline | Value | _Field | None:
        if self._at == len(self._tokens):
            return None
        kind, text = self._tokens[self._at]
        if kind == "mark":
            return self._group() if text == "(" else None
        self._at += 1
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "raw":
            return text[1:-1]
        if kind == "number":
            return int(text[:10])
        if kind == "field":
            return _Field(text[1:])
        if text not in _FUNCTIONS:
            raise _refused(f'function "{text}" not defined')
        return _Pipeline((_Call(text, ()),))

    def _group(self) -> _Pipeline:
        self._at += 1
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise _refused("too many parentheses")
        inner = self._pipeline()
        if not self._next(")"):
            raise _refused("a parenthesis is not closed")
        self._depth -= 1
        return inner


class _Run:
    """One rendering. What a function takes last may come from the pipe."""

    def __init__(self, fields: Mapping[str, str], sources: Sources) -> None:
        self._fields = fields
        self._sources = sources

    def pipeline(self, pipeline: _Pipeline) -> Value:
        piped: tuple[Value, ...] = ()
        for call in pipeline.calls:
            values = (*(self._value(argument) for argument in call.arguments), *piped)
            piped = (values[0] if not call.name else self._call(call.name, values),)
        return piped[0]

    def _value(self, argument: _Pipeline | Value | _Field) -> Value:
        if isinstance(argument, _Pipeline):
            return self.pipeline(argument)
        if isinstance(argument, _Field):
            if argument.name not in self._fields:
                raise InvalidRequest(f'the username_template names an unknown field ".{argument.name}"')
            return self._fields[argument.name]
        return argument

    def _call(self, name: str, values: Sequence[Value]) -> Value:
        try:
            return _FUNCTIONS[name](self._sources, *values)
        except (TypeError, ValueError, IndexError):
            raise InvalidRequest(f"the username_template calls {name} with arguments that it does not take") from None


def _random(sources: Sources, length: Value) -> str:
    size = _size(length)
    found = ""
    while len(found) < size:
        # 248 is the greatest multiple of 62 below 256: bytes above it would favour the first letters.
        found += "".join(_ALPHABET[byte % 62] for byte in sources.random(size - len(found)) if byte < 248)
    return found


def _size(length: Value) -> int:
    if not isinstance(length, int) or not 0 < length <= _CHARS_MAX:
        raise ValueError
    return length


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _truncate_sha256(_: Sources, length: Value, text: Value) -> str:
    size, whole = _size(length), _text(text)
    if size <= 8:
        raise ValueError
    if len(whole) <= size:
        return whole
    return whole[: size - 8] + hashlib.sha256(whole[size - 8 :].encode()).hexdigest()[:8]


_GO_TIME: Final[Mapping[str, str]] = {
    "2006": "%Y",
    "January": "%B",
    "Monday": "%A",
    "-07:00": "+00:00",
    "Z07:00": "Z",
    "-0700": "%z",
    "Jan": "%b",
    "Mon": "%a",
    "MST": "UTC",
    "01": "%m",
    "02": "%d",
    "15": "%H",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "06": "%y",
    "PM": "%p",
}
_GO_TIME_PART: Final = re.compile("|".join(map(re.escape, _GO_TIME)))


def _timestamp(sources: Sources, layout: Value) -> str:
    form = _GO_TIME_PART.sub(lambda part: _GO_TIME[part[0]], _text(layout).replace("%", "%%"))
    return datetime.fromtimestamp(sources.now_ms() // 1000, UTC).strftime(form)


def _printf(_: Sources, form: Value, *values: Value) -> str:
    left = list(values)
    made = re.sub(r"%([sdvq%])", lambda verb: "%" if verb[1] == "%" else str(left.pop(0)), _text(form))
    if left:
        raise ValueError
    return made


def _uuid(sources: Sources) -> str:
    raw = bytearray(sources.random(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_FUNCTIONS: Final[Mapping[str, Callable[..., Value]]] = {
    "random": _random,
    "truncate": lambda _, length, text: _text(text)[: _size(length)],
    "truncate_sha256": _truncate_sha256,
    "uppercase": lambda _, text: _text(text).upper(),
    "lowercase": lambda _, text: _text(text).lower(),
    "replace": lambda _, find, to, text: _text(text).replace(_text(find), _text(to)),
    "sha256": lambda _, text: hashlib.sha256(_text(text).encode()).hexdigest(),
    "base64": lambda _, text: base64.b64encode(_text(text).encode()).decode(),
    "timestamp": _timestamp,
    "unix_time": lambda sources: str(sources.now_ms() // 1000),
    "unix_time_millis": lambda sources: str(sources.now_ms()),
    "uuid": _uuid,
    "printf": _printf,
}
