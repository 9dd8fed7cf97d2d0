"""Request types: frozen dataclasses whose fields say where a value comes from, its kind, and what it means.

From these one declaration come decoding, `?help=1`, OpenAPI and documentation. A decoder is compiled once per request
type; nothing is inspected per request. Values are taken as leniently as the API does ("5" is 5, "true" is true,
"a,b" is a list), and everything else is InvalidRequest naming the field, never the value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from engines.common.duration import parse_duration_s
from engines.common.errors import InvalidRequest


class Kind(StrEnum):
    """What a value may be; the value is the name in OpenAPI and help texts."""

    STRING = "string"
    INT = "integer"
    BOOL = "boolean"
    DURATION = "duration"
    STRINGS = "list of strings"
    STRING_MAP = "map of strings"
    MAP = "object"
    ANY = "any"


class Source(StrEnum):
    """Where a value comes from. QUERY and BODY share one namespace: a GET's query is its body."""

    PATH = "path"
    BODY = "body"
    WHOLE_BODY = "whole body"


@dataclass(frozen=True, slots=True)
class Parameter:
    """The declaration of one field, kept in the dataclass field's metadata under `PARAMETER`."""

    kind: Kind
    description: str
    source: Source
    required: bool = False
    secret: bool = False
    name: str = ""


PARAMETER: Final = "parameter"


def path_param(description: str) -> Any:
    """A value captured from the path."""
    return dataclasses.field(metadata={PARAMETER: Parameter(Kind.STRING, description, Source.PATH)}, default="")


def body_param(
    kind: Kind,
    description: str,
    *,
    default: object = None,
    required: bool = False,
    secret: bool = False,
    name: str = "",
) -> Any:
    """A value from the JSON body or the query. `secret` keeps it out of repr.

    `name` is what the API calls it where Python cannot, such as "from".
    """
    parameter = Parameter(kind, description, Source.BODY, required, secret, name)
    return dataclasses.field(metadata={PARAMETER: parameter}, default=default, repr=not secret)


def whole_body(description: str) -> Any:
    """All members of the JSON body, whatever their names."""
    parameter = Parameter(Kind.MAP, description, Source.WHOLE_BODY, secret=True)
    return dataclasses.field(metadata={PARAMETER: parameter}, default_factory=dict, repr=False)


def parameters_of(request_type: type[Any]) -> dict[str, tuple[Parameter, object]]:
    """Each field's declaration and default, by the API's name."""
    found: dict[str, tuple[Parameter, object]] = {}
    for f in dataclasses.fields(request_type):
        parameter: Parameter = f.metadata[PARAMETER]
        found[parameter.name or f.name] = parameter, None if f.default is dataclasses.MISSING else f.default
    return found


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ValueError("expected a string")


_INT_BOUND: Final = 1 << 63  # the API's numbers have 64 bits, and so have those of every record


def _int(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, str):
        value = int(value.strip() or "0", 10)
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT_BOUND <= value < _INT_BOUND:
        raise ValueError("expected a number")
    return value


_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False", ""})


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value) if isinstance(value, int | str) else "?"
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("expected true or false")


def _duration(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a duration such as 30s or 1h")
    return parse_duration_s(value)


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list | tuple):
        return tuple(_string(item) for item in value)
    raise ValueError("expected a list of strings")


def _map(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return value
    raise ValueError("expected an object")


def _string_map(value: object) -> Mapping[str, str]:
    if isinstance(value, Mapping):
        return {name: _string(item) for name, item in value.items()}
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        pairs = [_string(item).partition("=") for item in value]
        if all(equals for _, equals, _ in pairs):
            return {name.strip(): item for name, _, item in pairs}
    raise ValueError("expected an object of strings")


_CONVERT: Final[Mapping[Kind, Callable[[Any], object]]] = {
    Kind.STRING: _string,
    Kind.INT: _int,
    Kind.BOOL: _bool,
    Kind.DURATION: _duration,
    Kind.STRINGS: _strings,
    Kind.STRING_MAP: _string_map,
    Kind.MAP: _map,
    Kind.ANY: lambda value: value,
}


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns path captures and a body into one request type. Build it once with `of`."""

    request_type: type[Any]
    body_fields: tuple[tuple[str, str, Callable[[Any], object], bool, str], ...]
    whole_body_field: str

    @staticmethod
    def of(request_type: type[Any]) -> Decoder:
        """Compile the decoder of a request dataclass declared with the functions above."""
        declared = {f.name: f.metadata[PARAMETER] for f in dataclasses.fields(request_type)}
        body = tuple(
            (field, p.name or field, _CONVERT[p.kind], p.required, p.kind.value)
            for field, p in declared.items()
            if p.source is Source.BODY
        )
        whole = next((field for field, p in declared.items() if p.source is Source.WHOLE_BODY), "")
        return Decoder(request_type, body, whole)

    def decode(self, captures: Mapping[str, str], body: Mapping[str, object]) -> Any:
        """The request object. Raises InvalidRequest naming the field; the message never holds the value."""
        values: dict[str, object] = dict(captures)
        if self.whole_body_field:
            values[self.whole_body_field] = body
        if body or self.body_fields:
            for field, name, convert, required, kind in self.body_fields:
                # A JSON null is the same as leaving the field out.
                given = body.get(name)
                if given is None:
                    if required:
                        raise InvalidRequest(f"missing {name}")
                    continue
                try:
                    values[field] = convert(given)
                except (ValueError, TypeError, OverflowError):
                    raise InvalidRequest(f"field validation failed: {name} must be a {kind}") from None
        return self.request_type(**values)
