"""Hashing of values of every type."""

import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from node.audit.redact import PREFIX, Redactor

SALT = bytes(range(32))

_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_values = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def _expected(value: object) -> object:
    """The claim itself, without the ways around that make the real one quick."""
    if isinstance(value, str | bytes):
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return PREFIX + hmac.digest(SALT, data, "sha256").hex()
    if isinstance(value, dict):
        return {key: _expected(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_expected(item) for item in value]
    return value


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


@given(_values)
def test_cve_2025_62705_every_string_and_bytes_of_any_nesting_is_hashed(value: object) -> None:
    """Text and bytes become HMACs wherever they lie; numbers, booleans, None and keys stay."""
    assert Redactor(SALT).redacted(value) == _expected(value)


@given(_values)
def test_cve_2025_62705_embedded_json_is_hashed_like_the_value_it_holds(value: object) -> None:
    """An answer's embedded JSON text is opened and hashed by its strings, never passed on as it is."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return  # bytes and large integers are no JSON
    decoded = orjson.loads(text)
    assert Redactor(SALT).redacted({"x": orjson.Fragment(text)}) == {"x": _expected(decoded)}


def test_other_types_never_show_what_they_hold() -> None:
    """A type that nobody thought of is hashed: what it prints as may be the secret."""

    class Odd:
        def __str__(self) -> str:
            return "canary"

        __repr__ = __str__

    values = {
        "moment": datetime(2030, 1, 1, tzinfo=UTC),
        "id": UUID(int=7),
        "odd": Odd(),
        "view": memoryview(b"canary"),
        "set": {"canary"},
    }
    shown = Redactor(SALT).redacted(values)
    assert all(text.startswith(PREFIX) for text in _texts(shown))


def test_keys_listed_as_clear_keep_their_strings() -> None:
    """A listed key shows its text, also in a list below it, at any depth; a map below it goes by its own keys."""
    value = {"a": "1", "b": {"a": ["2", "3"], "c": "4"}, "d": {"a": {"e": "5"}}}
    shown = Redactor(SALT).redacted(value, ("a",))
    hashed = Redactor(SALT).hashed
    assert shown == {"a": "1", "b": {"a": ["2", "3"], "c": hashed("4")}, "d": {"a": {"e": hashed("5")}}}


def test_lone_surrogates_are_hashed() -> None:
    """Text that is not Unicode cannot make a record fail."""
    assert str(Redactor(SALT).redacted("\ud800")).startswith(PREFIX)


def test_the_salt_decides() -> None:
    """Two devices show different hashes of the same value."""
    assert Redactor(SALT).hashed("x") != Redactor(bytes(32)).hashed("x")
