"""Walkthrough D: people log in with userpass. The commands of docs/auth/userpass.md are run as they stand there."""

from pathlib import Path
from typing import Any

import hvac
import pytest

from tests.processes.cluster import Node, call
from tests.walkthrough.documented import commands_of
from tests.walkthrough.kit import Cli, cli_for, client_for

pytestmark = pytest.mark.processes

PASSWORD = "Password123!"


@pytest.fixture(scope="module")
def alice(dev: Node) -> None:
    """auth/userpass with the user alice."""
    for method, path, body in (
        ("POST", "sys/auth/userpass", {"type": "userpass"}),
        ("POST", "auth/userpass/users/alice", {"password": PASSWORD, "token_ttl": "1h", "token_max_ttl": "24h"}),
        ("POST", "secret/data/my-app/database", {"data": {"password": "x"}}),
    ):
        assert dev.call(method, path, body, token="root").status in (200, 204)


def test_the_documented_commands(dev: Node, sr: Cli, tmp_path: Path) -> None:
    """docs/auth/userpass.md: each command succeeds, in order, on a mount of its own."""
    commands = commands_of("auth/userpass.md")
    assert len(commands) >= 5
    person = cli_for(tmp_path / "person", dev.address)
    for words in commands:
        (person if words[0] == "login" else sr).ok(*words)


def test_enable_write_login(dev: Node, sr: Cli, tmp_path: Path) -> None:
    """The three commands of the walkthrough; the token is kept for later commands, which policy then refuses."""
    sr.ok("auth", "enable", "-path=people", "userpass")
    done = sr.ok("write", "auth/people/users/alice", f"password={PASSWORD}", "token_ttl=1h", "token_max_ttl=24h")
    assert done.out == "Success! Data written to: auth/people/users/alice\n"
    person = cli_for(tmp_path / "alice", dev.address)
    login = person.ok("login", "-method=userpass", "-path=people", "username=alice", f"password={PASSWORD}")
    assert login.rows["token_duration"] in ("1h", "59m59s")
    assert login.rows["token_policies"] == '["default"]'
    assert login.rows["token_meta_username"] == "alice"
    assert person.ok("token", "lookup").rows["display_name"] == "people-alice"
    person.refused("kv", "get", "secret/my-app/database", says="permission denied")


@pytest.mark.usefixtures("alice")
def test_hvac(client: hvac.Client, dev: Node) -> None:
    """The client library creates, reads, lists, changes and deletes users, and logs in as one."""
    userpass = client.auth.userpass
    userpass.create_or_update_user("Carol", password="first", policies=["dev"], token_num_uses=3)
    shown = userpass.read_user("carol")["data"]
    assert (shown["token_policies"], shown["policies"], shown["token_num_uses"]) == (["dev"], ["dev"], 3)
    assert {"alice", "carol"} <= set(userpass.list_user()["data"]["keys"])
    userpass.update_password_on_user("carol", "second")
    person = client_for(dev)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid username or password"):
        person.auth.userpass.login("carol", "first")
    auth = person.auth.userpass.login("carol", "second")["auth"]
    assert (auth["token_policies"], auth["num_uses"]) == (["default", "dev"], 3)
    assert auth["metadata"] == {"username": "carol"}
    assert (auth["token_type"], auth["orphan"], auth["lease_duration"]) == ("service", True, 2764800)
    userpass.delete_user("carol")
    with pytest.raises(hvac.exceptions.InvalidPath):
        userpass.read_user("carol")


@pytest.mark.usefixtures("alice")
def test_an_ended_token_does_not_stand_in_the_way(dev: Node) -> None:
    """A login is served whatever token comes along."""
    reply = dev.call("POST", "auth/userpass/login/alice", {"password": PASSWORD}, token="hvs.ended")
    assert reply.status == 200


@pytest.mark.usefixtures("alice")
def test_tokens_by_mount_type(dev: Node, sr: Cli) -> None:
    """A mount tuned to batch gives batch tokens, which cannot be renewed and have no accessor."""
    sr.ok("auth", "enable", "-path=batches", "-token-type=batch", "userpass")
    sr.ok("write", "auth/batches/users/bob", "password=x")
    auth = dev.call("POST", "auth/batches/login/bob", {"password": "x"}).json["auth"]
    assert (auth["token_type"], auth["accessor"], auth["renewable"]) == ("batch", "", False)
    assert auth["client_token"].startswith("hvb.")


def login(dev: Node, mount: str, name: str, password: str) -> Any:
    """The status and errors of a login."""
    reply = call(dev.address, "POST", f"auth/{mount}/login/{name}", {"password": password})
    return reply.status, reply.json.get("errors")


def test_cve_2025_6004_and_cve_2020_35177_lockout(dev: Node, sr: Cli) -> None:
    """Failures under every spelling lock one user; an unknown user is answered the same, step by step."""
    sr.ok("auth", "enable", "-path=locks", "userpass")
    sr.ok("write", "auth/locks/users/bob", "password=right")
    known = [login(dev, "locks", name, "wrong") for name in ("bob", "Bob", "bob%20", "BOB", "bob", "bob", "Bob")]
    unknown = [login(dev, "locks", name, "wrong") for name in ("eve", "Eve", "eve%20", "EVE", "eve", "eve", "Eve")]
    assert known == [(400, ["invalid username or password"])] * 5 + [(403, ["permission denied"])] * 2
    assert unknown == known
    assert login(dev, "locks", "bob", "right") == (403, ["permission denied"])
    accessor = sr.ok("read", "-field=accessor", "sys/auth/locks").out
    shown = sr.ok("read", "-format=json", "sys/locked-users", f"mount_accessor={accessor}").json["data"]
    assert shown["total"] == 2
    (root,) = shown["by_namespace"]
    assert root["mount_accessors"] == [
        {"mount_accessor": accessor, "counts": 2, "alias_identifiers": ["bob", "eve"]},
    ]
    sr.ok("write", "-f", f"sys/locked-users/{accessor}/unlock/bob")
    assert login(dev, "locks", "bob", "right")[0] == 200


def test_lockout_is_tuned_by_command_line(dev: Node, sr: Cli) -> None:
    """-user-lockout-threshold and -user-lockout-disable of `auth tune` hold from the next login on."""
    sr.ok("auth", "enable", "-path=tuned", "userpass")
    sr.ok("write", "auth/tuned/users/bob", "password=right")
    sr.ok("auth", "tune", "-user-lockout-threshold=2", "-user-lockout-duration=10m", "tuned/")
    assert [login(dev, "tuned", "bob", "wrong")[0] for _ in range(3)] == [400, 400, 403]
    sr.ok("auth", "tune", "-user-lockout-disable=true", "tuned/")
    assert [login(dev, "tuned", "bob", "wrong")[0] for _ in range(3)] == [400, 400, 400]
    assert login(dev, "tuned", "bob", "right")[0] == 200


def test_cve_2026_89322_case_variants_and_policy(dev: Node, sr: Cli) -> None:
    """A rule about one spelling of a user's name holds for all of them."""
    sr.ok("auth", "enable", "-path=cases", "userpass")
    sr.ok("write", "auth/cases/users/admin", "password=right")
    rules = (
        'path "auth/cases/users/*" { capabilities = ["create", "read", "update", "delete"] }\n'
        'path "auth/cases/users/admin*" { capabilities = ["deny"] }\n'
        'path "auth/cases/users/Carol" { capabilities = ["deny"] }\n'
    )
    sr.ok("policy", "write", "cases", "-", stdin=rules)
    token = sr.ok("token", "create", "-field=token", "-policy=cases").out
    for name in ("admin", "Admin", "ADMIN", "admin%20"):
        for method, path in (("GET", name), ("POST", name), ("POST", f"{name}/password"), ("DELETE", name)):
            assert dev.call(method, f"auth/cases/users/{path}", {"password": "mine"}, token=token).status == 403
    assert dev.call("POST", "auth/cases/users/Carol", {"password": "x"}, token=token).status == 403
    assert dev.call("POST", "auth/cases/users/Dave", {"password": "x"}, token=token).status == 204
    assert login(dev, "cases", "admin", "right")[0] == 200


@pytest.mark.usefixtures("alice")
def test_cve_2026_46405_a_refused_login_makes_no_token(dev: Node, client: hvac.Client) -> None:
    """Wrong password, unknown user, a user that was to have root: as many tokens as before."""
    before = len(client.list("auth/token/accessors")["data"]["keys"])
    assert login(dev, "userpass", "alice", "wrong")[0] == 400
    assert login(dev, "userpass", "nobody", "wrong")[0] == 400
    rooted = {"password": "x", "policies": " Root"}
    assert dev.call("POST", "auth/userpass/users/eve", rooted, token="root").status == 400
    assert len(client.list("auth/token/accessors")["data"]["keys"]) == before


@pytest.mark.usefixtures("alice")
def test_renewal_asks_the_user_as_it_is_today(dev: Node, sr: Cli) -> None:
    """token_ttl of today counts; other policies, or no user any more, and the token is not renewed."""
    sr.ok("write", "auth/userpass/users/dora", "password=x", "token_ttl=10m", "token_policies=a")
    token = dev.call("POST", "auth/userpass/login/dora", {"password": "x"}).json["auth"]["client_token"]
    sr.ok("write", "auth/userpass/users/dora", "token_ttl=30m")
    renewed = dev.call("POST", "auth/token/renew-self", token=token)
    assert renewed.json["auth"]["lease_duration"] == 1800
    sr.ok("write", "auth/userpass/users/dora", "token_policies=b")
    assert "policies have changed" in dev.call("POST", "auth/token/renew-self", token=token).json["errors"][0]
    sr.ok("delete", "auth/userpass/users/dora")
    assert dev.call("POST", "auth/token/renew-self", token=token).status == 400
    assert dev.call("GET", "auth/token/lookup-self", token=token).status == 200


def test_disabling_the_method_revokes_its_tokens(dev: Node, sr: Cli) -> None:
    """When `auth disable` returns no token of the mount is good any more; those of others are."""
    for path in ("leaving", "leaving-not"):
        sr.ok("auth", "enable", f"-path={path}", "userpass")
        sr.ok("write", f"auth/{path}/users/bob", "password=x")
    gone, kept = (
        dev.call("POST", f"auth/{path}/login/bob", {"password": "x"}).json["auth"]["client_token"]
        for path in ("leaving", "leaving-not")
    )
    child = dev.call("POST", "auth/token/create", {}, token=gone).json
    assert child["errors"] == ["permission denied"]
    sr.ok("auth", "disable", "leaving")
    assert dev.call("GET", "auth/token/lookup-self", token=gone).status == 403
    assert dev.call("GET", "auth/token/lookup-self", token=kept).status == 200
    sr.ok("auth", "enable", "-path=leaving", "userpass")
    assert login(dev, "leaving", "bob", "x")[0] == 400


def test_cve_2025_52893_nothing_secret_in_refusals_and_logs(dev: Node) -> None:
    """Passwords of the wrong type, with fields of the wrong type, in a wrong hash: never in an answer or the log."""
    dev.call("POST", "sys/auth/canaries", {"type": "userpass"}, token="root")
    for body in (
        {"password": {"deep": "canary-secret"}},
        {"password": ["canary-secret"]},
        {"password": "canary-secret", "token_ttl": "never"},
        {"password_hash": "canary-secret"},
        {"password": "canary-secret" * 10},
    ):
        reply = dev.call("POST", "auth/canaries/users/bob", body, token="root")
        assert reply.status == 400
        assert b"canary-secret" not in reply.body
        assert b"canary-secret" not in dev.call("POST", "auth/canaries/login/bob", body).body
    assert "canary-secret" not in dev.log
