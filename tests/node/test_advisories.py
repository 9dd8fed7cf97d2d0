"""Published weaknesses of servers of this kind that concern the whole way of a request. docs/security.md lists all."""

import ast
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from engines.common.context import Caller
from engines.common.errors import EngineError
from engines.common.frame import Operation, Route
from node.ceremonies.open_paths import OPEN
from node.errors import NodeError
from node.local_api import LOCAL
from node.request import WireRequest, parse
from tests.node.live import ROOT, Live, live

ROOT_FOLDER: Final = Path(__file__).resolve().parents[2]


@pytest.fixture
async def node() -> AsyncIterator[Live]:
    """A node with userpass (bob) and AppRole (app)."""
    async with live() as made:
        await made.users("bob")
        await made.write("sys/auth/approle", type="approle")
        await made.write("auth/approle/role/app", token_ttl="1h")
        yield made


def routes(made: Live) -> Iterator[tuple[str, Route]]:
    """Every route of every mount."""
    for path, mounted in made.node.router.by_path.items():
        for pattern in mounted.engine.table.patterns:
            for route in pattern.routes.values():
                yield path, route


# One of each kind of thing that has a name: how to make it, and where it is read and deleted.
NAMED: Final = (
    ("secret/data/foo", {"data": {"a": 1}}, "secret/data/"),
    ("sys/policies/acl/foo", {"policy": 'path "x" { capabilities = ["read"] }'}, "sys/policies/acl/"),
    (
        "sys/policies/password/foo",
        {"policy": 'length = 20\nrule "charset" { charset = "abc" }'},
        "sys/policies/password/",
    ),
    ("sys/quotas/rate-limit/foo", {"rate": 1000}, "sys/quotas/rate-limit/"),
    ("sys/mounts/foo", {"type": "kv"}, "sys/mounts/"),
    ("sys/auth/foo", {"type": "userpass"}, "sys/auth/"),
    ("auth/token/roles/foo", {"period": "1h"}, "auth/token/roles/"),
    ("auth/userpass/users/foo", {"password": "x"}, "auth/userpass/users/"),
    ("auth/approle/role/foo", {"token_ttl": "1h"}, "auth/approle/role/"),
    ("identity/entity/name/foo", {"metadata": {"a": "b"}}, "identity/entity/name/"),
    ("identity/group/name/foo", {"metadata": {"a": "b"}}, "identity/group/name/"),
)


@pytest.mark.parametrize(("path", "body", "folder"), NAMED, ids=[path for path, _, _ in NAMED])
async def test_cve_2026_89322_no_spelling_of_a_name_passes_its_denial(
    node: Live, path: str, body: dict[str, object], folder: str
) -> None:
    """CVE-2026-89322: who may touch all but `foo` reads, changes and deletes it by no other case or padding either."""
    rights = 'capabilities = ["create", "read", "update", "delete", "sudo"]'
    await node.policy("most", f'path "{folder}*" {{ {rights} }}\npath "{folder}foo" {{ capabilities = ["deny"] }}')
    owner = (await node.ok("POST", "auth/token/create", {"policies": ["most"]}))["auth"]["client_token"]
    await node.ok("POST", path, body)
    before = await node.call("GET", path, token=ROOT)
    for spelling in ("FOO", "Foo", "foo%20", "%20foo", "foo/", "foo%00", "./foo", "foo//"):
        for method in ("GET", "POST", "DELETE"):
            reply = await node.call(method, folder + spelling, body if method == "POST" else None, token=owner)
            if method == "GET" and reply.status == 200 and before.status == 200:
                assert reply.body.get("data") != before.body.get("data") or spelling in ("FOO", "Foo"), spelling
            after = await node.call("GET", path, token=ROOT)
            assert (after.status, _without_ids(after.body)) == (before.status, _without_ids(before.body)), spelling


def _without_ids(body: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name != "request_id"}


async def test_cve_2026_105820_traversal_in_policy_names(node: Live) -> None:
    """CVE-2026-105820: such a policy is not written, not attached to a token, a user, a role or an entity."""
    for name in ("../root", "a/../b", ".", "..", "a//b"):
        assert (await node.call("POST", f"sys/policies/acl/{name}", {"policy": ""})).status in (400, 404)
        for path, field in (
            ("auth/token/create", "policies"),
            ("auth/token/roles/r", "allowed_policies"),
            ("identity/entity/name/e", "policies"),
        ):
            reply = await node.call("POST", path, {field: [name]})
            assert reply.status == 400, (name, path, reply)


async def test_cve_2026_4525_no_token_reaches_an_engine(node: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-4525: whatever header brings the token and whatever a mount passes through, no engine is handed it."""
    await node.write("sys/mounts/secret/tune", passthrough_request_headers=["Authorization", "X-Vault-Token"])
    seen: list[object] = []
    unsealed = node.node
    make = unsealed.context

    def noting(*args: object, **options: object) -> object:
        context = make(*args, **options)  # type: ignore[arg-type]
        seen.append(context)
        return context

    monkeypatch.setattr(unsealed, "context", noting)
    token = (await node.ok("POST", "auth/token/create", {"ttl": "1h", "policies": ["root"]}))["auth"]["client_token"]
    seen.clear()
    for headers in ({"x-vault-token": token}, {"authorization": f"Bearer {token}"}):
        for method, path in (("GET", "secret/config"), ("POST", "auth/approle/login"), ("LIST", "auth/userpass/users")):
            await node.call(method, path, {} if method == "POST" else None, token="", **headers)
    assert len(seen) == 6
    for context in seen:
        assert token not in str(dataclasses.asdict(context.caller))  # type: ignore[attr-defined]
    assert {field.name for field in dataclasses.fields(Caller)}.isdisjoint({"headers", "authorization"})


async def test_cve_2026_46405_a_refusal_makes_no_token(node: Live) -> None:
    """CVE-2026-46405: no failing login, creation or unwrapping leaves a token behind, wrapped or not."""
    role_id = (await node.read("auth/approle/role/app/role-id"))["role_id"]
    before = len((await node.list("auth/token/accessors"))["keys"])
    tries: tuple[tuple[str, dict[str, object]], ...] = (
        ("auth/userpass/login/bob", {"password": "wrong"}),
        ("auth/userpass/login/nobody", {"password": "x"}),
        ("auth/userpass/login/bob", {"password": 7}),
        ("auth/approle/login", {"role_id": role_id, "secret_id": "wrong"}),
        ("auth/approle/login", {"role_id": "wrong"}),
        ("auth/token/create", {"ttl": "-1h"}),
        ("auth/token/create", {"type": "batch", "num_uses": 2}),
        ("auth/token/create/no-such-role", {}),
        ("sys/wrapping/unwrap", {"token": "hvs.none"}),
        ("sys/wrapping/rewrap", {"token": "hvs.none"}),
    )
    for path, body in tries:
        for headers in ({}, {"x-vault-wrap-ttl": "60"}):
            reply = await node.call("POST", path, body, token="" if "login" in path else "root", **headers)
            assert 400 <= reply.status < 500 and set(reply.body) == {"errors"}, (path, reply)
    assert len((await node.list("auth/token/accessors"))["keys"]) == before


def test_ghsa_rh46_vc3j_w2w3_clients_name_only_documented_operations() -> None:
    """GHSA-rh46-vc3j-w2w3: of all operations there are, a client names these; CREATE is what policy makes of UPDATE."""
    named = set()
    for method in (
        "GET",
        "LIST",
        "SCAN",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "HEAD",
        "OPTIONS",
        "RENEW",
        "REVOKE",
        "HELP",
    ):
        for query in ("", "list=true", "help=1", "operation=revoke"):
            wire = WireRequest(
                method=method,
                path="/v1/auth/token/x",
                query=query,
                headers={"content-type": "application/merge-patch+json"},
                body=b"{}" if method in ("POST", "PUT", "PATCH") else b"",
                client_address="127.0.0.1",
            )
            try:
                named.add(parse(wire, "").operation)
            except (NodeError, EngineError):
                continue
    assert named == set(Operation) - {Operation.CREATE}


async def test_cve_2021_27668_what_is_served_without_a_token(node: Live) -> None:
    """CVE-2021-27668: the routes that ask for no token are these, and each has its bound on size, work and state."""
    assert set(LOCAL) == {
        "sys/init",  # once; the answer goes to whoever came first, which is why it comes first
        "sys/seal-status",
        "sys/unseal",  # one collection of shares at a time, dropped on the first wrong set
        "sys/seal-backend-status",
        "sys/health",
        "sys/leader",
        "sys/storage/raft/join",  # refused once the node belongs to a cluster
    }
    open_routes = {f"{path}{route.pattern}" for path, route in routes(node) if route.unauthenticated}
    assert open_routes == {
        "sys/internal/specs/openapi",
        "sys/internal/ui/mounts",
        "sys/internal/ui/mounts/*path",
        "sys/storage/raft/bootstrap/challenge",  # a bounded number of challenges, the oldest goes (CVE-2024-8185)
        "sys/storage/raft/bootstrap/answer",
        "sys/wrapping/lookup",
        *OPEN,  # key ceremonies: one of each kind, a bounded body, and the shares are the proof
        "sys/experiments",  # says that there are none
        "auth/userpass/login/:username",
        "auth/approle/login",
    }


@pytest.mark.parametrize(
    "path", ["sys/revoke", "sys/renew", "sys/revoke-prefix/a", "sys/revoke-force/a", "sys/renew/a"]
)
async def test_cve_2026_45808_old_spellings_take_the_same_way(node: Live, path: str) -> None:
    """CVE-2026-45808: an alias of a lease path does nothing for a token that policy grants only the canonical one."""
    await node.policy("leases", 'path "sys/leases/*" { capabilities = ["create", "update", "sudo"] }')
    token = (await node.ok("POST", "auth/token/create", {"policies": ["leases"]}))["auth"]["client_token"]
    for method in ("POST", "PUT"):
        assert (await node.call(method, path, {"lease_id": "a"}, token=token)).status in (403, 404)
        assert (await node.call(method, path, {"lease_id": "a"}, token="")).status == 403


async def test_restart_then_first_request(node: Live) -> None:
    """Root cause 3: what a first request after a restart meets is all there: tokens, policies, limits, lockout, audit.

    The change of leader is in tests/processes/test_interrupted_flows.py.
    """
    await node.policy("little", 'path "secret/data/mine" { capabilities = ["read"] }')
    token = (await node.ok("POST", "auth/token/create", {"policies": ["little"], "num_uses": 2}))["auth"][
        "client_token"
    ]
    gone = (await node.ok("POST", "auth/token/create", {"ttl": "1h"}))["auth"]["client_token"]
    await node.ok("POST", "auth/token/revoke", {"token": gone})
    for _ in range(5):
        await node.call("POST", "auth/userpass/login/bob", {"password": "wrong"}, token="")
    checks = (
        (403, "GET", "secret/data/other", None, token),
        (404, "GET", "secret/data/mine", None, token),
        (403, "GET", "secret/data/mine", None, token),
        (403, "GET", "secret/data/mine", None, gone),
        (403, "POST", "auth/userpass/login/bob", {"password": "bob"}, ""),
    )
    for status, method, path, body, sender in checks:
        await node.restart()
        assert (await node.call(method, path, body, token=sender)).status == status, path


# Names of what must never be told apart by `==`, which stops at the first difference.
_SECRET_NAMES: Final = ("token", "secret_id", "password", "nonce", "share", "root_key", "client_token", "digest", "mac")
# Compared on purpose: two names of the same request, or a hash that is not what opens anything.
_HARMLESS: Final = {
    ("node/cli/snapshot_file.py", "digest"): "a checksum that anybody can compute",
    ("node/system/wrapping.py", "token"): "whether the sender's own token was meant: both are the sender's",
}


def test_cve_2026_63132_secrets_are_compared_in_constant_time() -> None:
    """CVE-2026-63132: nothing whose name says that it is a secret is an operand of == or !=."""
    found = set()
    for part in ("node", "engines"):
        for file in (ROOT_FOLDER / part).rglob("*.py"):
            for compare in (each for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, ast.Compare)):
                if any(isinstance(op, ast.Eq | ast.NotEq) for op in compare.ops):
                    sides = [compare.left, *compare.comparators]
                    if any(isinstance(side, ast.Constant) for side in sides):
                        continue  # with "" or a number: whether there is one
                    names = {getattr(side, "attr", getattr(side, "id", "")) for side in sides}
                    found |= {(str(file.relative_to(ROOT_FOLDER)), name) for name in names & set(_SECRET_NAMES)}
    assert found == set(_HARMLESS), "an exception that is not needed, or a comparison that is not safe"
