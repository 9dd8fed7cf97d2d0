"""engines/database/statements.py: statements in every form, and values that can never leave their place."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.common.errors import InvalidRequest
from engines.database.statements import MYSQL, POSTGRESQL, rendered, unwrapped

TWO = ["CREATE USER a", "GRANT b TO a"]


@pytest.mark.parametrize(
    "given_form",
    [
        TWO,
        ["; ".join(TWO)],
        [json.dumps(TWO)],
        [base64.b64encode("; ".join(TWO).encode()).decode()],
        [base64.b64encode(json.dumps(TWO).encode()).decode()],
    ],
)
def test_every_documented_form_is_the_same_statements(given_form: list[str]) -> None:
    """A list, text divided by semicolons, a JSON list, and both in base64."""
    assert rendered(given_form, {}, POSTGRESQL) == tuple(TWO)


def test_blank_statements_are_none() -> None:
    """So that an empty revocation statement means the default one."""
    assert unwrapped(["", " ;\n "]) == ()
    assert unwrapped([]) == ()


def test_semicolons_divide_only_where_they_are_ones() -> None:
    """Not in strings, identifiers, dollar-quoted bodies or comments."""
    text = """CREATE "a;b"; SELECT ';', E'\\';', $x$ ; $x$ /* ; /* ; */ ; */ -- ;\n; SELECT $$;$$"""
    assert len(rendered([text], {}, POSTGRESQL)) == 3


def test_values_are_escaped_for_their_place() -> None:
    """Quotes are doubled in identifiers and strings; backslashes where the database gives them a meaning."""
    values = {"name": 'a"b', "password": "c'd\\"}
    assert rendered(["""CREATE USER "{{name}}" PASSWORD '{{password}}'"""], values, POSTGRESQL) == (
        """CREATE USER "a""b" PASSWORD 'c''d\\'""",
    )
    assert rendered(["""SELECT E'{{password}}'"""], values, POSTGRESQL) == ("""SELECT E'c''d\\\\'""",)
    assert rendered(["""CREATE USER '{{password}}'@'%'"""], values, MYSQL) == ("""CREATE USER 'c''d\\\\'@'%'""",)


@pytest.mark.parametrize(
    "statement", ["DROP USER {{name}}", "DO $$ BEGIN EXECUTE '{{name}}'; END $$", "SELECT 1 -- {{name}}\n"]
)
@pytest.mark.parametrize("name", ["a b", "a'b", "a;b", "a$$b", "a--b", "a\nb", 'a"b', "a\\b", "*/", "a\0b"])
def test_where_nothing_can_be_escaped_only_words_are_let_in(statement: str, name: str) -> None:
    """Bare, in a body and in a comment: the value is refused, and not repeated."""
    assert rendered([statement], {"name": "v-app-1"}, POSTGRESQL)
    with pytest.raises(InvalidRequest) as refusal:
        rendered([statement], {"name": name}, POSTGRESQL)
    assert name not in str(refusal.value) or name == "a b"


@given(st.text(max_size=30).filter(lambda text: "\0" not in text))
def test_no_value_ends_its_place(value: str) -> None:
    """Whatever a name or password holds, the statement stays one, and undoing the quotes gives the value back."""
    for dialect, quote in ((POSTGRESQL, '"'), (POSTGRESQL, "'"), (MYSQL, "'"), (MYSQL, '"'), (MYSQL, "`")):
        (made,) = rendered([f"A {quote}{{{{name}}}}{quote} B; "], {"name": value}, dialect)
        inner = made.removeprefix("A ").removesuffix(" B")
        assert inner[0] == inner[-1] == quote
        back = inner[1:-1].replace(quote * 2, quote)
        assert (back.replace("\\\\", "\\") if dialect is MYSQL and quote != "`" else back) == value


def test_unknown_placeholders_stay() -> None:
    """They may be part of the statement; the database judges them."""
    assert rendered(["SELECT '{{other}}'"], {}, POSTGRESQL) == ("SELECT '{{other}}'",)
