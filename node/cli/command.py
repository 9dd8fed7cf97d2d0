"""What a command is: a name, what it takes, its flags, and a function that gets all of it as a Call."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TextIO

from node.cli import flags as flag
from node.cli.errors import UsageError
from node.cli.flags import Flag, Values

if TYPE_CHECKING:
    from node.cli.client import Client
    from node.cli.output import Printer
    from node.cli.token_helper import TokenHelper

FORMATS: Final = ("table", "json", "yaml")
FORMAT_FLAG: Final = flag.text("format", "Print the result as table, json or yaml.", "table", env="VAULT_FORMAT")
FIELD_FLAG: Final = flag.text("field", "Print only this field of the result.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command may learn or touch of the process it runs in; tests hand in their own."""

    environ: Mapping[str, str] = field(repr=False)
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    `takes` is both its usage line and the rule for its arguments: `NAME` is required, `[NAME]` may be left out, and
    `...` repeats. `exit_remote` is the exit code of a failed request.
    """

    name: str
    summary: str
    run: Callable[["Call"], int | None]
    takes: str = ""
    detail: str = ""
    flags: tuple[Flag, ...] = ()
    local: bool = False
    formats: bool = True
    field: bool = False
    exit_remote: int = 2

    @property
    def groups(self) -> tuple[tuple[str, tuple[Flag, ...]], ...]:
        """Its flags under the headings that help prints."""
        output = ((FORMAT_FLAG,) if self.formats else ()) + ((FIELD_FLAG,) if self.field else ())
        http: tuple[Flag, ...] = ()
        if not self.local:
            from node.cli.settings import HTTP_FLAGS

            http = HTTP_FLAGS
        named = (("HTTP Options", http), ("Output Options", output), ("Command Options", self.flags))
        return tuple((heading, group) for heading, group in named if group)

    @property
    def all_flags(self) -> tuple[Flag, ...]:
        """Its own flags and those it shares with others."""
        return tuple(one for _, group in self.groups for one in group)

    def check_count(self, arguments: Sequence[str]) -> None:
        """Raises UsageError when there are too few or too many arguments."""
        words = self.takes.split()
        least = sum(not word.startswith("[") for word in words)
        if len(arguments) < least:
            raise UsageError(f"Not enough arguments (expected {least}, got {len(arguments)})")
        if len(arguments) > len(words) and "..." not in self.takes:
            raise UsageError(f"Too many arguments (expected {len(words)}, got {len(arguments)})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Commands under a common first word."""

    name: str
    summary: str
    commands: tuple["Command | Group", ...]


@dataclass(kw_only=True)
class Call:
    """One run of a command."""

    flags: Values
    args: list[str] = field(repr=False)
    around: Surroundings

    @property
    def environ(self) -> Mapping[str, str]:
        """Environment variables."""
        return self.around.environ

    @cached_property
    def printer(self) -> "Printer":
        """Where results go."""
        from node.cli.output import Printer

        return Printer(self.around.stdout, self.around.stderr, self.output_format)

    @property
    def output_format(self) -> str:
        """table, json or yaml."""
        return self.flags.text("format").lower() if "format" in self.flags.known else "table"

    def check_format(self) -> None:
        """Raises UsageError for a format that is none, before anything is sent."""
        if self.output_format not in FORMATS:
            raise UsageError(f"Invalid output format: {self.output_format}")

    @cached_property
    def helper(self) -> "TokenHelper":
        """Where tokens are kept between commands."""
        from node.cli.token_helper import token_helper

        return token_helper(self.environ)

    def current_token(self) -> str:
        """The token to use: the variable beats the helper; empty when there is none."""
        return self.environ.get("VAULT_TOKEN", "") or self.helper.get()

    @cached_property
    def client(self) -> "Client":
        """The HTTP client that flags and environment describe."""
        return self.another_client()

    def another_client(self) -> "Client":
        """A client of the same kind, for another thread."""
        from node.cli.client import Client
        from node.cli.settings import client_settings

        settings = client_settings(self.flags, self.environ)
        dry = None
        if self.flags.switch("output-curl-string") or self.flags.switch("output-policy"):
            from node.cli.dry import show_as_curl, show_as_policy

            dry = show_as_policy if self.flags.switch("output-policy") else show_as_curl
        return Client(settings, self.current_token, self.around.sleep, dry)

    @property
    def field_name(self) -> str:
        """What -field asks for; empty when it does not."""
        return self.flags.text("field") if "field" in self.flags.known else ""

    def stdin_bytes(self) -> bytes:
        """All of standard input."""
        buffer = getattr(self.around.stdin, "buffer", None)
        content = buffer.read() if buffer is not None else self.around.stdin.read().encode()
        assert isinstance(content, bytes)
        return content

    def stdin_line(self) -> str:
        """Standard input as one value, without the newline at its end."""
        from node.cli.values import as_text

        return as_text(self.stdin_bytes(), "standard input").strip()

    def ask_hidden(self, prompt: str) -> str:
        """A value typed without echo. Raises UsageError where nobody can type."""
        if self.flags.switch("non-interactive") or not self.around.stdin.isatty():
            raise UsageError(
                f"{prompt}: standard input is not a terminal; give the value as an argument, or - for stdin"
            )
        import getpass

        try:
            return getpass.getpass(f"{prompt} (will be hidden): ", self.around.stderr).strip()
        except EOFError:
            raise UsageError(f"{prompt}: nothing was entered") from None


def process_surroundings() -> Surroundings:
    """This process's own environment and streams."""
    import os

    return Surroundings(environ=os.environ, stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr)
