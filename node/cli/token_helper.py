"""Where the token of this user lives between commands: ~/.vault-token, or a program named in ~/.vault."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from node.cli.errors import CliError

_SETTING: Final = re.compile(r'^\s*"?token_helper"?\s*[=:]\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)


class TokenHelper(Protocol):
    """Keeps one token. Every method raises CliError, and no message of it holds the token."""

    def get(self) -> str: ...
    def store(self, token: str) -> None: ...
    def erase(self) -> None: ...


def token_helper(environ: Mapping[str, str]) -> TokenHelper:
    """The helper this user has configured; VAULT_CONFIG_PATH names another file than ~/.vault."""
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("VAULT_CONFIG_PATH") or home / ".vault")
    program = _configured_program(config)
    return ProgramHelper(program) if program else FileHelper(home / ".vault-token")


def _configured_program(config: Path) -> str:
    try:
        setting = _SETTING.search(config.read_text())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError):
        raise CliError(f"cannot read {config}") from None
    if setting is None or not setting[1]:
        return ""
    program = re.sub(r"\\(.)", r"\1", setting[1])
    # A relative name would run whatever happens to lie in the current folder, with the token on its stdin.
    if not Path(program).is_absolute():
        raise CliError(f"token_helper in {config} must be an absolute path")
    return program


class FileHelper:
    """The token as plain text in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self) -> str:
        try:
            return self._path.read_text().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError):
            raise CliError(f"cannot read the token in {self._path}") from None

    def store(self, token: str) -> None:
        # Written beside and renamed: an older file with looser permissions never holds the new token, and a link
        # somebody put there is replaced instead of followed.
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token)
            temporary.replace(self._path)
        except OSError as error:
            raise CliError(f"cannot store the token in {self._path}: {error.strerror}") from None

    def erase(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise CliError(f"cannot erase the token in {self._path}: {error.strerror}") from None


class ProgramHelper:
    """An external program: its first argument is get, store or erase; the token goes through its pipes."""

    def __init__(self, program: str) -> None:
        self._program = program

    def get(self) -> str:
        return self._run("get", None).strip()

    def store(self, token: str) -> None:
        self._run("store", token)

    def erase(self) -> None:
        self._run("erase", None)

    def _run(self, verb: str, token: str | None) -> str:
        try:
            # The user named this program in their own file; stderr is theirs to see, as documented.
            done = subprocess.run([self._program, verb], input=token, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        except OSError as error:
            raise CliError(f"cannot run the token helper {self._program}: {error.strerror}") from None
        if done.returncode != 0:
            raise CliError(f"the token helper {self._program} failed to {verb} (exit code {done.returncode})")
        return done.stdout
