"""Random requests to a real server: whatever comes, the answer is a documented one and the process lives."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.errors import BadRequest
from node.paths import canonical_path
from tests.node.policy.model import Rules, allows
from tests.processes.cluster import Node, dev_server
from tests.processes.routes import walk
from tests.processes.wire import ask, head

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A dev server with one of every engine."""
    with dev_server(tmp_path_factory.mktemp("fuzz")) as server:
        server.call("POST", "sys/mounts/v1", {"type": "kv"}, token="root")
        for method in ("approle", "userpass"):
            server.call("POST", f"sys/auth/{method}", {"type": method}, token="root")
        yield server


# What would end the server or the token: these do what they say.
_ENDINGS: Final = ("seal", "step-down", "revoke-self", "unseal", "remove-peer", "restore")

words = st.sampled_from(
    (
        *("secret", "data", "metadata", "config", "delete", "undelete", "destroy", "subkeys", "v1", "cubbyhole", "a"),
        *("sys", "mounts", "auth", "token", "create", "lookup", "accessors", "roles", "policies", "acl", "leases"),
        *(
            "wrapping",
            "wrap",
            "unwrap",
            "tools",
            "random",
            "hash",
            "internal",
            "ui",
            "health",
            "init",
            "leader",
            "tune",
        ),
        *("approle", "role", "secret-id", "login", "userpass", "users", "capabilities", "remount", "audit", "storage"),
        *("raft", "configuration", "bootstrap", "challenge", "answer", "identity", "invented", "lookup-self", "raw"),
    )
)
segments = words | st.text(max_size=12) | st.sampled_from(("", ".", "..", "%2f", "%00", "%", "*", "+", "{{x}}", "é"))
paths = st.lists(segments, max_size=6).map("/".join)
methods = st.sampled_from(("GET", "LIST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"))
names = st.text(max_size=8) | st.sampled_from(
    (
        *("data", "options", "cas", "versions", "type", "config", "path", "ttl", "period", "policies", "policy", "id"),
        *("token", "accessor", "key", "max_versions", "delete_version_after", "custom_metadata", "from", "to", "input"),
        *("bytes", "format", "role_id", "secret_id", "password", "username", "meta", "num_uses", "lease_id", "prefix"),
        *("increment", "bound_cidrs", "token_bound_cidrs", "cidr_list", "description", "default_lease_ttl", "list"),
    )
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(("1h", "-1s", "root", "kv", "2", "10.0.0.0/8", "true", "0"))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
bodies = st.dictionaries(names, values, max_size=6).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60)
tokens = st.sampled_from(("root", "", "wrong", "hvs.AAAA", "hvb.AAAA"))
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
headers = st.dictionaries(
    st.sampled_from(("X-Vault-Wrap-TTL", "X-Vault-Namespace", "Content-Type", "Authorization", "X-Vault-Request")),
    header_values | st.sampled_from(("60", "application/merge-patch+json", "Bearer root")),
    max_size=2,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=methods, path=paths, body=bodies, token=tokens, extra=headers, query=st.text(max_size=15) | st.just(""))
def test_random_requests(
    node: Node, method: str, path: str, body: bytes, token: str, extra: dict[str, str], query: str
) -> None:
    """No request ends in a 5xx, in silence, or in a body that is neither JSON nor empty."""
    if any(ending in path for ending in _ENDINGS):
        return
    target = "/v1/" + path.replace(" ", "%20").replace("\r", "").replace("\n", "")
    target += "?" + "".join(query.split()) if query else ""
    given_headers: list[tuple[str, str]] = [("X-Vault-Token", token), ("Connection", "close"), *extra.items()]
    sent = body if method not in ("GET", "LIST", "HEAD") else b""
    data = head(method, target, [*given_headers, ("Content-Length", str(len(sent)))]) + sent
    reply = ask(node.api_port, data, has_body=method != "HEAD")
    assert 200 <= reply.status < 500, reply
    assert reply.headers["cache-control"] == "no-store"
    if reply.body and reply.headers["content-type"] == "application/json":
        decoded: Any = reply.json
        assert reply.status < 400 or reply.status == 404 or list(decoded) == ["errors"]
    assert node.process is not None and node.process.poll() is None


@pytest.fixture(scope="module")
def routes(node: Node) -> list[tuple[str, str, list[str]]]:
    """What there is to ask."""
    return [route for route in walk(node) if not any(ending in route[0] for ending in _ENDINGS)]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_fields(node: Node, routes: list[tuple[str, str, list[str]]], data: st.DataObject) -> None:
    """Nor does any route, whatever several of its fields hold at once."""
    path, method, fields = data.draw(st.sampled_from(routes))
    name = data.draw(st.sampled_from(("a", "b", "secret", "root", "default", "approle", "a/b")))
    target = path.removeprefix("/").replace("{path}", name).replace("{name}", name).replace("{", "").replace("}", "")
    body = data.draw(st.dictionaries(st.sampled_from(fields), values, max_size=6)) if fields else None
    mime = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    given_body = None if method in ("GET", "DELETE") else body or {}
    reply = node.call(method, target, given_body, token="root", headers=mime)
    assert reply.status < 500, reply


# What a token may do in the next test, in the words of tests/node/policy/model.py.
_ALL: Final = frozenset({"create", "read", "update", "patch", "delete", "list"})
_RULES: Final[Rules] = (
    ("secret/data/open/*", _ALL),
    ("secret/data/open/shut", frozenset({"deny"})),
    ("secret/metadata/open/+", frozenset({"list", "read"})),
    ("sys/+/acl/open*", frozenset({"read", "update"})),
    ("sys/mounts", frozenset({"read"})),
    ("v1/*", frozenset({"read"})),
    ("v1/a/*", frozenset({"deny"})),
)
_OPERATIONS: Final = {"GET": ("read",), "LIST": ("list",), "PATCH": ("patch",), "DELETE": ("delete",)}
# Served without a token, so no policy is asked.
_OPEN: Final = ("sys/health", "sys/seal-", "sys/leader", "sys/init", "sys/internal/", "sys/wrapping/", "auth/")
policed = st.sampled_from(
    (
        *("secret", "data", "metadata", "open", "shut", "a", "b", "sys", "policies", "acl", "mounts", "v1", "config"),
        *("..", ".", "", "OPEN", "Shut", "open%20", "%6fpen", "open%2fshut", "open%00", "cubbyhole", "identity"),
    )
)
policed_paths = st.builds(
    "/".join,
    st.tuples(st.sampled_from(("secret/data", "secret/metadata", "sys/policies/acl", "sys", "v1"))).flatmap(
        lambda first: st.lists(policed, max_size=3).map(lambda rest: [*first, *rest])
    ),
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server of its own: what root did at random to the other one (mounts removed, for one) proves nothing here."""
    with dev_server(tmp_path_factory.mktemp("guarded")) as server:
        yield server


@pytest.fixture(scope="module")
def limited(guarded: Node) -> str:
    """A token that may do what _RULES say and nothing else."""

    def post(path: str, body: dict[str, Any]) -> Any:
        reply = guarded.call("POST", path, body, token="root")
        assert reply.status in (200, 204), (path, reply)
        return reply

    post("sys/mounts/v1", {"type": "kv"})
    rules = (f'path "{path}" {{ capabilities = {json.dumps(sorted(names))} }}' for path, names in _RULES)
    post("sys/policies/acl/limited", {"policy": "\n".join(rules)})
    for path in ("open/a", "open/shut", "shut", "a"):
        post(f"secret/data/{path}", {"data": {"a": 1}})
        post(f"v1/{path}", {"a": 1})
    created = post("auth/token/create", {"policies": ["limited"], "no_default_policy": True, "ttl": "1h"})
    token: str = created.json["auth"]["client_token"]
    return token


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=policed_paths, method=st.sampled_from(("GET", "LIST", "POST", "PUT", "PATCH", "DELETE")))
def test_no_path_is_reached_without_its_policy(guarded: Node, limited: str, path: str, method: str) -> None:
    """Whatever is served was allowed by a slow model of the policy; all else is "permission denied" and no more."""
    mime = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    body = None if method in ("GET", "LIST", "DELETE") else {"data": {"a": 2}, "policy": ""}
    reply = guarded.call(method, path, body, token=limited, headers=mime)
    assert reply.status < 500, reply
    try:
        meant = canonical_path(path)
    except BadRequest:
        assert reply.status == 400, (path, reply)
        return
    operations = _OPERATIONS.get(method, ("create", "update"))
    if meant.startswith(_OPEN) or any(allows([_RULES], operation, meant) for operation in operations):
        return
    if reply.status == 400:  # the one thing that is told before policy: no path that ends in "/" can be written to
        assert path.endswith("/") and reply.json == {"errors": ["cannot write to a path ending in '/'"]}, (path, reply)
    else:
        assert (reply.status, reply.json) == (403, {"errors": ["permission denied"]}), (method, path, reply)


def test_what_was_denied_is_as_it_was(guarded: Node, limited: str) -> None:
    """Nor was anything changed that the token may not change."""
    for path in ("open/shut", "shut", "a"):
        assert guarded.call("GET", f"secret/data/{path}", token="root").json["data"]["data"] == {"a": 1}
    for path in ("open/a", "open/shut", "shut", "a"):
        assert guarded.call("GET", f"v1/{path}", token="root").json["data"] == {"a": 1}
    assert guarded.call("GET", "sys/policies/acl/default", token="root").status == 200


def test_nothing_was_logged_as_a_bug(node: Node, guarded: Node) -> None:
    """After all that the servers serve, and their logs know of no failed request."""
    for server in (node, guarded):
        assert server.call("GET", "sys/health").status == 200
        assert "Traceback" not in server.log and "failed:" not in server.log, server.log[-3000:]
