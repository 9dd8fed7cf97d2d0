"""What an engine can say no with. Only node/status.py knows which HTTP status each one becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.common.plan import Answer


class EngineError(Exception):
    """Anything an engine refuses. The message reaches the client, so it holds no secret value."""


class InvalidRequest(EngineError):
    """The request can never succeed as it is: a field is missing, malformed or contradicts the stored state."""


class NotFound(EngineError):
    """Nothing is there. `answer` is what the documentation shows beside a 404, such as a deleted version's metadata."""

    def __init__(self, message: str = "", answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class PermissionDenied(EngineError):
    """The caller may not do this, or may not know whether it could."""

    def __init__(self, message: str = "permission denied") -> None:
        super().__init__(message)


class Unsupported(EngineError):
    """The path exists, but not with this operation."""

    def __init__(self, message: str = "unsupported operation") -> None:
        super().__init__(message)


class UnsupportedPath(EngineError):
    """No route of the engine matches the path."""

    def __init__(self, message: str = "unsupported path") -> None:
        super().__init__(message)


class OutsideFailed(EngineError):
    """Another system did not do what the engine asked of it. The message is ours, or that system's without secrets."""


class LoginRefused(InvalidRequest):
    """Credentials that are wrong. `alias_name` is who they were for, which is what failures are counted by.

    An engine raises it for an unknown name as for a wrong secret: same text, same alias, same work.
    """

    def __init__(self, message: str, alias_name: str) -> None:
        super().__init__(message)
        self.alias_name = alias_name
