"""The frame in which an engine declares its paths once.

Routing, policy's create-or-update question, `?help=1` and OpenAPI are all derived from the routes declared here.
A pattern is made of literal segments, `:name` (one segment) and `*name` (one or more segments; none, too, at the end).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from engines.common.context import Context
from engines.common.errors import Unsupported, UnsupportedPath
from engines.common.fields import Decoder
from engines.common.plan import Plan


class Operation(StrEnum):
    """What a request wants. CREATE and UPDATE are both a write; which it is depends on whether the target exists."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"


Handler = Callable[[Any, Context], Awaitable[Plan]]
Existence = Callable[[Any, Context], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One pattern with one operation (UPDATE stands for every write).

    `exists` answers whether the target is there, so that a write needs `create` or `update`; without it a write is an
    update. `sudo` paths need that capability as well; `unauthenticated` ones are served without a token.
    """

    pattern: str
    operation: Operation
    request: type[Any]
    handler: Handler
    summary: str
    description: str = ""
    exists: Existence | None = None
    sudo: bool = False
    unauthenticated: bool = False
    deprecated: bool = False
    tags: tuple[str, ...] = ()
    decoder: Decoder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", Decoder.of(self.request))


# Not frozen: one is made per request, and freezing costs as much as filling it does (docs/performance.md).
@dataclass(slots=True)
class Match:
    """A route and what its pattern captured."""

    route: Route
    captures: Mapping[str, str]

    def decode(self, body: Mapping[str, object]) -> Any:
        """The typed request. Raises InvalidRequest."""
        return self.route.decoder.decode(self.captures, body)


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    regex: re.Pattern[str]
    routes: Mapping[Operation, Route]
    # Of "literal/*rest", what nearly every request to a secrets engine matches: the literal with its slash, and "rest".
    before_rest: str = ""
    rest: str = ""

    @staticmethod
    def of(text: str, routes: Mapping[Operation, Route]) -> _Pattern:
        literal, _, rest = text.partition("/*")
        is_simple = bool(rest) and not any(sign in literal + rest for sign in (":", "*", "/"))
        return _Pattern(text, _compile(text), routes, f"{literal}/" if is_simple else "", rest if is_simple else "")

    def captures(self, path: str) -> Mapping[str, str] | None:
        """What the path holds at the pattern's names, "" where it ends before one; None if it does not match."""
        if self.before_rest and path.startswith(self.before_rest):
            return {self.rest: path[len(self.before_rest) :]}
        found = self.regex.fullmatch(path)
        return None if found is None else found.groupdict("")


def _compile(pattern: str) -> re.Pattern[str]:
    """A rest at the end may be empty, so that a LIST of the whole engine and of a folder are one route."""
    text = ""
    segments = pattern.split("/")
    for place, segment in enumerate(segments):
        slash = "/" if place else ""
        if segment.startswith("*"):
            is_last = place == len(segments) - 1
            rest = f"{slash}(?P<{segment[1:]}>{'.*' if is_last else '.+'})"
            # "metadata" and "metadata/a/b" both match "metadata/*path"; at the top "" and "a/b" match "*path".
            text += f"(?:{rest})?" if is_last and place else rest
        elif segment.startswith(":"):
            text += f"{slash}(?P<{segment[1:]}>[^/]+)"
        else:
            text += slash + re.escape(segment)
    return re.compile(text, re.DOTALL)


class RouteTable:
    """All routes of an engine, found by path. Literal patterns win over captures, longer ones over shorter."""

    def __init__(self, routes: Sequence[Route]) -> None:
        by_pattern: dict[str, dict[Operation, Route]] = {}
        for route in routes:
            operations = by_pattern.setdefault(route.pattern, {})
            if route.operation in operations:
                raise ValueError(f"{route.operation} {route.pattern} is declared twice")
            operations[route.operation] = route
        ordered = sorted(by_pattern, key=_specificity)
        self.patterns = tuple(_Pattern.of(p, by_pattern[p]) for p in ordered)
        self._by_first: dict[str, tuple[_Pattern, ...]] = {}
        firsts = {p.text.split("/", 1)[0] for p in self.patterns}
        for first in (f for f in firsts if not f.startswith((":", "*"))):
            self._by_first[first] = tuple(
                p for p in self.patterns if p.text.split("/", 1)[0] == first or p.text[:1] in (":", "*")
            )
        self._others = tuple(p for p in self.patterns if p.text[:1] in (":", "*"))
        self.has_unauthenticated = any(route.unauthenticated for route in routes)

    def match(self, operation: Operation, path: str) -> Match:
        """The route for a path below the mount (no leading slash, no trailing one).

        Raises:
            UnsupportedPath: No pattern matches.
            Unsupported: A pattern matches, but not with this operation.
        """
        if operation is Operation.CREATE:
            operation = Operation.UPDATE
        seen = False
        for pattern in self._by_first.get(path.partition("/")[0], self._others):
            captures = pattern.captures(path)
            if captures is None:
                continue
            route = pattern.routes.get(operation)
            if route is not None:
                return Match(route, captures)
            seen = True
        if seen:
            raise Unsupported
        raise UnsupportedPath

    def is_unauthenticated(self, operation: Operation, path: str) -> bool:
        """Whether the request is served without a token."""
        if not self.has_unauthenticated:
            return False
        try:
            return self.match(operation, path).route.unauthenticated
        except (Unsupported, UnsupportedPath):
            return False


def _specificity(pattern: str) -> tuple[tuple[int, str], ...]:
    """Literal, then one segment, then the pattern's end, then a rest: "a", "a/*x/tune" and "a/*x" in this order."""
    rank = {":": 1, "*": 3}
    return (*((rank.get(segment[:1], 0), segment) for segment in pattern.split("/")), (2, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One kind of secrets engine or auth method: what `registry.py` lists and a mount runs.

    `renew` and `revoke` act on a lease the engine granted, from its `internal` bytes; an auth method's `renew` answers
    with the TokenGrant of today for the token of an earlier login. `fold` gives the one spelling of a path below the
    mount where the engine takes several for the same name: policy sees it as well (CVE-2026-89322). `fold_alias` gives
    the spelling of an alias name that the method's logins use, for the aliases that an operator writes. `login_role`
    tells which role the body of a login names, "" for none: rate limits are asked before anything is verified.

    `reads_are_pure`: READ and LIST only read the mount's storage, so that nothing has happened when they are cut off.

    `tend` is what the active node calls when it takes over and every second from then on, never twice at once for a
    mount: it ends what was begun outside and not finished. `close` is called before a mount goes, after its leases were
    revoked; it raises when something outside could not be taken back.
    """

    type: str
    is_auth: bool
    description: str
    help: str
    table: RouteTable
    revoke: Callable[[bytes, Context], Awaitable[Plan]] | None = None
    renew: Callable[[bytes, Context], Awaitable[Plan]] | None = None
    fold: Callable[[str], str] | None = None
    login_role: Callable[[Mapping[str, object], Context], Awaitable[str]] | None = None
    fold_alias: Callable[[str], str] | None = None
    tend: Callable[[Context], Awaitable[None]] | None = None
    close: Callable[[Context], Awaitable[None]] | None = None
    reads_are_pure: bool = False
