"""login: methods, what is stored and what is printed."""

from typing import Any

import pytest

from tests.node.cli.conftest import FakeNode, Terminal, envelope

AUTH: dict[str, Any] = {
    "client_token": "hvs.alice",
    "accessor": "acc",
    "policies": ["default"],
    "token_policies": ["default"],
    "identity_policies": [],
    "metadata": {"username": "alice"},
    "lease_duration": 3600,
    "renewable": True,
}


@pytest.fixture
def userpass(node: FakeNode, sr: Terminal) -> FakeNode:
    del sr.environ["VAULT_TOKEN"]
    node.on("PUT auth/userpass/login/alice", envelope(None, auth=AUTH))
    return node


ALICE = ("-method=userpass", "username=alice", "password=Password123!")


def test_userpass(userpass: FakeNode, sr: Terminal) -> None:
    """The token is stored and printed; the name is in the path, the password alone in the body."""
    (sr.home / ".vault-token").write_text("hvs.expired")
    result = sr("login", *ALICE)
    assert result.code == 0
    assert result.out.startswith("Success! You are now authenticated.")
    assert "token                  hvs.alice\n" in result.out
    assert "token_meta_username    alice\n" in result.out
    assert userpass.last.json == {"password": "Password123!"}
    assert "X-Vault-Token" not in userpass.last.headers
    assert (sr.home / ".vault-token").read_text() == "hvs.alice"


def test_what_is_not_stored(userpass: FakeNode, sr: Terminal) -> None:
    """-no-store and -token-only leave the helper alone; -no-print prints nothing."""
    assert sr("login", "-token-only", *ALICE).out == "hvs.alice"
    assert sr("login", "-no-store", *ALICE).code == 0
    assert not (sr.home / ".vault-token").exists()
    assert sr("login", "-field=token", *ALICE).out == "hvs.alice"
    assert sr("login", "-no-print", *ALICE).out == ""
    assert (sr.home / ".vault-token").read_text() == "hvs.alice"


def test_another_mount(node: FakeNode, sr: Terminal) -> None:
    """-path names the mount, and json holds nothing but the answer."""
    node.on("PUT auth/people/login/alice", envelope(None, auth=AUTH))
    result = sr("login", "-path=people", "-format=json", *ALICE)
    assert result.json["auth"]["client_token"] == "hvs.alice"
    assert "VAULT_TOKEN environment variable is set" in result.err


def test_refused(userpass: FakeNode, sr: Terminal) -> None:
    """A refusal is exit code 2, without the password, and stores nothing."""
    userpass.refuse("PUT auth/userpass/login/bob", 400, "invalid username or password")
    result = sr("login", "-method=userpass", "username=bob", "password=s3cret")
    assert result.code == 2
    assert "Error authenticating: Error making API request." in result.err
    assert "s3cret" not in result.err
    assert not (sr.home / ".vault-token").exists()


def test_usage(userpass: FakeNode, sr: Terminal) -> None:
    """A missing name, an unknown method, and nobody to ask for the password are wrong usage."""
    assert sr("login", "-method=userpass").code == 1
    assert sr("login", "-method=nope").code == 1
    assert sr("login", "-method=userpass", "username=alice").code == 1
    assert sr("login").code == 1
    assert userpass.received == []


def test_approle_and_jwt(userpass: FakeNode, sr: Terminal) -> None:
    """Both are one write to login."""
    userpass.on("PUT auth/approle/login", envelope(None, auth=AUTH))
    userpass.on("PUT auth/jwt/login", envelope(None, auth=AUTH))
    assert sr("login", "-method=approle", "role_id=r", "secret_id=-", stdin="s").code == 0
    assert userpass.last.json == {"role_id": "r", "secret_id": "s"}
    assert sr("login", "-method=jwt", "role=r", "jwt=j").code == 0
    assert userpass.last.json == {"role": "r", "jwt": "j"}


def test_token(userpass: FakeNode, sr: Terminal) -> None:
    """A token is looked up with itself before it is stored."""
    data = {"id": "hvs.t", "accessor": "acc", "ttl": 0, "policies": ["root"], "renewable": False, "meta": None}
    userpass.data("GET auth/token/lookup-self", data)
    for words, stdin in ((("hvs.t",), ""), (("-",), "hvs.t\n"), (("token=hvs.t",), "")):
        result = sr("login", *words, stdin=stdin)
        assert "token_duration       ∞\n" in result.out
        assert 'policies             ["root"]\n' in result.out
        assert userpass.last.headers["X-Vault-Token"] == "hvs.t"
    assert (sr.home / ".vault-token").read_text() == "hvs.t"


def test_a_wrong_token_is_not_stored(userpass: FakeNode, sr: Terminal) -> None:
    """The helper keeps what it had."""
    (sr.home / ".vault-token").write_text("hvs.old")
    userpass.refuse("GET auth/token/lookup-self", 403, "permission denied")
    assert sr("login", "hvs.bad").code == 2
    assert (sr.home / ".vault-token").read_text() == "hvs.old"


def test_a_wrapped_login(userpass: FakeNode, sr: Terminal) -> None:
    """A wrapped answer is opened, unless only its token is wanted."""
    wrap = {"token": "hvs.wrap", "ttl": 60}
    userpass.on("PUT auth/userpass/login/bob", envelope(None, wrap_info=wrap))
    userpass.on("PUT sys/wrapping/unwrap", envelope(None, auth=AUTH))
    bob = ("-method=userpass", "-wrap-ttl=60s", "username=bob", "password=x")
    assert sr("login", *bob).code == 0
    assert userpass.last.headers["X-Vault-Token"] == "hvs.wrap"
    assert "X-Vault-Wrap-TTL" not in userpass.last.headers
    assert (sr.home / ".vault-token").read_text() == "hvs.alice"
    assert sr("login", "-token-only", *bob).out == "hvs.wrap"
