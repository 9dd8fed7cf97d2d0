"""Walkthrough B, F, K: rate limits, moving mounts, password policies, by the command line and by hvac."""

from pathlib import Path

import hvac
import pytest

from tests.processes.cluster import call, dev_server
from tests.walkthrough.kit import Cli, cli_for, client_for

pytestmark = pytest.mark.processes


def test_rate_limits(tmp_path: Path) -> None:
    """Beyond the limit a client is told so with status 429, and when it may come again; other paths go on."""
    folder = tmp_path / "server"
    folder.mkdir()
    with dev_server(folder, "root") as node:
        sr, client = cli_for(tmp_path / "home", node.address, "root"), client_for(node, "root")
        client.sys.create_or_update_quota(name="kv", path="secret/", rate=2.0, interval="1h", block_interval="30m")
        assert client.sys.list_quotas()["data"]["keys"] == ["kv"]
        assert client.sys.read_quota(name="kv")["data"]["block_interval"] == 1800
        sr.ok("write", "sys/quotas/config", "enable_rate_limit_response_headers=true")
        answers = [call(node.address, "GET", "secret/config", token="root") for _ in range(3)]
        assert [one.status for one in answers] == [200, 200, 429]
        assert answers[0].headers["X-Ratelimit-Remaining"] == "1"
        assert answers[2].headers["Retry-After"] == "1800"
        assert answers[2].json == {"errors": ['request path "secret/config": rate limit quota exceeded']}
        sr.refused("kv", "metadata", "get", "secret/a", says="rate limit quota exceeded")
        client.sys.delete_quota(name="kv")
        assert call(node.address, "GET", "secret/config", token="root").status == 200


def test_moving_mounts(sr: Cli, client: hvac.Client) -> None:
    """`secrets move` and `auth move` wait until the server is done; what was there is at the new path."""
    sr.ok("secrets", "enable", "-path=old", "-version=2", "kv")
    sr.ok("kv", "put", "old/a", "x=1")
    done = sr.ok("secrets", "move", "old/", "team/new/")
    assert "Started moving secrets engine old/ to team/new/, with migration ID" in done.out
    assert "Success! Finished moving secrets engine old/ to team/new/, with migration ID" in done.out
    assert sr.ok("kv", "get", "-field=x", "team/new/a").out == "1"
    sr.refused("secrets", "move", "old/", "other/", says="no matching mount at")
    sr.ok("auth", "enable", "-path=first", "userpass")
    sr.ok("write", "auth/first/users/bob", "password=long-enough")
    token = sr.ok("write", "-field=token", "auth/first/login/bob", "password=long-enough").out
    sr.ok("auth", "move", "auth/first/", "auth/second/")
    sr.refused("token", "lookup", token, says="bad token")
    sr.ok("write", "auth/second/login/bob", "password=long-enough")
    client.sys.move_backend("team/new", "moved")
    sr.ok("auth", "disable", "second")


def test_password_policies(sr: Cli) -> None:
    """A policy is written from a file or standard input, read as written, and makes passwords."""
    text = 'length = 16\nrule "charset" {\n  charset = "abcdef0123456789"\n}\n'
    sr.ok("write", "sys/policies/password/hex", "policy=-", stdin=text)
    assert sr.ok("read", "-field=policy", "sys/policies/password/hex").out.strip() == text.strip()
    made = sr.ok("read", "-field=password", "sys/policies/password/hex/generate").out
    assert len(made) == 16
    assert set(made) <= set("abcdef0123456789")
    sr.refused("write", "sys/policies/password/odd", "policy=length=1", says="length")
    sr.ok("delete", "sys/policies/password/hex")
