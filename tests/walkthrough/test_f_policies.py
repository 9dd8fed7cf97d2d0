"""Walkthrough F: policies, with tokens made by `token create -policy`."""

import itertools
from collections.abc import Callable

import pytest

from tests.processes.cluster import Node
from tests.walkthrough.kit import Cli, cli_for

pytestmark = pytest.mark.processes

ADMIN = """
# The team's own engine, whole.
path "team/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}
path "sys/mounts" {
  capabilities = ["read"]
}
"""

_numbers = itertools.count()


@pytest.fixture
def holder(dev: Node, sr: Cli) -> Callable[[str], Cli]:
    """From a policy's text to the command line of a token that holds it alone."""

    def made(policy: str) -> Cli:
        name = f"policy-{next(_numbers)}"
        sr.ok("policy", "write", name, "-", stdin=policy)
        token = sr.ok("token", "create", "-field=token", f"-policy={name}", "-no-default-policy").out
        return cli_for(sr.home, dev.address, token)

    return made


def test_write_list_read_delete(sr: Cli) -> None:
    """A policy is written from standard input or a file, listed, read back as written, and deleted."""
    assert sr.ok("policy", "write", "Team-Admin", "-", stdin=ADMIN).out == "Success! Uploaded policy: team-admin\n"
    (sr.home / "reader.hcl").write_text('path "team/*" { capabilities = ["read"] }')
    sr.ok("policy", "write", "team-reader", "reader.hcl")
    assert {"default", "root", "team-admin", "team-reader"} <= set(sr.ok("policy", "list").out.split())
    assert sr.ok("policy", "read", "team-admin").out.strip() == ADMIN.strip()
    assert sr.ok("policy", "delete", "team-reader").out == "Success! Deleted policy: team-reader\n"
    sr.ok("policy", "delete", "team-reader")
    sr.refused("policy", "read", "team-reader", says="No policy named: team-reader")
    sr.refused("policy", "write", "x", "absent.hcl")


def test_fmt(sr: Cli) -> None:
    """`policy fmt` rewrites a file in place, and refuses what does not parse."""
    file = sr.home / "p.hcl"
    file.write_text('path   "a/*"{capabilities=["read",   "list"]}')
    assert sr.ok("policy", "fmt", "p.hcl").out == "Success! Formatted policy: p.hcl\n"
    assert file.read_text() == 'path "a/*" { capabilities = ["read", "list"] }\n'
    file.write_text("path {")
    sr.refused("policy", "fmt", "p.hcl", code=1)


def test_root_and_default(sr: Cli) -> None:
    """`root` cannot be changed or deleted; `default` can be read and edited, not deleted."""
    for words in (("write", "root", "-"), ("delete", "root"), ("delete", "default")):
        done = sr("policy", *words, stdin=ADMIN)
        assert done.code == 2
        assert "policy" in done.err
    text = sr.ok("policy", "read", "default").out
    assert "auth/token/lookup-self" in text
    sr.ok("policy", "write", "default", "-", stdin=text + '\npath "team/motd" { capabilities = ["read"] }\n')
    token = sr.ok("token", "create", "-field=token", "-policy=default").out
    assert sr.ok("token", "capabilities", token, "team/motd").out == "read\n"
    sr.ok("policy", "write", "default", "-", stdin=text)
    assert sr.ok("token", "capabilities", token, "team/motd").out == "deny\n"


def test_a_policy_that_does_not_parse(sr: Cli) -> None:
    """What is wrong in a policy is refused with its line, and nothing is stored."""
    sr.refused("policy", "write", "bad", "-", stdin='path "a" {\n  capabilities = ["rad"]\n}', says="line 2")
    sr.refused("policy", "write", "bad", "-", stdin='path "a" {\n\n  capabilities = \n}', says="line 4")
    sr.refused("policy", "write", "bad", "-", stdin='path "a" {\n  what = 1\n}', says="line 2")
    sr.refused("policy", "read", "bad", says="No policy named: bad")


def test_capabilities_are_told_apart(sr: Cli, holder: Callable[[str], Cli]) -> None:
    """create and update, delete, list and read each open just their own operation."""
    sr.ok("secrets", "enable", "-path=told", "-version=1", "kv")
    sr.ok("kv", "put", "told/there", "a=1")
    creator = holder('path "told/*" { capabilities = ["create"] }')
    creator.ok("write", "told/new", "a=1")
    creator.refused("write", "told/there", "a=2", says="permission denied")
    creator.refused("read", "told/new", says="permission denied")
    updater = holder('path "told/*" { capabilities = ["update"] }')
    updater.ok("write", "told/there", "a=2")
    updater.refused("write", "told/other", "a=1", says="permission denied")
    reader = holder('path "told/*" { capabilities = ["read"] }')
    assert reader.ok("read", "-field=a", "told/there").out == "2"
    reader.refused("list", "told", says="permission denied")
    reader.refused("delete", "told/there", says="permission denied")
    lister = holder('path "told/" { capabilities = ["list"] }')
    assert "there" in lister.ok("list", "told").out
    lister.refused("read", "told/there", says="permission denied")
    holder('path "told/*" { capabilities = ["delete"] }').ok("delete", "told/there")


def test_patch_is_a_capability(sr: Cli, holder: Callable[[str], Cli]) -> None:
    """`kv patch` needs patch, and nothing else."""
    sr.ok("kv", "put", "secret/patched", "a=1")
    patcher = holder('path "secret/data/patched" { capabilities = ["patch"] }')
    patcher.ok("kv", "patch", "secret/patched", "b=2")
    patcher.refused("kv", "get", "secret/patched", says="permission denied")
    holder('path "secret/data/patched" { capabilities = ["read"] }').refused("kv", "patch", "secret/patched", "c=3")
    assert sr.ok("kv", "get", "-format=json", "secret/patched").json["data"]["data"] == {"a": "1", "b": "2"}


def test_the_most_specific_path_wins_and_deny_wins(sr: Cli, holder: Callable[[str], Cli]) -> None:
    """`*` at the end, `+` for one segment; the more specific rule decides; deny beats everything on its path."""
    for path in ("wide/a", "wide/secret", "teams/x/config", "teams/x/y/config"):
        sr.ok("kv", "put", f"secret/{path}", "v=1")
    user = holder(
        """
        path "secret/data/wide/*" { capabilities = ["read"] }
        path "secret/data/wide/secret" { capabilities = ["deny"] }
        path "secret/data/teams/+/config" { capabilities = ["read"] }
        """
    )
    user.ok("kv", "get", "secret/wide/a")
    user.refused("kv", "get", "secret/wide/secret", says="permission denied")
    user.ok("kv", "get", "secret/teams/x/config")
    user.refused("kv", "get", "secret/teams/x/y/config", says="permission denied")
    assert user("token", "capabilities", "secret/data/wide/a").code == 2  # without default, not even that
    token = user.environment["VAULT_TOKEN"]
    assert sr.ok("token", "capabilities", token, "secret/data/wide/secret").out == "deny\n"
    assert sr.ok("token", "capabilities", token, "secret/data/wide/other").out == "read\n"


def test_sudo(sr: Cli, holder: Callable[[str], Cli]) -> None:
    """A root-protected path needs sudo besides the operation's capability."""
    without = holder('path "auth/token/accessors*" { capabilities = ["list"] }')
    without.refused("list", "auth/token/accessors", says="permission denied")
    holder('path "auth/token/accessors*" { capabilities = ["list", "sudo"] }').ok("list", "auth/token/accessors")


def test_parameters(sr: Cli, holder: Callable[[str], Cli]) -> None:
    """allowed_, denied_ and required_parameters judge the members of a write."""
    sr.ok("secrets", "enable", "-path=params", "-version=1", "kv")
    user = holder(
        """
        path "params/allowed" {
          capabilities = ["create", "update"]
          allowed_parameters = { "env" = ["dev", "stage*"], "note" = [] }
        }
        path "params/denied" {
          capabilities = ["create", "update"]
          denied_parameters = { "admin" = [] }
        }
        path "params/required" {
          capabilities = ["create", "update"]
          required_parameters = ["owner"]
        }
        """
    )
    user.ok("write", "params/allowed", "env=dev", "note=anything")
    user.ok("write", "params/allowed", "env=stage-2")
    user.refused("write", "params/allowed", "env=prod", says="permission denied")
    user.refused("write", "params/allowed", "other=1", says="permission denied")
    user.ok("write", "params/denied", "x=1")
    user.refused("write", "params/denied", "x=1", "admin=1", says="permission denied")
    user.ok("write", "params/required", "owner=me")
    user.refused("write", "params/required", "x=1", says="permission denied")


def test_a_team_reads_its_own_and_nothing_else(dev: Node, sr: Cli, holder: Callable[[str], Cli]) -> None:
    """A reader of team/* reads there by every command, and is told 403 and exit code 2 everywhere else."""
    sr.ok("secrets", "enable", "-path=team", "-version=2", "kv")
    sr.ok("kv", "put", "team/app", "a=1")
    sr.ok("kv", "put", "secret/app", "a=1")
    reader = holder('path "team/*" { capabilities = ["read", "list"] }')
    assert reader.ok("kv", "get", "-field=a", "team/app").out == "1"
    assert reader.ok("kv", "list", "-format=json", "team").json == ["app"]
    for words in (
        ("kv", "put", "team/app", "a=2"),
        ("kv", "get", "secret/app"),
        ("secrets", "list"),
        ("policy", "list"),
        ("operator", "seal"),
    ):
        reader.refused(*words, says="permission denied")
    admin = holder(ADMIN)
    admin.ok("kv", "put", "team/app", "a=2")
    admin.ok("kv", "metadata", "delete", "team/app")
    assert "team/" in admin.ok("secrets", "list").out


def test_an_edited_policy_takes_effect_at_once(sr: Cli, holder: Callable[[str], Cli]) -> None:
    """Tokens name policies: what a policy allows is judged at each request, and a deleted one allows nothing."""
    sr.ok("kv", "put", "secret/edited", "a=1")
    user = holder('path "secret/data/edited" { capabilities = ["read"] }')
    name = sr.ok("token", "lookup", "-format=json", user.environment["VAULT_TOKEN"]).json["data"]["policies"][0]
    user.ok("kv", "get", "secret/edited")
    sr.ok("policy", "write", name, "-", stdin='path "secret/data/edited" { capabilities = ["deny"] }')
    user.refused("kv", "get", "secret/edited", says="permission denied")
    sr.ok("policy", "write", name, "-", stdin='path "secret/data/edited" { capabilities = ["read"] }')
    user.ok("kv", "get", "secret/edited")
    sr.ok("policy", "delete", name)
    user.refused("kv", "get", "secret/edited", says="permission denied")
