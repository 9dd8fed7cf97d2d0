"""Flags in the style of this command line: `-name=value`, `-name value`, `--name`, `-switch`, `-switch=false`.

Flags may stand before, between and after arguments; `--` ends them, and a lone `-` is an argument.
click was measured and left out: its option grammar takes neither `-force=false` nor one dash for all long names, its
errors are worded and numbered differently, and it costs 20 ms of every start.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.cli.durations import parse_duration, wire_duration
from node.cli.errors import UsageError

Value = str | int | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag of a command.

    `default` of None means that leaving the flag out differs from any value of it. A repeatable flag collects its
    values in order. `env` names the variable that stands in for a flag that is not given.
    """

    name: str
    help: str
    read: Callable[[str], Value]
    default: Value | None = None
    aliases: tuple[str, ...] = ()
    env: str = ""
    switch: bool = False
    repeats: bool = False
    shown_default: str = ""


def _text(value: str) -> str:
    return value


_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def read_bool(value: str) -> bool:
    """A boolean as Go writes it. Raises ValueError for anything else."""
    try:
        return _BOOLEANS[value]
    except KeyError:
        raise ValueError("expected true or false") from None


def _read_int(value: str) -> int:
    try:
        return int(value, 10)
    except ValueError:
        raise ValueError("expected a whole number") from None


def text(name: str, help_text: str, default: str | None = "", *, env: str = "", aliases: tuple[str, ...] = ()) -> Flag:
    """A flag whose value is taken as it is."""
    shown = f'"{default}"' if default else ""
    return Flag(name=name, help=help_text, read=_text, default=default, env=env, aliases=aliases, shown_default=shown)


def choice(name: str, help_text: str, allowed: Sequence[str], default: str, *, env: str = "") -> Flag:
    """A flag that takes one of a few words."""

    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(word for word in allowed if word)}")
        return value

    return Flag(name=name, help=help_text, read=read, default=default, env=env, shown_default=f'"{default}"')


def switch(
    name: str, help_text: str, default: bool | None = False, *, env: str = "", aliases: tuple[str, ...] = ()
) -> Flag:
    """A flag that is true when it stands alone."""
    shown = "" if default is None else str(default).lower()
    return Flag(
        name=name,
        help=help_text,
        read=read_bool,
        default=default,
        env=env,
        aliases=aliases,
        switch=True,
        shown_default=shown,
    )


def number(name: str, help_text: str, default: int | None = None, *, aliases: tuple[str, ...] = ()) -> Flag:
    """A flag that takes a whole number."""
    shown = "" if default is None else str(default)
    return Flag(name=name, help=help_text, read=_read_int, default=default, aliases=aliases, shown_default=shown)


def duration(
    name: str, help_text: str, default: int | None = None, *, env: str = "", aliases: tuple[str, ...] = ()
) -> Flag:
    """A flag that takes a duration; its value is in nanoseconds."""
    shown = "" if default is None else wire_duration(default)
    return Flag(
        name=name, help=help_text, read=parse_duration, default=default, env=env, aliases=aliases, shown_default=shown
    )


def items(name: str, help_text: str, *, env: str = "") -> Flag:
    """A flag that may be given again and again."""
    return Flag(name=name, help=help_text, read=_text, default=(), env=env, repeats=True)


@dataclass(slots=True)
class Values:
    """What was given, by flag. `given` tells a flag that was set from one that has its default."""

    known: Mapping[str, Flag]
    environ: Mapping[str, str]
    _set: dict[str, Value] = field(default_factory=dict)

    def set(self, flag: Flag, spelled: str, raw: str) -> None:
        """Take one value from the command line or the environment. Raises UsageError when it does not fit."""
        try:
            value = flag.read(raw)
        except ValueError as error:
            # The value itself stays out of the message: it may be a secret put behind the wrong flag.
            raise UsageError(f"invalid value for flag -{spelled}: {error}") from None
        if flag.repeats:
            assert isinstance(value, str)
            before = self._set.get(flag.name, ())
            assert isinstance(before, tuple)
            value = (*before, value)
        self._set[flag.name] = value

    def fill_from_environment(self) -> None:
        """Let variables stand in for flags that were not given. An empty variable counts as unset."""
        for flag in {flag.name: flag for flag in self.known.values()}.values():
            raw = self.environ.get(flag.env, "") if flag.env else ""
            if raw and flag.name not in self._set:
                try:
                    self.set(flag, flag.name, raw)
                except UsageError as error:
                    raise UsageError(f"{error} (from {flag.env})") from None

    def given(self, name: str) -> bool:
        """Whether the flag or its variable was set."""
        return name in self._set

    def _get(self, name: str) -> Value | None:
        return self._set.get(name, self.known[name].default)

    def text(self, name: str) -> str:
        """A text flag's value; empty when it has none."""
        value = self._get(name)
        return value if isinstance(value, str) else ""

    def switch(self, name: str) -> bool:
        """A switch's value; false when it has none."""
        return self._get(name) is True

    def number(self, name: str) -> int:
        """A number's or duration's value. Only for flags that have a default or were given."""
        value = self._get(name)
        assert isinstance(value, int)
        return value

    def items(self, name: str) -> tuple[str, ...]:
        """All values of a repeatable flag, in order."""
        value = self._get(name)
        return value if isinstance(value, tuple) else ()

    def pairs(self, name: str) -> dict[str, str]:
        """The K=V values of a repeatable flag. Raises UsageError for one without `=`."""
        result: dict[str, str] = {}
        for item in self.items(name):
            key, equals, value = item.partition("=")
            if not equals or not key:
                raise UsageError(f"invalid value for flag -{name}: expected KEY=VALUE")
            result[key] = value
        return result


def table_of(flags: Sequence[Flag]) -> dict[str, Flag]:
    """Every spelling of every flag."""
    return {name: flag for flag in flags for name in (flag.name, *flag.aliases)}


def parse(flags: Sequence[Flag], words: Sequence[str], environ: Mapping[str, str]) -> tuple[Values, list[str]]:
    """Split words into flag values and arguments. Raises UsageError with the texts scripts know."""
    values = Values(table_of(flags), environ)
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments.extend(rest)
        elif word.startswith("-") and word != "-":
            _take(values, word, rest)
        else:
            arguments.append(word)
    values.fill_from_environment()
    return values, arguments


def _take(values: Values, word: str, rest: Iterator[str]) -> None:
    spelled, equals, raw = word.removeprefix("-").removeprefix("-").partition("=")
    if not spelled or spelled.startswith("-"):
        raise UsageError(f"bad flag syntax: {word.partition('=')[0]}")
    flag = values.known.get(spelled)
    if flag is None:
        raise UsageError(f"flag provided but not defined: -{spelled}")
    if not equals:
        if flag.switch:
            raw = "true"
        else:
            following = next(rest, None)
            if following is None:
                raise UsageError(f"flag needs an argument: -{spelled}")
            raw = following
    values.set(flag, spelled, raw)
