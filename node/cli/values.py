"""The K=V arguments of write commands: `key=value`, `key=@file`, `key=-`, `@file.json`, `-`, and `\\@` for @ itself."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from node.cli.errors import UsageError

Body = dict[str, object]
ReadStdin = Callable[[], bytes]


def read_file(path: str) -> bytes:
    """A whole local file. Raises UsageError that names the file."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def as_text(content: bytes, source: str) -> str:
    """File content as the string JSON needs, byte for byte. Raises UsageError when it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{source} is not UTF-8 text; encode it first, for example with base64") from None


def text_or_file(value: str) -> str:
    """A flag's value, or the content of the file it names with @."""
    if value.startswith("@"):
        return as_text(read_file(value[1:]), value[1:])
    return value.removeprefix("\\") if value.startswith("\\@") else value


def parse_data(arguments: Sequence[str], read_stdin: ReadStdin) -> Body:
    """The request body that arguments describe; a key given twice becomes a list.

    Raises:
        UsageError: An argument is no K=V, a file or JSON does not read. Never repeats a value.
    """
    source = _Stdin(read_stdin)
    body: Body = {}
    for position, argument in enumerate(arguments, start=1):
        if argument == "-":
            body.update(_json_object(source.read(), "standard input"))
        elif argument.startswith("@") and "=" not in argument:
            body.update(_json_object(read_file(argument[1:]), argument[1:]))
        else:
            key, equals, value = argument.partition("=")
            if not equals or not key:
                raise UsageError(f"Failed to parse K=V data: argument {position} is not KEY=VALUE")
            _add(body, key, _value(value, source))
    return body


def parse_strings(arguments: Sequence[str], read_stdin: ReadStdin) -> dict[str, str]:
    """K=V arguments where every value is one string, such as options."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in parse_data(arguments, read_stdin).items()
    }


class _Stdin:
    """Standard input can be read only once, so a second use of it is an error instead of an empty value."""

    def __init__(self, read: ReadStdin) -> None:
        self._read = read
        self._used = False

    def read(self) -> bytes:
        if self._used:
            raise UsageError("Failed to parse K=V data: standard input can be used for one value only")
        self._used = True
        return self._read()


def _value(value: str, source: _Stdin) -> str:
    if value == "-":
        return as_text(source.read(), "standard input")
    return text_or_file(value)


def _add(body: Body, key: str, value: str) -> None:
    before = body.get(key)
    if before is None:
        body[key] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        body[key] = [before, value]


def _json_object(content: bytes, source: str) -> Body:
    try:
        value = json.loads(content)
    except ValueError:
        raise UsageError(f"Failed to parse K=V data: {source} is not valid JSON") from None
    if not isinstance(value, dict):
        raise UsageError(f"Failed to parse K=V data: {source} does not hold a JSON object")
    return value


def sanitize_path(path: str) -> str:
    """A path without spaces around it and slashes at either end."""
    return path.strip().strip("/")


def with_slash(path: str) -> str:
    """A path that ends in exactly one slash."""
    return sanitize_path(path) + "/"
