"""What goes over the wire, and what becomes of what comes back."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.cli.conftest import FakeNode, Terminal, envelope

TOKEN = "hvs.s3cret-token"
VALUE = "s3cret-value"


def test_headers_of_every_call(node: FakeNode, sr: Terminal) -> None:
    """X-Vault-Request, the token, the namespace, the wrap time and own headers are sent as documented."""
    node.data("GET sys/x", {"a": "b"})
    sr("read", "-ns=team", "-wrap-ttl=5m", "-header=X-Trace=1", "-mfa=duo:1", "sys/x")
    headers = node.last.headers
    assert headers["X-Vault-Request"] == "true"
    assert headers["X-Vault-Token"] == "hvs.test"
    assert headers["X-Vault-Namespace"] == "team/"
    assert headers["X-Vault-Wrap-TTL"] == "5m0s"
    assert headers["X-Trace"] == "1"
    assert headers["X-Vault-MFA"] == "duo:1"


def test_a_header_flag_cannot_pose_as_the_client(node: FakeNode, sr: Terminal) -> None:
    """-header sets neither X-Vault-* nor a second header line."""
    assert sr("read", "-header=X-Vault-Token=x", "sys/x").code == 1
    assert sr("read", "-header=A=b\r\nX-Vault-Token: x", "sys/x").code == 1
    assert node.received == []


@pytest.mark.parametrize("status", [412, 500, 502, 503])
def test_retries(node: FakeNode, sr: Terminal, status: int) -> None:
    """412 and 5xx are tried three times, with the documented pauses."""
    node.refuse("GET sys/x", status, "not now")
    assert sr("read", "sys/x").code == 2
    assert len(node.received) == 3
    assert sr.slept == [1.0, 1.5]


@pytest.mark.parametrize("status", [400, 403, 405, 429, 501])
def test_no_retries(node: FakeNode, sr: Terminal, status: int) -> None:
    """Everything else is an answer."""
    node.refuse("GET sys/x", status, "no")
    assert sr("read", "sys/x").code == 2
    assert len(node.received) == 1


def test_a_retry_that_succeeds(node: FakeNode, sr: Terminal) -> None:
    """A write that finds a leader at the second try is done, with its body sent again."""
    node.refuse("PUT sys/x", 503, "no leader")
    node.on("PUT sys/x")
    assert sr("write", "sys/x", "a=b").code == 0
    assert [one.json for one in node.received] == [{"a": "b"}, {"a": "b"}]


def test_retries_are_bounded_by_the_environment(node: FakeNode, sr: Terminal) -> None:
    """VAULT_MAX_RETRIES=0 turns them off."""
    sr.environ["VAULT_MAX_RETRIES"] = "0"
    node.refuse("GET sys/x", 503, "Vault is sealed")
    result = sr("read", "sys/x")
    assert len(node.received) == 1
    assert "Code: 503. Errors:\n\n* Vault is sealed" in result.err


@pytest.fixture
def leader() -> Iterator[FakeNode]:
    node = FakeNode()
    node.start()
    yield node
    node.stop()


def test_redirects_carry_the_request_to_the_leader(node: FakeNode, leader: FakeNode, sr: Terminal) -> None:
    """307 keeps method, body and token (HA without forwarding)."""
    node.on("PUT sys/x", None, 307, Location=f"{leader.address}/v1/sys/x")
    leader.on("PUT sys/x")
    assert sr("write", "sys/x", "a=b").code == 0
    assert leader.last.json == {"a": "b"}
    assert leader.last.headers["X-Vault-Token"] == "hvs.test"


def test_redirects_can_be_refused_and_end(node: FakeNode, sr: Terminal) -> None:
    """-disable-redirects shows the answer; a circle ends; another scheme is not followed with a token."""
    node.on("GET sys/x", None, 307, Location="/v1/sys/x")
    assert "Code: 307" in sr("read", "-disable-redirects", "sys/x").err
    assert "redirected too often" in sr("read", "sys/x").err
    node.on("GET sys/y", None, 307, Location="file:///etc/passwd")
    assert "no HTTP address" in sr("read", "sys/y").err


def test_warnings_go_to_stderr(node: FakeNode, sr: Terminal) -> None:
    """A table's warnings are on stderr; json carries them itself."""
    node.data("GET sys/x", {"a": "b"}, warnings=["look out"])
    result = sr("read", "sys/x")
    assert result.out == "Key    Value\n---    -----\na      b\n"
    assert result.err == "WARNING! The following warnings were returned from Vault:\n\n  * look out\n\n"
    assert sr("read", "-format=json", "sys/x").err == ""


def test_paths_are_encoded(node: FakeNode, sr: Terminal) -> None:
    """Spaces, question marks and hashes belong to the name."""
    node.data("GET secret/a b?c#d", {"a": "b"})
    assert sr("read", "secret/a b?c#d").code == 0


def test_cve_2026_55102_errors_carry_neither_token_nor_body(node: FakeNode, sr: Terminal) -> None:
    """CVE-2026-55102: whatever goes wrong, stderr shows neither the token nor what was sent or received."""
    sr.environ["VAULT_TOKEN"] = TOKEN
    sr.environ["VAULT_MAX_RETRIES"] = "0"
    node.refuse("PUT sys/refused", 400, "no")
    node.on("PUT sys/html", f"<html>{TOKEN} {VALUE}</html>".encode(), 502)
    node.on("PUT sys/text", f"{TOKEN} {VALUE}".encode(), 200)
    node.on("PUT sys/list", [VALUE], 200)
    for path in ("refused", "html", "text", "list"):
        result = sr("write", f"sys/{path}", f"password={VALUE}")
        assert result.code == 2, path
        assert TOKEN not in result.err + result.out
        assert VALUE not in result.err + result.out
        assert "Traceback" not in result.err
    with_login = sr("read", f"-address=http://user:{VALUE}@127.0.0.1:1", "sys/x")
    assert with_login.code == 2
    assert VALUE not in with_login.err
    sr.environ["VAULT_TOKEN"] = f"{VALUE}\nX-Evil: 1"
    broken = sr("read", "sys/x")
    assert broken.code == 2
    assert VALUE not in broken.err


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def test_nobody_listens(sr: Terminal) -> None:
    """A refused connection is one line and exit code 2, for status 1."""
    address = f"http://127.0.0.1:{closed_port()}"
    result = sr("read", f"-address={address}", "sys/x")
    assert (result.code, result.err) == (2, f"Error reading sys/x: GET {address}/v1/sys/x: connection refused\n")
    assert sr("status", f"-address={address}").code == 1


@contextlib.contextmanager
def raw_server(family: socket.AddressFamily, place: object, answer: bytes) -> Iterator[list[bytes]]:
    """A socket that gives every connection the same bytes."""
    received: list[bytes] = []
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(place)  # type: ignore[arg-type]
        listener.listen()
        listener.settimeout(10)
        received.append(str(listener.getsockname()).encode())

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield received
        thread.join(10)


def test_unix_sockets(sr: Terminal, tmp_path: Path) -> None:
    """An address may be a unix socket."""
    body = b'{"data": {"a": "b"}}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    place = str(tmp_path / "node.sock")
    with raw_server(socket.AF_UNIX, place, answer) as received:
        assert sr("read", "-field=a", f"-address=unix://{place}", "sys/x").out == "b"
        assert received[1].startswith(b"GET /v1/sys/x HTTP/1.1\r\n")


@pytest.mark.parametrize("answer", [b"\x15\x03\x03\x00", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"])
def test_what_is_no_http(sr: Terminal, tmp_path: Path, answer: bytes) -> None:
    """Garbage and answers that end too early are one line and exit code 2."""
    place = str(tmp_path / "node.sock")
    with raw_server(socket.AF_UNIX, place, answer):
        result = sr("read", f"-address=unix://{place}", "sys/x")
    assert result.code == 2
    assert result.err.count("\n") == 1


def test_a_proxy_is_used_only_when_vault_variables_name_it(node: FakeNode, sr: Terminal) -> None:
    """HTTP_PROXY is ignored, VAULT_HTTP_PROXY is not: the fake serves as a proxy for a name that does not resolve."""
    node.data("GET sys/x", {"a": "b"})
    sr.environ["HTTP_PROXY"] = "http://127.0.0.1:1"
    assert sr("read", "sys/x").code == 0
    sr.environ["VAULT_HTTP_PROXY"] = node.address
    assert sr("read", "-address=http://node.invalid:8200", "-field=a", "sys/x").out == "b"


@pytest.mark.parametrize("address", ["node:8200", "ftp://node", "http://", "http://node:port", "unix://"])
def test_addresses_that_are_none(sr: Terminal, address: str) -> None:
    """They are wrong usage, not a failed request."""
    result = sr("read", f"-address={address}", "sys/x")
    assert result.code == 1
    assert "address of the server" in result.err


def test_output_curl_string(node: FakeNode, sr: Terminal) -> None:
    """One curl line that asks for the token when it is run; only the kv preflight is sent."""
    node.mount("secret", 2, "app")
    result = sr("kv", "put", "-output-curl-string", "secret/app", "a=it's")
    assert result.code == 0
    assert result.out == (
        "curl -X PUT -H \"X-Vault-Token: $(strongroom print token)\" -H 'X-Vault-Request: true' "
        "-H 'Content-Type: application/json' "
        '-d \'{"data":{"a":"it\'"\'"\'s"},"options":{}}\' '
        f"{node.address}/v1/secret/data/app\n"
    )
    assert [one.method for one in node.received] == ["GET"]


def test_output_policy(node: FakeNode, sr: Terminal) -> None:
    """The policy names the path, the capability of the method, and sudo where it is needed."""
    assert sr("list", "-output-policy", "secret/metadata").out == (
        'path "secret/metadata/" {\n  capabilities = ["list"]\n}\n'
    )
    assert 'capabilities = ["create", "update", "sudo"]' in sr("operator", "seal", "-output-policy").out
    assert node.received == []


def test_a_wrapped_answer(node: FakeNode, sr: Terminal) -> None:
    """Keys of a wrapping token end in a colon."""
    wrap = {"token": "hvs.w", "accessor": "acc", "ttl": 300, "creation_time": "2026", "creation_path": "sys/x"}
    node.on("GET sys/x", envelope(None, wrap_info=wrap))
    assert sr("read", "-wrap-ttl=5m", "sys/x").out == (
        "Key                              Value\n"
        "---                              -----\n"
        "wrapping_token:                  hvs.w\n"
        "wrapping_accessor:               acc\n"
        "wrapping_token_ttl:              5m\n"
        "wrapping_token_creation_time:    2026\n"
        "wrapping_token_creation_path:    sys/x\n"
    )
    assert sr("read", "-field=wrapping_token", "-wrap-ttl=5m", "sys/x").out == "hvs.w"
