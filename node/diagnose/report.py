"""What a check found, as a tree: the worst of the children is what the parent shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

INDENT: Final = "  "


class Status(IntEnum):
    """From harmless to fatal, so that `max` is the worst."""

    SKIPPED = 0
    OK = 1
    WARNING = 2
    FAILURE = 3


_SHOWN: Final = {
    Status.SKIPPED: "[ skipped ]",
    Status.OK: "[ success ]",
    Status.WARNING: "[ warning ]",
    Status.FAILURE: "[ failure ]",
}
_ENCODED: Final = {Status.SKIPPED: "skipped", Status.OK: "ok", Status.WARNING: "warn", Status.FAILURE: "fail"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. `advice` says what to do about it. Neither text holds a secret."""

    name: str
    own: Status = Status.OK
    message: str = ""
    advice: str = ""
    children: "tuple[Finding, ...]" = ()

    @property
    def status(self) -> Status:
        """The worst of its own and of what is below it."""
        return max((self.own, *(child.status for child in self.children)))

    def lines(self, depth: int = 0) -> Iterator[str]:
        """As a person reads it: one line per check, and its advice below it without a mark."""
        yield f"{INDENT * depth}{_SHOWN[self.status]} {self.name}" + (f": {self.message}" if self.message else "")
        if self.advice:
            yield f"{INDENT * (depth + 1)}{self.advice}"
        for child in self.children:
            yield from child.lines(depth + 1)

    def encoded(self) -> Mapping[str, object]:
        """As a program reads it."""
        members: dict[str, object] = {"name": self.name, "status": _ENCODED[self.status]}
        if self.message:
            members["message"] = self.message
        if self.advice:
            members["advice"] = self.advice
        if self.children:
            members["children"] = [child.encoded() for child in self.children]
        return members


def ok(name: str, message: str = "") -> Finding:
    """A check that found nothing wrong."""
    return Finding(name=name, message=message)


def warning(name: str, message: str, advice: str = "") -> Finding:
    """Something that works and should not stay so."""
    return Finding(name=name, own=Status.WARNING, message=message, advice=advice)


def failure(name: str, message: str, advice: str = "") -> Finding:
    """Something that keeps the node from serving."""
    return Finding(name=name, own=Status.FAILURE, message=message, advice=advice)


def skipped(name: str, message: str) -> Finding:
    """A check that does not apply here, or cannot be made now."""
    return Finding(name=name, own=Status.SKIPPED, message=message)


def group(name: str, children: Sequence[Finding]) -> Finding:
    """Checks under a common heading."""
    return Finding(name=name, own=Status.SKIPPED, children=tuple(children))
