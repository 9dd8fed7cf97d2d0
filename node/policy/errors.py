"""What policies can say no with. Only node/status.py knows which HTTP status each one becomes."""

from node.errors import NodeError


class PolicyError(NodeError):
    """A policy text that does not hold together. The message reaches whoever wrote the policy.

    `line` counts from 1; None means that the fault is in no single line.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class PolicyNameRefused(NodeError):
    """A policy name that may not be used. Says which rule it breaks, never repeats the name."""


class PasswordPolicyError(PolicyError):
    """A password policy whose text does not hold together, or whose rules no password can meet."""
