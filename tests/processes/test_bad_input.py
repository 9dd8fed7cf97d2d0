"""What clients must not send: 4xx with the documented error body, no secret told, and the next request is served."""

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.processes.cluster import Node, dev_server, free_ports, node_config
from tests.processes.routes import walk
from tests.processes.wire import NO_ANSWER, RawReply, Wire, ask, head, rss_bytes, trickle

pytestmark = pytest.mark.processes

CANARY: Final = "canary8f1d2c"
TOKEN: Final = ("X-Vault-Token", "root")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One dev server for all tests; at the end its log holds no traceback, no failed request and no canary."""
    with dev_server(tmp_path_factory.mktemp("bad_input")) as server:
        made = server.call("POST", "sys/mounts/v1", {"type": "kv", "options": {"version": "1"}}, token="root")
        assert made.status == 204
        for method in ("approle", "userpass"):
            assert server.call("POST", f"sys/auth/{method}", {"type": method}, token="root").status == 204
        yield server
        require_quiet(server)


def require_quiet(server: Node) -> None:
    """The server lives and its log shows no bug and no secret."""
    assert server.process is not None and server.process.poll() is None
    assert "Traceback" not in server.log and "failed:" not in server.log, server.log[-3000:]
    assert CANARY not in server.log


def require_refused(server: Node, reply: RawReply, *statuses: int) -> None:
    """A 4xx (or exactly one of these) with the documented body and headers; and the server serves the next request."""
    assert reply.status in statuses if statuses else 400 <= reply.status < 500, reply
    assert isinstance(reply.json["errors"], list) and set(reply.json) == {"errors"}, reply.body
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    assert CANARY not in reply.body.decode()
    assert server.call("GET", "sys/health").status == 200


def post(path: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    """A whole POST with the root token."""
    return head("POST", path, (TOKEN, ("Content-Length", str(len(body))), *headers)) + body


# -- bodies


def test_body_over_the_limit(node: Node) -> None:
    """A Content-Length over max_request_size is refused before the body is read."""
    before = rss_bytes(node.process.pid) if node.process else 0
    with Wire(node.api_port) as wire:
        wire.send(head("POST", "/v1/secret/data/a", (TOKEN, ("Content-Length", str(1 << 40)))))
        require_refused(node, wire.receive(), 413)
    assert node.process is not None
    assert rss_bytes(node.process.pid) - before < 10_000_000


def test_chunked_body_over_the_limit(node: Node) -> None:
    """A body that says nothing of its length is cut off at the same limit."""
    with Wire(node.api_port) as wire:
        wire.send(head("POST", "/v1/secret/data/a", (TOKEN, ("Transfer-Encoding", "chunked"))))
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(33):
            wire.send(chunk)
        reply = wire.receive()
    if reply is not NO_ANSWER:
        require_refused(node, reply, 413)
    assert node.process is not None
    assert rss_bytes(node.process.pid) < 350_000_000


LYING: Final[dict[str, tuple[bytes, tuple[int, ...]]]] = {
    "negative": (head("POST", "/v1/secret/data/a", (("Content-Length", "-1"),)), (400,)),
    "no number": (head("POST", "/v1/secret/data/a", (("Content-Length", "ten"),)), (400,)),
    "twice": (head("POST", "/v1/secret/data/a", (("Content-Length", "2"), ("Content-Length", "3"))) + b"{} ", (400,)),
    "and chunked": (
        head("POST", "/v1/secret/data/a", (("Content-Length", "2"), ("Transfer-Encoding", "chunked"))) + b"0\r\n\r\n",
        (400,),
    ),
    "bad chunk": (head("POST", "/v1/secret/data/a", (("Transfer-Encoding", "chunked"),)) + b"zz\r\n{}", (400,)),
    "unknown coding": (head("POST", "/v1/secret/data/a", (("Transfer-Encoding", "zip"),)) + b"{}", (400,)),
}


@pytest.mark.parametrize("lie", LYING)
def test_lying_length(node: Node, lie: str) -> None:
    """Lengths that contradict themselves are refused: they are how requests are smuggled."""
    data, statuses = LYING[lie]
    require_refused(node, ask(node.api_port, data), *statuses)


def test_body_shorter_than_its_length(node: Node) -> None:
    """A client that hangs up within its body has written nothing."""
    with Wire(node.api_port) as wire:
        wire.send(head("POST", "/v1/secret/data/short", (TOKEN, ("Content-Length", "1000"))) + b'{"data":{"a":1}}')
    assert node.call("GET", "secret/data/short", token="root").status == 404


BODIES: Final[dict[str, bytes]] = {
    "nested lists": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"data":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    "unclosed": b"[" * 1_000_000,
    "wide object": b'{"data":{' + b",".join(b'"%d":1' % i for i in range(150_000)) + b"}}",
    "wide list": b'{"data":{"a":[' + b"1," * 2_000_000 + b"1]}}",
    "not JSON": f"{CANARY}=1".encode(),
    "half": f'{{"data": {{"a": "{CANARY}'.encode(),
    "a list": f'["{CANARY}"]'.encode(),
    "a string": f'"{CANARY}"'.encode(),
    "a number": b"42",
    "invalid UTF-8": b'{"data":{"a":"\xff\xfe"}}',
    "lone surrogate": b'{"data":{"a":"\\ud800"}}',
    "lone surrogate beside a long number": b'{"data":{"a":"\\ud800","b":12345678901234567890}}',
    "NaN beside a long number": b'{"data":{"a":NaN,"b":12345678901234567890}}',
    "infinite beside a long number": b'{"data":{"a":1e999,"b":12345678901234567890}}',
    "NaN": b'{"data":{"a":NaN}}',
    "huge number": b'{"data":{"a":1' + b"0" * 5000 + b"}}",
    "huge exponent": b'{"data":{"a":1e999999}}',
    "trailing": b'{"data":{}} {"data":{}}',
    "no data": b"{}",
    "BOM": b'\xef\xbb\xbf{"data":{}}',
    "NUL": b"\x00" * 100,
    "gzip": gzip.compress(b'{"data":{"a":1}}'),
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_bodies(node: Node, name: str) -> None:
    """Not an object, too deep, too wide, not JSON: 400, and not a byte of it is repeated."""
    reply = ask(node.api_port, post("/v1/secret/data/body", BODIES[name]))
    require_refused(node, reply)


def test_large_numbers_come_back_as_they_were(node: Node) -> None:
    """An integer beyond 64 bits is data like any other, in every engine and through wrapping."""
    data = {"a": 1 << 80, "b": -(1 << 100), "c": 12345678901234567890, "d": 0.1}
    assert node.call("POST", "secret/data/large", {"data": data}, token="root").status == 200
    assert node.call("GET", "secret/data/large", token="root").json["data"]["data"] == data
    for path in ("v1/large", "cubbyhole/large"):
        assert node.call("POST", path, data, token="root").status == 204
        assert node.call("GET", path, token="root").json["data"] == data
    wrapped = node.call("POST", "sys/wrapping/wrap", data, token="root", headers={"X-Vault-Wrap-TTL": "60"})
    token = wrapped.json["wrap_info"]["token"]
    assert node.call("POST", "sys/wrapping/unwrap", token=token).json["data"] == data


def test_gzip_bomb(node: Node) -> None:
    """A compressed body is not unpacked: ten megabytes of zeros in ten kilobytes are ten kilobytes of bad JSON."""
    bomb = gzip.compress(b" " * 50_000_000)
    reply = ask(node.api_port, post("/v1/secret/data/a", bomb, ("Content-Encoding", "gzip")))
    require_refused(node, reply)
    assert node.process is not None
    assert rss_bytes(node.process.pid) < 350_000_000


WRONG: Final[tuple[Any, ...]] = (
    CANARY,
    "",
    -1,
    0,
    1 << 70,
    -(1 << 70),
    1.5,
    1e300,
    True,
    [],
    [CANARY],
    [[CANARY]],
    [{"a": 1}],
    {},
    {CANARY: CANARY},
    {"a": {"b": [None]}},
    "x" * 20_000,
    "99999999999999999999h",
    "-5m",
    "a\x00b",
    "é\u202e",
)


def test_wrong_types_in_every_field_of_every_route(node: Node) -> None:
    """No value of any field of any route makes a 5xx, or comes back whole in an error."""
    sent = 0
    seen: list[tuple[str, str, str, int, bytes]] = []
    for path, method, fields in walk(node):
        target = path.removeprefix("/").replace("{", "").replace("}", "")
        if target.startswith("sys/quotas/"):
            continue  # a limit that is written here would refuse all the rest; tests/node/quotas has them
        mime = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        bodies: list[Any] = [{name: value} for name in fields for value in WRONG] or [{"x": CANARY}]
        bodies += [dict.fromkeys(fields, value) for value in WRONG] if len(fields) > 1 else []
        for body in bodies:
            if method in ("GET", "DELETE"):
                body = None
            reply = node.call(method, target, body, token="root", headers=mime)
            sent += 1
            # A missing thing may carry data beside its 404.
            undocumented = reply.status >= 400 and reply.status != 404 and "errors" not in reply.json
            if reply.status >= 500 or undocumented or (len(reply.body) > 10_000 and reply.status >= 400):
                seen.append((method, target, str(body)[:100], reply.status, reply.body[:200]))
            if method in ("GET", "DELETE"):
                break
    assert not seen, f"{len(seen)} of {sent}: {seen[:30]}"
    assert sent > 1000
    assert node.call("GET", "sys/health").status == 200
    require_quiet(node)


# -- methods and paths


@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "PROPFIND", "LOCK", "BREW", "get", "LISTEN", "SCAN", "X" * 5000]
)
def test_unknown_methods(node: Node, method: str) -> None:
    """A method that this API does not have is 405, or 400 where it is no HTTP at all."""
    target = "x:80" if method == "CONNECT" else "/v1/secret/data/a"
    reply = ask(node.api_port, head(method, target, (TOKEN,)))
    require_refused(node, reply, 400, 405)


def test_list_in_both_spellings(node: Node) -> None:
    """LIST and GET with list=true are one operation, also when its line comes in pieces or behind another request."""
    assert node.call("POST", "secret/data/list/a", {"data": {}}, token="root").status == 200
    line = head("LIST", "/v1/secret/metadata/list", (TOKEN,))
    as_get = head("GET", "/v1/secret/metadata/list?list=true", (TOKEN,))
    answers = [ask(node.api_port, line), ask(node.api_port, as_get)]
    with Wire(node.api_port) as wire:
        for i in range(0, len(line), 7):
            wire.send(line[i : i + 7])
        answers.append(wire.receive())
        wire.send(line)
        answers.append(wire.receive())
        wire.send(post("/v1/secret/data/list/b", b'{"data":{}}'))
        assert wire.receive().status == 200
        wire.send(line)
        answers.append(wire.receive())
    for reply in answers:
        assert reply.status == 200, reply
        assert "a" in reply.json["data"]["keys"]


PATHS: Final = (
    "/v1/secret/data/../../sys/seal",
    "/v1/secret/data/./a",
    "/v1/secret//data/a",
    "/v1//secret/data/a",
    "/v1/secret/data/a//",
    "/v1/secret/data/..",
    "/v1/secret/data/%2e%2e/x",
    "/v1/secret/data/%2E%2e/x",
    "/v1/secret/data/a%2fb",
    "/v1/secret/data/a%2Fb",
    "/v1/secret/data/a%5cb",
    "/v1/secret/data/%00",
    "/v1/secret/data/a%0d%0aX:%20y",
    "/v1/secret/data/%1b[31m",
    "/v1/secret/data/%7f",
    "/v1/secret/data/%ff%fe",
    "/v1/secret/data/%c0%ae%c0%ae/x",
    "/v1/secret/data/%ed%a0%80",
    "/v1/secret/data/%",
    "/v1/secret/data/%zz",
    "/v1/secret/data/%e2%80%ae",
    "/v1/secret/data/a\\b",
    "/v1/secret/data/" + "a" * 5000,
    "/v1/secret/data/" + "a/" * 30_000,
    "/v1/" + "%61" * 20_000,
    "/v1/secret/data/a?" + "x" * 65_536,
    "/v1/secret/data/a?version=%zz%ff",
    "/v1/secret/data/a?" + "&".join(f"a{i}=1" for i in range(2000)),
    "/v1",
    "/v1/",
    "/",
    "/v2/secret/data/a",
    "//v1/secret/data/a",
    "http://127.0.0.1/../v1/x",
    "*",
    "secret/data/a",
    "/v1/sys/../secret/data/a",
    "/v1/sys/health/..",
    "/v1/sys//health",
    "/v1/sys/%68ealth%00",
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
@pytest.mark.parametrize("method", ["GET", "LIST", "POST", "DELETE"])
def test_bad_paths(node: Node, path: str, method: str) -> None:
    """A path of two spellings, with control characters or without end is 4xx, for every method (CVE-2026-3605)."""
    extra = (("Content-Length", "11"),) if method == "POST" else ()
    body = b'{"data":{}}' if method == "POST" else b""
    require_refused(node, ask(node.api_port, head(method, path, (TOKEN, *extra)) + body))


RAW: Final[dict[str, bytes]] = {
    "UTF-8 in the path": b"GET /v1/secret/data/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "control in the path": b"GET /v1/secret/\x01data HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the path": b"GET /v1/sec\x00ret HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /v1/sys/health\r\n\r\n",
    "version 9": b"GET /v1/sys/health HTTP/9.9\r\nHost: x\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "garbage": bytes(range(256)) + b"\r\n\r\n",
    "header without colon": f"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n{CANARY}\r\n\r\n".encode(),
    "header with NUL": f"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {CANARY}\0\r\n\r\n".encode(),
    "folded header": b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "space before colon": b"GET /v1/sys/health HTTP/1.1\r\nHost : x\r\n\r\n",
    "huge header": b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100_000 + b"\r\n",
    "endless line": b"GET /" + b"a" * 300_000,
    "two hosts": b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "list without end": b"LIST " + b"a" * 300_000,
}


@pytest.mark.parametrize("name", RAW)
def test_bad_heads(node: Node, name: str) -> None:
    """What is no HTTP is 400 or cut off, and never repeated."""
    reply = ask(node.api_port, RAW[name])
    if reply.status in (0, 200):
        # Where the head is so long that the answer is lost in it, or HTTP leaves the choice to the server.
        assert name in (
            "no version",
            "many headers",
            "huge header",
            "endless line",
            "list without end",
            "two hosts",
            "folded header",
        )
        assert node.call("GET", "sys/health").status == 200
    else:
        require_refused(node, reply)


def test_http_1_0_and_missing_host(node: Node) -> None:
    """HTTP/1.0 is served and the connection closed; a missing Host is no reason to fail."""
    with Wire(node.api_port) as wire:
        wire.send(b"GET /v1/sys/health HTTP/1.0\r\n\r\n")
        assert wire.receive().status == 200
        assert wire.is_closed()
    assert ask(node.api_port, b"GET /v1/sys/health HTTP/1.1\r\n\r\n").status in (200, 400)


def test_expect_continue(node: Node) -> None:
    """A client that asks first is told to go on; one with another expectation is refused."""
    body = b'{"data":{"a":1}}'
    with Wire(node.api_port) as wire:
        wire.send(
            head(
                "POST",
                "/v1/secret/data/expect",
                (TOKEN, ("Content-Length", str(len(body))), ("Expect", "100-continue")),
            )
        )
        assert wire.receive().status == 100
        wire.send(body)
        assert wire.receive().status == 200
    wrong = (TOKEN, ("Content-Length", "2"), ("Expect", "miracles"))
    assert ask(node.api_port, head("POST", "/v1/secret/data/expect", wrong) + b"{}").status < 500


def test_head_requests(node: Node) -> None:
    """HEAD has a status and no body."""
    reply = ask(node.api_port, head("HEAD", "/v1/sys/health"), has_body=False)
    assert reply.status == 200
    assert ask(node.api_port, head("HEAD", "/v1/secret/data/a", (TOKEN,)), has_body=False).status < 500


def test_options_requests(node: Node) -> None:
    """A browser's question across origins gets an answer that allows nothing, and breaks nothing."""
    origin = (("Origin", "https://evil.example"), ("Access-Control-Request-Method", "PUT"))
    reply = ask(node.api_port, head("OPTIONS", "/v1/sys/health", origin))
    assert reply.status < 500 and "access-control-allow-origin" not in reply.headers
    assert node.call("GET", "sys/health").status == 200


def test_pipelined_requests(node: Node) -> None:
    """Requests sent in one piece are answered in their order; one that is no HTTP among them ends the connection."""
    one = head("GET", "/v1/sys/health")
    with Wire(node.api_port) as wire:
        wire.send(one * 20 + head("GET", "/v1/sys/%00") + one)
        assert [wire.receive().status for _ in range(22)] == [200] * 20 + [400, 200]
    with Wire(node.api_port) as wire:
        wire.send(one * 3 + b"nonsense\r\n\r\n" + one)
        while (reply := wire.receive()).status == 200:
            pass
        assert reply.status == 400
        assert wire.is_closed()
    assert node.call("GET", "sys/health").status == 200


def test_half_closed_socket(node: Node) -> None:
    """A client that will send no more is answered or cut off, and costs nothing."""
    with Wire(node.api_port) as wire:
        wire.send(head("GET", "/v1/sys/health"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.receive().status in (0, 200)
        assert wire.is_closed()
    assert node.call("GET", "sys/health").status == 200


def test_client_gone_within_a_write(node: Node) -> None:
    """A client that does not wait for the answer leaves a write that happened or did not, and no trace in the log."""
    for i in range(50):
        with Wire(node.api_port) as wire:
            wire.send(post(f"/v1/secret/data/gone{i}", b'{"data":{"a":1}}'))
    for i in range(50):
        assert node.call("GET", f"secret/data/gone{i}", token="root").status in (200, 404)
    require_quiet(node)


def test_ignored_headers(node: Node) -> None:
    """Headers that clients of this API send and this server needs not are taken as they are."""
    headers = {"X-Vault-Request": "true", "X-Vault-No-Request-Forwarding": "1", "X-Vault-Policy-Override": "maybe"}
    assert node.call("GET", "sys/mounts", token="root", headers=headers).status == 200
    wrap = {"X-Vault-Wrap-TTL": CANARY}
    reply = node.call("GET", "sys/mounts", token="root", headers=wrap)
    assert reply.status == 400 and CANARY not in reply.body.decode()


# -- slow clients


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """An uninitialised node that waits one second for headers and for bodies."""
    folder = tmp_path_factory.mktemp("impatient")
    api, cluster_port = free_ports(2)
    config = node_config(folder, "slow", api, cluster_port).replace(
        "tls_disable = true", 'tls_disable = true\n  http_read_header_timeout = "1s"\n  http_read_timeout = "1s"'
    )
    made = Node("slow", folder, api, cluster_port, config)
    try:
        made.start()
        yield made
    finally:
        made.kill()


def test_slow_headers(impatient: Node) -> None:
    """Headers that drip in are cut off, the first ones and those of a later request, while others are served."""
    with Wire(impatient.api_port) as wire:
        assert trickle(wire, head("GET", "/v1/sys/health") * 10, 0.1, 8), "a first request may drip for ever"
    with Wire(impatient.api_port) as wire:
        wire.send(head("GET", "/v1/sys/seal-status"))
        assert wire.receive().status == 200
        assert trickle(wire, head("GET", "/v1/sys/seal-status", (("X", "y" * 500),)), 0.1, 8), "a later one may"
    silent = [Wire(impatient.api_port) for _ in range(200)]
    assert impatient.call("GET", "sys/seal-status").status == 200
    assert all(wire.is_closed() for wire in silent)


@pytest.mark.parametrize("length", [100, 1_000_000])
def test_slow_body(impatient: Node, length: int) -> None:
    """A body that does not come is given up after http_read_timeout."""
    with Wire(impatient.api_port) as wire:
        wire.socket.settimeout(10)
        wire.send(head("POST", "/v1/sys/unseal", (("Content-Length", str(length)),)) + b"{")
        reply = wire.receive()
        assert reply.status in (0, 408), reply
    assert impatient.call("GET", "sys/seal-status").status == 200


# -- what is told to whom


def test_cve_2020_25594_mounts_are_not_told(node: Node) -> None:
    """CVE-2020-25594: without a token existing and invented mounts and paths answer the same, for every method."""
    for method in ("GET", "LIST", "POST", "DELETE", "PATCH"):
        answers = set()
        for path in ("secret/data/a", "secret/nonsense", "v1/a", "invented/data/a", "cubbyhole/a", "sys/mounts", "x"):
            mime = {"Content-Type": "application/merge-patch+json"}
            for token in ("", "wrong", "hvs.CAESIJ"):
                body = {"data": {"a": "b"}} if method in ("POST", "PATCH") else None
                reply = node.call(method, path, body, token=token, headers=mime)
                kept = {name: value for name, value in reply.headers.items() if name != "Date"}
                answers.add((reply.status, reply.body, tuple(sorted(kept.items()))))
        assert len(answers) == 1, answers
        assert answers.pop()[:2] == (403, b'{"errors":["permission denied"]}\n')


def test_cve_2021_3024_addresses_are_not_told(node: Node) -> None:
    """CVE-2021-3024: no error of an unauthenticated request holds an address or the name of the machine."""
    own = [str(node.api_port), "127.0.0.1", socket.gethostname(), str(node.folder)]
    requests = [head("GET", path) for path in PATHS[:20]] + list(RAW.values())
    requests += [head("POST", "/v1/sys/unseal", (("Content-Length", "1"),)) + b"{"]
    requests += [head("GET", "/v1/secret/data/a"), head("BREW", "/v1/x"), head("GET", "/v1/sys/nothing")]
    for data in requests:
        reply = ask(node.api_port, data)
        said = reply.body.decode() + " ".join(f"{name}: {value}" for name, value in reply.headers.items())
        assert not any(name in said for name in own), (data[:80], said)


def test_every_answer_is_not_stored(node: Node) -> None:
    """Cache-Control: no-store on successes, errors and what aiohttp itself refuses (CVE-2021-38554)."""
    requests = [head("GET", "/v1/sys/health"), head("GET", "/v1/x"), head("OPTIONS", "/v1/x"), head("BREW", "/v1/x")]
    requests += [b"nonsense\r\n\r\n", post("/v1/secret/data/c", b'{"data":{}}'), post("/v1/sys/mounts/c", b"{")]
    requests += [head("DELETE", "/v1/secret/data/c", (TOKEN,)), head("GET", "/v1/sys/mounts", (TOKEN,))]
    for data in requests:
        reply = ask(node.api_port, data)
        assert reply.headers["cache-control"] == "no-store", (data[:60], reply)


def test_canaries_stay_unsaid(node: Node) -> None:
    """A secret in a field, a token, a header or a path that is refused is in no error and not in the log."""
    token = f"hvs.{CANARY}"
    tries: list[tuple[str, str, object, dict[str, str]]] = [
        ("GET", "secret/data/a", None, {"X-Vault-Token": token}),
        ("GET", "secret/data/a", None, {"Authorization": f"Bearer {token}"}),
        ("GET", "secret/data/a", None, {"Authorization": f"Basic {CANARY}"}),
        ("GET", "secret/data/a", None, {"X-Vault-Token": token + "\t\u00e9".encode().decode("latin-1")}),
        ("POST", "auth/token/lookup", {"token": token}, {"X-Vault-Token": "root"}),
        ("POST", "auth/token/revoke", {"token": token}, {"X-Vault-Token": "root"}),
        ("POST", "auth/token/create", {"ttl": CANARY}, {"X-Vault-Token": "root"}),
        ("POST", "sys/unseal", {"key": CANARY}, {}),
        ("POST", "sys/init", {"secret_shares": CANARY}, {}),
        ("POST", "sys/wrapping/unwrap", {"token": token}, {"X-Vault-Token": "root"}),
        ("POST", "sys/wrapping/lookup", {"token": token}, {}),
        ("POST", "secret/data/a", {"data": CANARY}, {"X-Vault-Token": "root"}),
        ("POST", "secret/data/a", {"options": {"cas": CANARY}, "data": {"a": CANARY}}, {"X-Vault-Token": "root"}),
        ("POST", "sys/policies/acl/c", {"policy": f'path "{CANARY}'}, {"X-Vault-Token": "root"}),
        ("POST", "sys/storage/raft/join", {"leader_client_key": CANARY}, {}),
        ("POST", "sys/mounts/c", {"type": "kv", "config": {"max_lease_ttl": CANARY}}, {"X-Vault-Token": "root"}),
    ]
    for method, path, body, headers in tries:
        reply = node.call(method, path, body, headers=headers)
        assert CANARY not in reply.body.decode(), (path, reply.body)
        assert reply.status < 500, (path, reply.body)
    require_quiet(node)


def test_memory_stays_bounded(node: Node) -> None:
    """After a thousand refused requests with megabytes of junk the process is not much larger than before."""
    assert node.process is not None
    junk = BODIES["wide list"]
    ask(node.api_port, post("/v1/secret/data/m", junk))
    before = rss_bytes(node.process.pid)

    def one(i: int) -> int:
        kinds: list[Callable[[], bytes]] = [
            lambda: post("/v1/secret/data/m", junk),
            lambda: head("GET", f"/v1/secret/data/{i}"),
            lambda: head("GET", "/v1/" + "a" * 8000),
            lambda: post(f"/v1/auth/token/lookup{i}", json.dumps({"token": "x" * 1000}).encode()),
            lambda: head("GET", "/v1/secret/data/a", (("X-Vault-Token", f"hvs.{i}" * 50),)),
        ]
        return ask(node.api_port, kinds[i % len(kinds)]()).status

    with ThreadPoolExecutor(4) as pool:
        assert all(400 <= status < 500 for status in pool.map(one, range(1000)))
    assert rss_bytes(node.process.pid) - before < 60_000_000
