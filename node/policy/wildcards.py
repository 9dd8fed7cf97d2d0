"""Patterns that hold `+`, arranged by segments so that a path meets only those it can match."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from node.policy.pattern import Pattern

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    """What can follow after some segments of a pattern."""

    children: "dict[str, _Node[T]]" = field(default_factory=dict)
    any_segment: "_Node[T] | None" = None
    ends: list[T] = field(default_factory=list)
    prefixes: list[tuple[str, T]] = field(default_factory=list)


class Wildcards(Generic[T]):
    """Finds the patterns that match a path. Immutable once built."""

    __slots__ = ("_root",)

    def __init__(self, entries: Iterable[tuple[Pattern, T]]) -> None:
        self._root: _Node[T] = _Node()
        for pattern, entry in entries:
            node = self._root
            for segment in pattern.segments[:-1] if pattern.prefix else pattern.segments:
                if segment == "+":
                    node.any_segment = node.any_segment or _Node()
                    node = node.any_segment
                else:
                    node = node.children.setdefault(segment, _Node())
            if pattern.prefix:
                node.prefixes.append((pattern.segments[-1], entry))
            else:
                node.ends.append(entry)

    def matches(self, path: str) -> Iterator[T]:
        """The entries of all patterns that match, in no particular order."""
        nodes = [self._root]
        if not (self._root.children or self._root.any_segment):
            return
        for segment in path.split("/"):
            following = []
            for node in nodes:
                for prefix, entry in node.prefixes:
                    if segment.startswith(prefix):
                        yield entry
                child = node.children.get(segment)
                if child is not None:
                    following.append(child)
                if node.any_segment is not None:
                    following.append(node.any_segment)
            if not following:
                return
            nodes = following
        for node in nodes:
            yield from node.ends
