"""Tables, values in them, and fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.gotext import go_text, quoted_list, table_value
from node.cli.output import heading, key_values, secret_field, secret_rows, table
from node.cli.secret import Secret
from tests.node.cli.conftest import envelope


def test_table() -> None:
    """Four spaces between columns, dashes as long as the heading, n/a for nothing, no space at line ends."""
    assert table(("Path", "Description"), [("secret/", "k/v"), ("sys/", "")]) == (
        "Path       Description\n----       -----------\nsecret/    k/v\nsys/       n/a"
    )


@given(st.lists(st.tuples(st.text("ab/ ", max_size=9), st.text("xy ", max_size=9)), min_size=1, max_size=5))
def test_columns_start_at_the_same_place(rows: list[tuple[str, str]]) -> None:
    """The second column begins right of the longest first cell, everywhere."""
    lines = table(("Key", "Value"), rows).split("\n")
    start = lines[0].index("Value")
    for line, (key, value) in zip(lines[2:], rows, strict=True):
        assert line[:start].strip() == (key.strip() or "n/a")
        assert line[start:] == (value.strip() or "n/a")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        (12, "12"),
        ("", ""),
        ({"b": 1, "a": None}, "map[a:<nil> b:1]"),
        ({}, "map[]"),
        (["a", ["b"]], "[a [b]]"),
        (1.5, "1.5"),
    ],
)
def test_go_text(value: object, text: str) -> None:
    """Values look as they do in the documented tables."""
    assert go_text(value) == text


def test_lifetimes_are_durations() -> None:
    """Whole seconds under a name that says lifetime are shown as a duration."""
    assert table_value("token_ttl", 3600) == "1h"
    assert table_value("period", 60) == "1m"
    assert table_value("battle", 3600) == "3600"
    assert table_value("ttl", "30s") == "30s"
    assert quoted_list(["default", "app"]) == '["default" "app"]'


def test_heading_widths() -> None:
    """Odd space is rounded up; a title wider than its block has two signs on each side."""
    assert heading("Data", 17) == "====== Data ======"
    assert heading("Metadata", 24) == "======= Metadata ======="
    assert heading("Secret Path", 3) == "== Secret Path =="


def test_rows_of_a_leased_secret() -> None:
    """Lease rows come first; without a lease id the duration is only a hint."""
    leased = Secret.of(envelope({"username": "v"}, lease_id="db/1", lease_duration=3600, renewable=True))
    assert key_values(secret_rows(leased)).split("\n")[2:] == [
        "lease_id           db/1",
        "lease_duration     1h",
        "lease_renewable    true",
        "username           v",
    ]
    hint = Secret.of(envelope({"a": "b"}, lease_duration=2764800))
    assert secret_rows(hint)[0] == ("refresh_interval", "768h")
    assert secret_field(hint, "refresh_interval") == 2764800


def test_rows_of_a_root_token() -> None:
    """A token without end lives for ∞."""
    auth = {
        "client_token": "hvs.x",
        "accessor": "a",
        "lease_duration": 0,
        "policies": ["root"],
        "token_policies": ["root"],
    }
    rows = dict(secret_rows(Secret.of(envelope(None, auth={**auth, "metadata": {"k": "v"}}))))
    assert rows["token_duration"] == "∞"
    assert rows["identity_policies"] == "[]"
    assert rows["token_meta_k"] == "v"


def test_repr_of_an_answer_shows_no_secret() -> None:
    """What an answer carries stays out of its repr."""
    secret = Secret.of(envelope({"password": "s3cret"}, auth={"client_token": "s3cret"}, wrap_info={"token": "s3cret"}))
    assert "s3cret" not in repr(secret)
