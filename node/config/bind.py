"""From the tree of a configuration text to frozen dataclasses: each field says its key, reader and variable once.

A wrong value is a ConfigError with file and line, an unknown key a warning with file and line. Neither holds a value.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, cast

from engines.common.hcl import Block, HclError, Item, Literal, Position, blocks_of
from node.config.read import Read, Wrong
from node.errors import ConfigError

T = TypeVar("T")
S = TypeVar("S", bound="Stanza")


@dataclass(frozen=True, slots=True)
class Found:
    """An item and the file that holds it."""

    file: str
    item: Item

    def error(self, reason: str) -> ConfigError:
        """The item's value is wrong."""
        return error_at(self.file, self.item.value.position, f"{self.item.name}: {reason}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block begins; for one that no file holds, `file` says what does and the line is 0."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Scope:
    """What binding may look at, and where its warnings go."""

    env: Mapping[str, str] = field(repr=False)
    warnings: list[str]

    def warn(self, found: Found, text: str) -> None:
        """Note something that is allowed but looks like a mistake."""
        self.warnings.append(f"{found.file}:{found.item.position.line}: {found.item.name}: {text}")


class Stanza:
    """A dataclass whose fields were made by `setting` or `nested`."""

    __slots__ = ()
    IGNORED: ClassVar[frozenset[str]] = frozenset()  # keys of the documented server that have no meaning here

    def faults(self) -> Iterable[tuple[str, str]]:
        """What is wrong with the values together: the key to point at, and the reason."""
        return ()


@dataclass(frozen=True, slots=True)
class Setting:
    """How a field is read: kept in the field's metadata, where docs/configuration.md is compared with it."""

    key: str
    env: tuple[str, ...]
    read: Read[Any]
    read_env: Read[Any]


@dataclass(frozen=True, slots=True)
class Nested:
    """A field that is a block, or several."""

    key: str
    stanza: "type[Stanza]"
    many: bool


def setting(
    default: T,
    read: Read[T],
    *,
    key: str = "",
    env: str | tuple[str, ...] = (),
    read_env: Read[T] | None = None,
    secret: bool = False,
) -> T:
    """A field for one key (its own name unless `key` says another); a variable of `env` beats the file."""
    names = (env,) if isinstance(env, str) else env
    how = {"setting": Setting(key, names, read, read_env or read)}
    return field(default=default, repr=not secret, metadata=how)


def nested(stanza: type[S], *, key: str = "") -> S:
    """A field for one block without a label; when it is repeated, the settings of the later ones win."""
    return field(default_factory=stanza, metadata={"setting": Nested(key, stanza, many=False)})


def nested_many(stanza: type[S], *, key: str = "") -> tuple[S, ...]:
    """A field for a block that may be repeated."""
    return cast(tuple[S, ...], field(default=(), metadata={"setting": Nested(key, stanza, many=True)}))


def bind(stanza: type[S], items: Sequence[Found], place: Place, scope: Scope, **given: object) -> S:
    """The dataclass of these items; fields without a setting come from `given`. Raises ConfigError."""
    by_name: dict[str, list[Found]] = {}
    for found in items:
        by_name.setdefault(found.item.name, []).append(found)
    values = dict(given)
    for each in fields(cast(Any, stanza)):
        how = each.metadata.get("setting")
        if how is None:
            continue
        here = by_name.pop(how.key or each.name, [])
        value = _nested_value(how, here, scope) if isinstance(how, Nested) else _value(how, here, scope)
        if value is not MISSING:
            values[each.name] = value
    for name, unknown in by_name.items():
        if name not in stanza.IGNORED:
            for found in unknown:
                scope.warn(found, "unknown setting, ignored")
    result = stanza(**values)
    for key, reason in result.faults():
        raise _fault(items, place, key, reason)
    return result


def _value(how: Setting, here: Sequence[Found], scope: Scope) -> object:
    """What the environment says, else what the last of these items says, else MISSING."""
    for name in how.env:
        spelled, text = env_of(scope.env, name)
        if text:
            try:
                return how.read_env(Literal(text, Position(1, 1)))
            except Wrong as wrong:
                raise ConfigError(f"environment variable {spelled}: {wrong.reason}") from None
    if not here:
        return MISSING
    if len(here) > 1 and here[-1].file == here[-2].file:
        scope.warn(here[-1], "set more than once, the last one counts")
    found = here[-1]
    if len(found.item.keys) > 1:
        raise found.error("takes a value, not a block")
    try:
        return how.read(found.item.value)
    except Wrong as wrong:
        raise found.error(wrong.reason) from None


def _nested_value(how: Nested, here: Sequence[Found], scope: Scope) -> object:
    found = [(each.file, block) for each in here for block in blocks(each, 0)]
    if how.many:
        return tuple(bind(how.stanza, inner(*each), place_of(*each), scope) for each in found)
    items = [item for each in found for item in inner(*each)]
    # Bound even when the block is absent, because the environment may set what is in it.
    place = place_of(*found[-1]) if found else Place(how.key, 0)
    return bind(how.stanza, items, place, scope)


def blocks(found: Found, labels: int) -> list[Block]:
    """The blocks of one item, each with this many labels. Raises ConfigError."""
    try:
        return list(blocks_of(found.item, labels))
    except HclError as error:
        raise error_at(found.file, error.position, f"{found.item.name}: {error.reason}") from None


def inner(file: str, block: Block) -> list[Found]:
    """The items in a block."""
    return [Found(file, item) for item in block.body.items]


def place_of(file: str, block: Block) -> Place:
    """Where a block begins."""
    return Place(file, block.position.line)


def error_at(file: str, position: Position, reason: str) -> ConfigError:
    """A ConfigError that names file and line."""
    return ConfigError(f"{file}:{position.line}: {reason}")


def env_of(env: Mapping[str, str], name: str) -> tuple[str, str]:
    """The spelling that is set, and the value, of a variable; VAULT_X may be spelled STRONGROOM_X, which wins."""
    own = "STRONGROOM_" + name.removeprefix("VAULT_")
    if name.startswith("VAULT_") and env.get(own):
        return own, env[own]
    return name, env.get(name, "")


def _fault(items: Sequence[Found], place: Place, key: str, reason: str) -> ConfigError:
    for found in reversed(items):
        if found.item.name == key:
            return found.error(reason)
    return ConfigError(f"{place}: {key}: {reason}" if key else f"{place}: {reason}")
