"""engines/common/hcl.py: what HCL 1 and its JSON mean, where things stand, and that errors are exact and discreet."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.common.hcl import DEPTH_MAX, Body, HclError, ListValue, Position, blocks_of, parse, plain

CONFIG = """\
# the whole walkthrough in one file
storage "raft" {
  path    = "/opt/data"   // where
  node_id = "node-1"
  retry_join { leader_api_addr = "http://node-2:8200" }
  retry_join {
    leader_api_addr = "http://node-3:8200"
  }
}

listener "tcp" { address = "[::1]:8200" tls_disable = true }
/* several
   lines */
seal "aesgcm" { keys = ["YWJj", "ZGVm",] }
ui = true
truest = 1.5
log_rotate_max_files = -1
"""


def test_blocks_lists_and_comments() -> None:
    """Blocks repeat, labels nest, lists may end with a comma, and a name may begin with a keyword."""
    body = parse(CONFIG)
    assert [item.name for item in body.items] == ["storage", "listener", "seal", "ui", "truest", "log_rotate_max_files"]
    storage = body.items[0]
    assert [key.text for key in storage.keys] == ["storage", "raft"]
    (block,) = blocks_of(storage, labels=1)
    joins = [plain(item.value) for item in block.body.items if item.name == "retry_join"]
    assert joins == [{"leader_api_addr": "http://node-2:8200"}, {"leader_api_addr": "http://node-3:8200"}]
    assert plain(body.items[2].value) == {"keys": ["YWJj", "ZGVm"]}
    assert [plain(item.value) for item in body.items[3:]] == [True, 1.5, -1]


def test_positions() -> None:
    """Every key, block, value and list element knows its line and column, counted from 1."""
    body = parse(CONFIG)
    assert body.items[0].position == Position(2, 1)
    assert body.items[0].keys[1].position == Position(2, 9)
    storage, seal = body.items[0].value, body.items[2]
    assert isinstance(storage, Body)
    path = storage.items[0]
    assert (path.position, path.value.position) == (Position(3, 3), Position(3, 13))
    assert seal.position == Position(14, 1)
    assert isinstance(seal.value, Body)
    keys = seal.value.items[0].value
    assert isinstance(keys, ListValue)
    assert keys.items[1].position == Position(14, 33)


def test_json_gives_the_same_blocks() -> None:
    """A block is an object under its name and label, or a list of those, with the positions of the JSON text."""
    text = """{
  "listener": [{"tcp": {"address": "a"}}, {"unix": [{"address": "b"}, {"address": "c"}]}],
  "ui": true, "nothing": null
}"""
    body = parse(text)
    found = [(block.labels[0].text, plain(block.body)) for block in blocks_of(body.items[0], labels=1)]
    assert found == [("tcp", {"address": "a"}), ("unix", {"address": "b"}), ("unix", {"address": "c"})]
    assert body.items[1].position == Position(3, 3)
    assert plain(body.items[2].value) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\"b\\c\n\t\u00e9\x41\101\U0001F600"', 'a"b\\c\n\t\u00e9AA\U0001f600'),
        (r'"\ud83d\ude00"', "\U0001f600"),
        ('"${file("x")} and $5"', '${file("x")} and $5'),
        ('"# no // comment /* here"', "# no // comment /* here"),
        ("<<EOF\n  a\nEOFX\nEOF\n", "  a\nEOFX\n"),
        ("<<-EOF\n    a\n      b\n\n    EOF\n", "a\n  b\n\n"),
        ("<<EOF\nEOF\n", ""),
        ("0x10", 16),
        ("0644", 0o644),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("[]", []),
        ("[[1, 2], {a = 1}]", [[1, 2], {"a": 1}]),
    ],
)
def test_values(text: str, value: object) -> None:
    """Escapes, interpolations kept as text, heredocs, and every form of number and list."""
    assert plain(parse(f"x = {text}").items[0].value) == value


def test_heredoc_is_followed_by_more() -> None:
    """A heredoc ends at its mark, and the lines after it are counted from the file's start."""
    body = parse("a = <<E\r\nx\r\nE\r\nb = 1\r\n")
    assert plain(body) == {"a": "x\r\n", "b": 1}
    assert body.items[1].position == Position(4, 1)


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ('a {\n  token = "canary"\n', 3, 1, "never closed"),
        ('a = "canary', 1, 5, "never closed"),
        ('a = "canary\n"', 1, 5, "never closed"),
        ('a = "${canary', 1, 5, "never closed"),
        ("a = canary", 1, 5, "expected a value"),
        ("a =\n\n]", 3, 1, "expected a value"),
        ('a "b" = 1', 1, 7, "expected {"),
        ("}", 1, 1, "expected the name"),
        ("a", 1, 2, "expected = or {"),
        ("a = [1 2]", 1, 8, "expected , or ]"),
        ("a = [1", 1, 7, "expected , or ]"),
        ("/* a", 1, 1, "never closed"),
        ("a = <<E\ncanary\n", 1, 5, "never closed"),
        ("a = <canary", 1, 5, "expected <<NAME"),
        (r'a = "\canary"', 1, 6, "unknown escape"),
        (r'a = "\ud800"', 1, 6, "not a character"),
        ("a = 1.2.3", 1, 5, "expected a value"),
        ('{"a": "canary" "b"}', 1, 16, "expected , or }"),
        ('{"a": 1,}', 1, 9, "expected a name"),
        ('{"a": 1} x', 1, 10, "unexpected text"),
        ("{a: 1}", 1, 2, "expected a name"),
        ("a = " + "9" * 5000, 1, 5, "expected a value"),
    ],
)
def test_errors_say_where_and_repeat_nothing(text: str, line: int, column: int, reason: str) -> None:
    """An error names line and column and never the text around it, which may be a secret."""
    with pytest.raises(HclError) as error:
        parse(text)
    assert error.value.position == Position(line, column)
    assert reason in error.value.reason
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(("opening", "closing"), [("a {", "}"), ("[", "]")])
def test_cve_2025_6203_nesting_is_bounded(opening: str, closing: str) -> None:
    """Nesting beyond the bound is refused before it exhausts the interpreter's stack, in HCL and JSON."""
    prefix = "" if opening == "a {" else "a = "
    parse(prefix + opening * DEPTH_MAX + closing * DEPTH_MAX)
    with pytest.raises(HclError):
        parse(prefix + opening * 100_000)
    with pytest.raises(HclError):
        parse('{"a":' + '{"a":' * 100_000)


@pytest.mark.parametrize("text", ['x = "a"', 'x "l" "m" {}', "x {}", "x = [1]"])
def test_a_block_has_exactly_its_labels(text: str) -> None:
    """What is no block, or has other than the asked number of labels, is an error with a position."""
    with pytest.raises(HclError):
        list(blocks_of(parse(text).items[0], labels=1))


def test_values_stay_out_of_repr() -> None:
    """The repr of a tree holds names and places only: it may end in a log."""
    assert "canary" not in repr(parse('token = "canary"'))


names = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20) | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4), st.booleans())
def test_json_means_what_json_means(document: dict[str, object], ascii_only: bool) -> None:
    """Any JSON object without an interpolation reads as the standard library reads it."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=1)
    if "${" not in text:
        assert plain(parse(text)) == document


@given(st.text(alphabet=st.sampled_from('ab"\\{}[]=<>-#/*\n ${}0.:,EO'), max_size=60))
def test_any_text_is_a_tree_or_an_error(text: str) -> None:
    """No text makes the parser fail in another way than HclError, or run away."""
    try:
        parse(text)
    except HclError as error:
        assert error.position.line >= 1
