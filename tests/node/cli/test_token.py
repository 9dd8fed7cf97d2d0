"""token: create, lookup, renew, revoke, capabilities."""

from typing import Any

import pytest

from tests.node.cli.conftest import FakeNode, Terminal, envelope

AUTH: dict[str, Any] = {
    "client_token": "hvs.new",
    "accessor": "acc",
    "policies": ["default"],
    "token_policies": ["default"],
    "identity_policies": [],
    "metadata": None,
    "lease_duration": 86400,
    "renewable": True,
}
TABLE = (
    "Key                  Value\n"
    "---                  -----\n"
    "token                hvs.new\n"
    "token_accessor       acc\n"
    "token_duration       24h\n"
    "token_renewable      true\n"
    'token_policies       ["default"]\n'
    "identity_policies    []\n"
    'policies             ["default"]\n'
)


def test_create(node: FakeNode, sr: Terminal) -> None:
    """Only what was named is asked for, besides the documented defaults."""
    node.on("PUT auth/token/create", envelope(None, auth=AUTH))
    assert sr("token", "create", "-ttl=24h", "-policy=default").out == TABLE
    assert node.last.json == {
        "renewable": True,
        "no_parent": False,
        "no_default_policy": False,
        "type": "service",
        "ttl": "24h0m0s",
        "policies": ["default"],
    }
    assert sr("token", "create", "-field=token").out == "hvs.new"
    assert sr("token", "create", "-format=json").json["auth"]["client_token"] == "hvs.new"


def test_create_with_everything(node: FakeNode, sr: Terminal) -> None:
    """Each flag has its member."""
    node.on("PUT auth/token/create/app", envelope(None, auth=AUTH))
    flags = (
        "-role=app -id=x -display-name=d -explicit-max-ttl=2h -period=1h -renewable=false -orphan -no-default-policy "
        "-use-limit=2 -type=batch -metadata=a=b -policy=p -policy=q -entity-alias=e"
    )
    assert sr("token", "create", *flags.split()).code == 0
    assert node.last.json == {
        "id": "x",
        "display_name": "d",
        "explicit_max_ttl": "2h0m0s",
        "period": "1h0m0s",
        "renewable": False,
        "no_parent": True,
        "no_default_policy": True,
        "num_uses": 2,
        "type": "batch",
        "meta": {"a": "b"},
        "policies": ["p", "q"],
        "entity_alias": "e",
    }


def test_lookup(node: FakeNode, sr: Terminal) -> None:
    """Rows sorted by key; lifetimes short, nothing as <nil> or n/a."""
    data = {
        "ttl": 3600,
        "creation_ttl": 3600,
        "id": "hvs.x",
        "entity_id": "",
        "expire_time": None,
        "policies": ["root"],
    }
    node.data("GET auth/token/lookup-self", data)
    node.data("PUT auth/token/lookup", data)
    node.data("PUT auth/token/lookup-accessor", {**data, "id": ""})
    assert sr("token", "lookup").out == (
        "Key             Value\n---             -----\ncreation_ttl    1h\nentity_id       n/a\n"
        "expire_time     <nil>\nid              hvs.x\npolicies        [root]\nttl             1h\n"
    )
    sr("token", "lookup", "hvs.other")
    assert node.last.json == {"token": "hvs.other"}
    assert "id              n/a" in sr("token", "lookup", "-accessor", "acc").out
    assert node.last.json == {"accessor": "acc"}
    assert sr("token", "lookup", "-accessor").code == 1


def test_renew(node: FakeNode, sr: Terminal) -> None:
    """Rows are those of create."""
    for path in ("renew", "renew-self", "renew-accessor"):
        node.on(f"PUT auth/token/{path}", envelope(None, auth=AUTH))
    assert sr("token", "renew").out == TABLE
    assert node.last.json == {}
    sr("token", "renew", "-i", "30m", "hvs.x")
    assert node.last.json == {"token": "hvs.x", "increment": "30m0s"}
    sr("token", "renew", "-accessor", "acc")
    assert node.last.json == {"accessor": "acc"}


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (("hvs.x",), "auth/token/revoke", {"token": "hvs.x"}),
        (("-self",), "auth/token/revoke-self", {}),
        (("-accessor", "acc"), "auth/token/revoke-accessor", {"accessor": "acc"}),
        (("-mode=orphan", "hvs.x"), "auth/token/revoke-orphan", {"token": "hvs.x"}),
        (("-mode", "path", "auth/x"), "sys/leases/revoke-prefix/auth/x", {}),
    ],
)
def test_revoke(node: FakeNode, sr: Terminal, words: tuple[str, ...], path: str, body: dict[str, str]) -> None:
    """Every way to revoke ends in the same line."""
    node.on(f"PUT {path}")
    assert sr("token", "revoke", *words).out == "Success! Revoked token (if it existed)\n"
    assert node.last.json == body


@pytest.mark.parametrize("words", [(), ("-self", "hvs.x"), ("-accessor", "-mode=orphan", "x"), ("-mode=x", "y")])
def test_revoke_of_nothing_clear(node: FakeNode, sr: Terminal, words: tuple[str, ...]) -> None:
    """Contradictions are refused here."""
    assert sr("token", "revoke", *words).code == 1
    assert node.received == []


def test_capabilities(node: FakeNode, sr: Terminal) -> None:
    """A sorted, comma-separated line."""
    node.data("PUT sys/capabilities-self", {"secret/x": ["read", "create"], "capabilities": ["read", "create"]})
    node.data("PUT sys/capabilities", {"capabilities": ["deny"]})
    node.data("PUT sys/capabilities-accessor", {"capabilities": ["root"]})
    assert sr("token", "capabilities", "secret/x").out == "create, read\n"
    assert sr("token", "capabilities", "hvs.x", "secret/x").out == "deny\n"
    assert node.last.json == {"paths": ["secret/x"], "token": "hvs.x"}
    assert sr("token", "capabilities", "-accessor", "acc", "secret/x").out == "root\n"
