"""Walkthrough C: tokens by command line."""

import pytest

from tests.processes.cluster import Node, wait_until
from tests.walkthrough.kit import Cli, cli_for

pytestmark = pytest.mark.processes


def _as(dev: Node, sr: Cli, token: str) -> Cli:
    return cli_for(sr.home, dev.address, token)


def _token(sr: Cli, *flags: str) -> str:
    return sr.ok("token", "create", "-field=token", *flags).out


def test_create(sr: Cli) -> None:
    """`token create` prints the documented rows; -field=token prints the token alone, without a newline."""
    done = sr.ok("token", "create", "-ttl=24h", "-policy=default")
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == [
        "token",
        "token_accessor",
        "token_duration",
        "token_renewable",
        "token_policies",
        "identity_policies",
        "policies",
    ]
    assert done.rows["token"].startswith("hvs.")
    assert (done.rows["token_duration"], done.rows["token_renewable"]) == ("24h", "true")
    assert (done.rows["token_policies"], done.rows["identity_policies"]) == ('["default"]', "[]")
    assert _token(sr, "-policy=default").startswith("hvs.")


def test_every_flag_of_create(sr: Cli) -> None:
    """What was asked for at creation is what a lookup shows."""
    token = _token(
        sr,
        "-policy=default",
        "-policy=other",
        "-orphan",
        "-period=1h",
        "-explicit-max-ttl=3h",
        "-use-limit=7",
        "-display-name=build",
        "-metadata=team=a",
        "-metadata=env=ci",
    )
    seen = sr.ok("token", "lookup", "-format=json", token).json["data"]
    assert seen["policies"] == ["default", "other"]
    assert (seen["orphan"], seen["period"], seen["explicit_max_ttl"], seen["num_uses"]) == (True, 3600, 10800, 7)
    assert seen["display_name"] == "token-build"
    assert seen["meta"] == {"team": "a", "env": "ci"}
    assert seen["type"] == "service"
    plain = _token(sr, "-policy=other", "-no-default-policy", "-renewable=false", "-ttl=5m")
    seen = sr.ok("token", "lookup", "-format=json", plain).json["data"]
    assert (seen["policies"], seen["renewable"], seen["orphan"]) == (["other"], False, False)
    batch = _token(sr, "-type=batch", "-policy=default", "-ttl=5m")
    assert batch.startswith("hvb.")
    assert sr.ok("token", "lookup", batch).rows["type"] == "batch"
    sr.refused("token", "renew", batch, says="batch tokens cannot be renewed")


def test_lookup_renew_and_capabilities(dev: Node, sr: Cli) -> None:
    """A token is looked up, renewed and judged by itself, by its accessor and by its holder."""
    made = sr.ok("token", "create", "-policy=default", "-ttl=1h", "-explicit-max-ttl=2h", "-format=json").json["auth"]
    token, accessor = made["client_token"], made["accessor"]
    by_accessor = sr.ok("token", "lookup", "-accessor", accessor).rows
    assert (by_accessor["id"], by_accessor["accessor"]) == ("n/a", accessor)
    assert by_accessor["creation_ttl"] == "1h"
    assert sr.ok("token", "renew", "-increment=30m", token).rows["token_duration"] in ("30m", "29m59s")
    assert sr.ok("token", "renew", "-accessor", accessor).rows["token_duration"] == "1h"
    capped = sr.ok("token", "renew", "-increment=9h", token)
    assert capped.rows["token_duration"] in ("2h", "1h59m59s")
    assert "exceeded the effective max_ttl" in capped.err
    assert sr.ok("token", "capabilities", token, "cubbyhole/a").out == "create, delete, list, read, update\n"
    assert sr.ok("token", "capabilities", token, "secret/data/a").out == "deny\n"
    assert sr.ok("token", "capabilities", "secret/data/a").out == "root\n"
    holder = _as(dev, sr, token)
    assert holder.ok("token", "lookup").rows["id"] == token
    holder.ok("token", "renew")
    assert holder.ok("token", "capabilities", "sys/mounts").out == "deny\n"
    holder.refused("kv", "get", "secret/a", says="permission denied")
    holder.refused("token", "create", "-policy=root", says="permission denied")


def test_revoke(dev: Node, sr: Cli) -> None:
    """Revoking says the same for a token that never was; revoked is refused at once; -self ends one's own."""
    token = _token(sr, "-policy=default")
    assert sr.ok("token", "revoke", token).out == "Success! Revoked token (if it existed)\n"
    assert sr.ok("token", "revoke", token).out == "Success! Revoked token (if it existed)\n"
    _as(dev, sr, token).refused("token", "lookup", says="permission denied")
    sr.refused("token", "lookup", token, says="bad token")
    made = sr.ok("token", "create", "-policy=default", "-format=json").json["auth"]
    sr.ok("token", "revoke", "-accessor", made["accessor"])
    sr.refused("token", "lookup", "-accessor", made["accessor"], says="invalid accessor")
    own = _as(dev, sr, _token(sr, "-policy=default"))
    own.ok("token", "revoke", "-self")
    own.refused("token", "lookup")
    sr.refused("token", "revoke", code=1)


def test_revoking_a_parent_revokes_its_children(dev: Node, sr: Cli) -> None:
    """Children end with their parent, and what they held; orphans stay, and so do children of -mode=orphan."""
    sr.ok("policy", "write", "maker", "-", stdin='path "auth/token/*" { capabilities = ["update", "sudo"] }')
    parent = _as(dev, sr, _token(sr, "-policy=maker", "-ttl=1h"))
    child = _as(dev, sr, _token(parent, "-policy=maker"))
    grandchild = _as(dev, sr, _token(child, "-policy=default"))
    orphan = _as(dev, sr, _token(parent, "-policy=default", "-orphan"))
    grandchild.ok("write", "cubbyhole/mine", "a=1")
    sr.ok("token", "revoke", parent.environment["VAULT_TOKEN"])
    for ended in (parent, child, grandchild):
        ended.refused("token", "lookup", says="permission denied")
    orphan.ok("token", "lookup")
    parent = _as(dev, sr, _token(sr, "-policy=maker", "-ttl=1h"))
    child = _as(dev, sr, _token(parent, "-policy=default"))
    sr.ok("token", "revoke", "-mode=orphan", parent.environment["VAULT_TOKEN"])
    parent.refused("token", "lookup")
    assert child.ok("token", "lookup", "-format=json").json["data"]["orphan"] is True


def test_uses_and_time_run_out(dev: Node, sr: Cli) -> None:
    """A token of two uses serves two requests; one of a second ends by itself."""
    two = _as(dev, sr, _token(sr, "-policy=default", "-use-limit=2"))
    two.ok("token", "lookup")
    two.ok("token", "lookup")
    two.refused("token", "lookup", says="permission denied")
    short = _as(dev, sr, _token(sr, "-policy=default", "-ttl=1s"))
    wait_until(lambda: short("token", "lookup").code == 2, "the token ends", 10)


def test_roles(sr: Cli) -> None:
    """A token role decides policies, period and orphanhood of the tokens made by it."""
    sr.ok("write", "auth/token/roles/ci", "allowed_policies=default,deploy", "orphan=true", "token_period=30m")
    made = sr.ok("token", "create", "-role=ci", "-policy=deploy", "-format=json").json["auth"]
    assert made["lease_duration"] == 1800
    assert made["orphan"] is True
    sr.refused("token", "create", "-role=ci", "-policy=other")
    sr.refused("token", "create", "-role=none", says="unknown role none")
    assert sr.ok("list", "-format=json", "auth/token/roles").json == ["ci"]
    assert sr.ok("read", "-field=orphan", "auth/token/roles/ci").out == "true"
    sr.ok("delete", "auth/token/roles/ci")
    sr.refused("read", "auth/token/roles/ci", says="No value found at auth/token/roles/ci")


def test_login_keeps_the_token(dev: Node, sr: Cli) -> None:
    """`login` with a token stores it in the token helper; the following commands use it."""
    user = cli_for(sr.home / "user", dev.address)
    token = _token(sr, "-policy=default")
    user.ok("login", token)
    assert (user.home / ".vault-token").read_text() == token
    assert user.ok("token", "lookup").rows["id"] == token
    assert user.ok("login", "-no-store", "-field=token", "-", stdin=_token(sr)).out.startswith("hvs.")
    assert user.ok("print", "token").out == f"{token}\n"
    user.refused("login", "hvs.wrong")


def test_cubbyhole_belongs_to_one_token(dev: Node, sr: Cli) -> None:
    """What one token puts into its cubbyhole, no other reads, root included; it ends with the token."""
    token = _token(sr, "-policy=default")
    user = _as(dev, sr, token)
    user.ok("write", "cubbyhole/a/b", "x=1")
    assert user.ok("read", "-field=x", "cubbyhole/a/b").out == "1"
    assert user.ok("list", "-format=json", "cubbyhole").json == ["a/"]
    sr.refused("read", "cubbyhole/a/b", says="No value found at cubbyhole/a/b")
    user.ok("delete", "cubbyhole/a/b")
    user.refused("read", "cubbyhole/a/b")
