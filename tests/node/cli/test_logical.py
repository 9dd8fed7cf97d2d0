"""read, write, list, delete, patch, unwrap and path-help."""

from tests.node.cli.conftest import FakeNode, Terminal, envelope


def test_read_formats(node: FakeNode, sr: Terminal) -> None:
    """json and yaml show the envelope; members that are unused stay null."""
    node.data("GET secret/x", {"b": 1, "a": "<x>"})
    assert sr("read", "secret/x").out == "Key    Value\n---    -----\na      <x>\nb      1\n"
    assert sr("read", "-format=json", "secret/x").json == {
        "request_id": "4c1f2d9e-0000-4000-8000-000000000001",
        "lease_id": "",
        "lease_duration": 0,
        "renewable": False,
        "data": {"b": 1, "a": "<x>"},
        "warnings": None,
    }
    sr.environ["VAULT_FORMAT"] = "yaml"
    assert sr("read", "secret/x").out.startswith("data:\n  a: <x>\n  b: 1\nlease_duration: 0\n")
    assert sr("read", "-field=b", "secret/x").out == "1"
    assert sr("read", "-format=json", "-field=a", "secret/x").out == '"<x>"'


def test_read_nothing(node: FakeNode, sr: Terminal) -> None:
    """Absent is exit code 2 with the documented words."""
    result = sr("read", "/secret/x/")
    assert (result.code, result.err) == (2, "No value found at secret/x\n")


def test_read_with_parameters(node: FakeNode, sr: Terminal) -> None:
    """K=V arguments of a read go into the query."""
    node.data("GET secret/x", {"a": "b"})
    sr("read", "secret/x", "version=3")
    assert node.last.query == {"version": "3"}


def test_write(node: FakeNode, sr: Terminal) -> None:
    """A write without an answer says where it wrote; one with an answer prints it."""
    node.on("PUT secret/x")
    node.data("PUT auth/approle/role/a/secret-id", {"secret_id": "s", "secret_id_ttl": 3600})
    assert sr("write", "secret/x", "a=b").out == "Success! Data written to: secret/x\n"
    assert sr("write", "-f", "auth/approle/role/a/secret-id").out == (
        "Key              Value\n---              -----\nsecret_id        s\nsecret_id_ttl    1h\n"
    )
    assert node.last.json == {}
    result = sr("write", "secret/x")
    assert (result.code, result.err) == (1, "Must supply data or use -force\n")
    assert sr("write", "secret/x", "-", stdin='{"n": 1}').code == 0
    assert node.last.json == {"n": 1}
    assert sr("write", "-field=a", "secret/x", "a=b").code == 1
    assert sr("write", "-format=json", "secret/x", "a=b").out == ""


def test_patch(node: FakeNode, sr: Terminal) -> None:
    """A JSON merge patch."""
    node.on("PATCH pki/issuer/x")
    assert sr("patch", "pki/issuer/x", "a=b").out == "Success! Data written to: pki/issuer/x\n"
    assert node.last.headers["Content-Type"] == "application/merge-patch+json"


def test_list(node: FakeNode, sr: Terminal) -> None:
    """Names under Keys; none is exit code 2."""
    node.data("LIST secret/", {"keys": ["a", "b/"]})
    assert sr("list", "secret").out == "Keys\n----\na\nb/\n"
    assert sr("list", "-format=yaml", "secret").out == "- a\n- b/\n"
    result = sr("list", "other")
    assert (result.code, result.err) == (2, "No value found at other/\n")


def test_delete(node: FakeNode, sr: Terminal) -> None:
    """Deleting says so whether anything was there or not."""
    node.on("DELETE secret/x")
    assert sr("delete", "secret/x").out == "Success! Data deleted (if it existed) at: secret/x\n"


def test_unwrap(node: FakeNode, sr: Terminal) -> None:
    """The token goes into the body next to another one, into the header alone: never both (double use)."""
    node.on("PUT sys/wrapping/unwrap", envelope({"secret_id": "s"}))
    assert sr("unwrap", "-field=secret_id", "hvs.wrap").out == "s"
    assert node.last.json == {"token": "hvs.wrap"}
    del sr.environ["VAULT_TOKEN"]
    sr("unwrap", "hvs.wrap")
    assert (node.last.json, node.last.headers["X-Vault-Token"]) == ({}, "hvs.wrap")
    sr.environ["VAULT_TOKEN"] = "hvs.wrap"
    sr("unwrap")
    assert (node.last.json, node.last.headers["X-Vault-Token"]) == ({}, "hvs.wrap")


def test_unwrap_twice(node: FakeNode, sr: Terminal) -> None:
    """The second time is refused in the server's words."""
    node.refuse("PUT sys/wrapping/unwrap", 400, "wrapping token is not valid or does not exist")
    result = sr("unwrap", "hvs.wrap")
    assert result.code == 2
    assert "* wrapping token is not valid or does not exist" in result.err


def test_path_help(node: FakeNode, sr: Terminal) -> None:
    """Text, or OpenAPI in json."""
    node.on("GET secret/x", {"help": "Request: x", "openapi": {"openapi": "3.0.2"}})
    assert sr("path-help", "secret/x").out == "Request: x\n"
    assert node.last.query == {"help": "1"}
    assert sr("path-help", "-format=json", "secret/x").json == {"openapi": "3.0.2"}
