"""Walkthrough E: machines log in with AppRole. The commands of docs/auth/approle.md are run as they stand there."""

from concurrent.futures import ThreadPoolExecutor

import hvac
import pytest

from tests.processes.cluster import Node
from tests.walkthrough.documented import commands_of
from tests.walkthrough.kit import Cli, client_for

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def enabled(dev: Node) -> None:
    """auth/approle."""
    assert dev.call("POST", "sys/auth/approle", {"type": "approle"}, token="root").status == 204


def test_the_documented_commands(sr: Cli) -> None:
    """docs/auth/approle.md: each command succeeds, in order, on a mount of its own."""
    commands = commands_of("auth/approle.md")
    assert len(commands) >= 10
    for words in commands:
        sr.ok(*words)


def test_single_use(sr: Cli) -> None:
    """Enable, role, role id, secret id, login; the second login with a single-use secret id fails with 400."""
    sr.ok("auth", "enable", "-path=single", "approle")
    role = "auth/single/role/my-app"
    sr.ok(
        "write",
        role,
        "secret_id_ttl=24h",
        "secret_id_num_uses=1",
        "token_ttl=1h",
        "token_max_ttl=4h",
        "token_policies=payments-api",
    )
    role_id = sr.ok("read", "-field=role_id", f"{role}/role-id").out
    made = sr.ok("write", "-f", f"{role}/secret-id").rows
    assert set(made) >= {"secret_id", "secret_id_accessor", "secret_id_ttl", "secret_id_num_uses"}
    assert made["secret_id_ttl"] == "24h"
    credentials = (f"role_id={role_id}", f"secret_id={made['secret_id']}")
    login = sr.ok("write", "auth/single/login", *credentials).rows
    assert login["token"].startswith("hvs.")
    assert (login["token_duration"], login["token_renewable"]) == ("1h", "true")
    assert login["token_policies"] == '["default" "payments-api"]'
    assert login["token_meta_role_name"] == "my-app"
    assert login["token_accessor"]
    refused = sr.refused("write", "auth/single/login", *credentials, says="invalid role or secret ID")
    assert "Code: 400" in refused.err


@pytest.mark.usefixtures("enabled")
def test_a_wrapped_secret_id(sr: Cli) -> None:
    """-wrap-ttl=60s gives a wrapping token that opens once."""
    sr.ok("write", "auth/approle/role/wrapped", "token_ttl=1h")
    wrapping = sr.ok("write", "-f", "-wrap-ttl=60s", "-field=wrapping_token", "auth/approle/role/wrapped/secret-id").out
    secret_id = sr.ok("unwrap", "-field=secret_id", wrapping).out
    role_id = sr.ok("read", "-field=role_id", "auth/approle/role/wrapped/role-id").out
    sr.ok("write", "auth/approle/login", f"role_id={role_id}", f"secret_id={secret_id}")
    sr.refused("unwrap", wrapping, says="wrapping token is not valid or does not exist")


@pytest.mark.usefixtures("enabled")
def test_hvac(client: hvac.Client, dev: Node) -> None:
    """The client library's whole AppRole interface."""
    approle = client.auth.approle
    approle.create_or_update_approle(
        "web", token_policies=["web"], token_ttl="10m", token_period="20m", secret_id_num_uses=5, secret_id_ttl="1h"
    )
    shown = approle.read_role("web")["data"]
    assert (shown["token_policies"], shown["token_ttl"], shown["token_period"]) == (["web"], 600, 1200)
    assert "web" in approle.list_roles()["data"]["keys"]
    approle.update_role_id("web", "web-id")
    assert approle.read_role_id("web")["data"]["role_id"] == "web-id"
    made = approle.generate_secret_id("web", metadata={"team": "a"})["data"]
    accessor = made["secret_id_accessor"]
    assert approle.list_secret_id_accessors("web")["data"]["keys"] == [accessor]
    assert approle.read_secret_id("web", made["secret_id"])["data"]["metadata"] == {"team": "a"}
    assert approle.read_secret_id_accessor("web", accessor)["data"]["secret_id_num_uses"] == 5
    auth = client_for(dev).auth.approle.login("web-id", made["secret_id"])["auth"]
    assert auth["metadata"] == {"role_name": "web", "team": "a"}
    assert auth["lease_duration"] == 1200
    assert approle.read_secret_id_accessor("web", accessor)["data"]["secret_id_num_uses"] == 4
    approle.destroy_secret_id_accessor("web", accessor)
    with pytest.raises(hvac.exceptions.InvalidPath):
        approle.read_secret_id_accessor("web", accessor)
    approle.create_custom_secret_id("web", "custom")
    approle.destroy_secret_id("web", "custom")
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client_for(dev).auth.approle.login("web-id", "custom")
    approle.delete_role("web")
    with pytest.raises(hvac.exceptions.InvalidPath):
        approle.read_role("web")


@pytest.mark.usefixtures("enabled")
def test_concurrent_logins_never_exceed_the_uses(dev: Node) -> None:
    """40 logins at once with a secret id of 7 uses: 7 tokens."""
    call = dev.call
    call("POST", "auth/approle/role/race", {"secret_id_num_uses": 7}, token="root")
    role_id = call("GET", "auth/approle/role/race/role-id", token="root").json["data"]["role_id"]
    secret_id = call("POST", "auth/approle/role/race/secret-id", token="root").json["data"]["secret_id"]
    body = {"role_id": role_id, "secret_id": secret_id}
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: call("POST", "auth/approle/login", body).status, range(40)))
    # Once it is spent, five refusals lock the role id.
    assert statuses.count(200) == 7
    assert set(statuses) <= {200, 400, 403}


@pytest.mark.usefixtures("enabled")
def test_batch_tokens(dev: Node) -> None:
    """A role may give batch tokens, which show the login's path and the mount's name."""
    call = dev.call
    call("POST", "auth/approle/role/batch", {"token_type": "batch", "token_policies": "batch"}, token="root")
    role_id = call("GET", "auth/approle/role/batch/role-id", token="root").json["data"]["role_id"]
    secret_id = call("POST", "auth/approle/role/batch/secret-id", token="root").json["data"]["secret_id"]
    auth = call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}).json["auth"]
    assert auth["client_token"].startswith("hvb.")
    assert auth["policies"] == ["batch", "default"]
    shown = call("GET", "auth/token/lookup-self", token=auth["client_token"]).json["data"]
    assert (shown["path"], shown["display_name"], shown["orphan"]) == ("auth/approle/login", "approle", True)


@pytest.mark.usefixtures("enabled")
def test_renewal_asks_the_role_as_it_is_today(dev: Node) -> None:
    """token_ttl of today counts; with its role gone a token is not renewed."""
    call = dev.call
    call("POST", "auth/approle/role/renewed", {"token_ttl": "10m"}, token="root")
    role_id = call("GET", "auth/approle/role/renewed/role-id", token="root").json["data"]["role_id"]
    secret_id = call("POST", "auth/approle/role/renewed/secret-id", token="root").json["data"]["secret_id"]
    auth = call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}).json["auth"]
    token = auth["client_token"]
    call("POST", "auth/approle/role/renewed", {"token_ttl": "30m", "token_max_ttl": "1h"}, token="root")
    assert call("POST", "auth/token/renew-self", token=token).json["auth"]["lease_duration"] == 1800
    call("DELETE", "auth/approle/role/renewed", token="root")
    refused = call("POST", "auth/token/renew-self", token=token)
    assert (refused.status, "does not exist during renewal" in refused.json["errors"][0]) == (400, True)


@pytest.mark.usefixtures("enabled")
def test_lockout_by_role_id(dev: Node) -> None:
    """Wrong secret ids lock a role id, known or not; the right one does not help, and is not spent."""
    call = dev.call
    call("POST", "auth/approle/role/locked", {"secret_id_num_uses": 1}, token="root")
    role_id = call("GET", "auth/approle/role/locked/role-id", token="root").json["data"]["role_id"]
    right = call("POST", "auth/approle/role/locked/secret-id", token="root").json["data"]["secret_id"]

    def attempt(role: str, secret: str) -> tuple[int, list[str]]:
        reply = call("POST", "auth/approle/login", {"role_id": role, "secret_id": secret})
        return reply.status, reply.json.get("errors")

    expected = [(400, ["invalid role or secret ID"])] * 5 + [(403, ["permission denied"])] * 2
    assert [attempt(role_id, "wrong") for _ in range(7)] == expected
    assert [attempt("unknown", "wrong") for _ in range(7)] == expected
    assert attempt(role_id, right) == (403, ["permission denied"])
    accessor = call("GET", "sys/auth/approle", token="root").json["data"]["accessor"]
    assert call("POST", f"sys/locked-users/{accessor}/unlock/{role_id}", token="root").status == 204
    assert attempt(role_id, right)[0] == 200
