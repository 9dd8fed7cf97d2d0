"""What a command can end with other than success. Only `main` turns these into text on stderr and an exit code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

EXIT_LOCAL = 1
EXIT_REMOTE = 2
EXIT_UNKNOWN_COMMAND = 127


class CliError(Exception):
    """A command failed. The message is for the person at the terminal and holds no token, key or body."""

    def __init__(self, message: str, exit_code: int = EXIT_LOCAL) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CliError):
    """A bad flag, argument or local value; nothing was sent."""


class RemoteError(CliError):
    """The server could not be reached, could not be trusted, or gave an answer that makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_REMOTE)
        self.context = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.context}: {text}" if self.context else text


class ApiError(RemoteError):
    """The server said no.

    Args:
        method: HTTP method of the request.
        url: Where it went, without user information and query.
        status: HTTP status code.
        errors: The server's own messages; empty when its answer was not the documented error body, which is then
            left out, because what answered may be no node at all and may repeat the request.
    """

    def __init__(self, method: str, url: str, status: int, errors: Sequence[str]) -> None:
        lines = "\n".join(f"* {message}" for message in errors) or "* the answer holds no error message"
        super().__init__(f"Error making API request.\n\nURL: {method} {url}\nCode: {status}. Errors:\n\n{lines}")
        self.status = status
        self.errors = tuple(errors)


class DryRun(Exception):
    """The request was shown instead of sent, as asked. The message is what to print; the exit code is 0."""


@contextmanager
def doing(context: str) -> Iterator[None]:
    """Name what was attempted in front of whatever remote error comes out of the block."""
    try:
        yield
    except RemoteError as error:
        error.context = error.context or context
        raise
