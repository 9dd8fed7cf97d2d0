"""auth/token over its routes: answers, refusals and who may ask for what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engines.common.context import Caller, MountInfo
from engines.common.errors import InvalidRequest, NotFound, PermissionDenied
from engines.common.frame import Operation
from engines.common.plan import TokenGrant
from node.tokens.creation import CreateToken, decide, decide_login
from node.tokens.model import TokenType, Ttls
from node.tokens.paths import GivenToken, RenewToken, RenewTokenInPath, TokenInPath
from node.tokens.roles import TokenRole
from tests.node.tokens.rig import NOW_MS, Rig


async def looked_up(rig: Rig, token: str) -> dict[str, Any]:
    answer = await rig.read("lookup-self", token)
    assert answer.data is not None
    return dict(answer.data)


async def test_create_answers_the_documented_auth() -> None:
    """Every member, and what a lookup then says."""
    rig = Rig()
    root = await rig.root()
    answer = await rig.write(
        "create", root, {"policies": ["Web", "stage"], "meta": {"user": "armon"}, "ttl": "1h", "display_name": "ci"}
    )
    auth = dict(answer.auth or {})
    token, accessor = str(auth.pop("client_token")), auth.pop("accessor")
    assert auth == {
        "policies": ["default", "stage", "web"],
        "token_policies": ["default", "stage", "web"],
        "identity_policies": None,
        "metadata": {"user": "armon"},
        "lease_duration": 3600,
        "renewable": True,
        "entity_id": "",
        "token_type": "service",
        "orphan": False,
        "mfa_requirement": None,
        "num_uses": 0,
    }
    assert await looked_up(rig, token) == {
        "accessor": accessor,
        "creation_time": NOW_MS // 1000,
        "creation_ttl": 3600,
        "display_name": "token-ci",
        "entity_id": "",
        "expire_time": "2026-11-21T21:00:00.000000000Z",
        "explicit_max_ttl": 0,
        "id": token,
        "issue_time": "2026-11-21T20:00:00.000000000Z",
        "meta": {"user": "armon"},
        "num_uses": 0,
        "orphan": False,
        "path": "auth/token/create",
        "policies": ["default", "stage", "web"],
        "renewable": True,
        "ttl": 3600,
        "type": "service",
    }


async def test_a_root_token_without_end_is_shown_so() -> None:
    """TTL 0, no expiry, and no word of renewing it."""
    rig = Rig()
    data = await looked_up(rig, await rig.root())
    assert (data["ttl"], data["creation_ttl"], data["expire_time"]) == (0, 0, None)
    assert "renewable" not in data
    with pytest.raises(InvalidRequest, match="not renewable"):
        await rig.write("renew-self", await rig.root())


async def test_lookup_by_token_and_accessor() -> None:
    """By accessor the token itself is not told; the refusals are the known ones."""
    rig = Rig()
    root = await rig.root()
    token = await rig.create(root)
    data = (await rig.write("lookup", root, {"token": token})).data
    assert data == await looked_up(rig, token)
    by_accessor = (await rig.write("lookup-accessor", root, {"accessor": data["accessor"]})).data
    assert by_accessor == dict(data) | {"id": ""}
    with pytest.raises(PermissionDenied, match="bad token"):
        await rig.write("lookup", root, {"token": "hvs.unknown"})
    with pytest.raises(InvalidRequest, match="invalid accessor"):
        await rig.write("lookup-accessor", root, {"accessor": "unknown"})
    with pytest.raises(InvalidRequest, match="missing"):
        await rig.write("lookup", root)


async def test_accessors_are_listed() -> None:
    """All of them; a batch token has none."""
    rig = Rig()
    root = await rig.root()
    await rig.create(root)
    await rig.create(root, type="batch", policies=["p"])
    answer = await rig.call(Operation.LIST, "accessors", root)
    assert len((answer.data or {})["keys"]) == 2  # type: ignore[arg-type]


async def test_a_child_inherits_and_may_not_exceed_its_caller() -> None:
    """Policies are a subset, "default" comes only if the caller has it; sudo lifts the rule but never to root."""
    rig = Rig()
    root = await rig.root()
    caller = await rig.create(root, policies=["a", "b"])
    assert (await looked_up(rig, await rig.create(caller)))["policies"] == ["a", "b", "default"]
    assert (await looked_up(rig, await rig.create(caller, policies=["a"])))["policies"] == ["a", "default"]
    bare = await rig.create(root, policies=["a"], no_default_policy=True)
    assert (await looked_up(rig, await rig.create(bare, policies=["a"])))["policies"] == ["a"]
    with pytest.raises(InvalidRequest, match="child policies must be subset of parent"):
        await rig.create(caller, policies=["a", "c"])
    answer = await rig.write("create", caller, {"policies": ["c"]}, sudo=True)
    assert (answer.auth or {})["policies"] == ["c", "default"]


@pytest.mark.parametrize("spelling", ["root", "ROOT", " Root ", "ｒｏｏｔ"])
@pytest.mark.parametrize("sudo", [False, True])
async def test_cve_2025_5999_no_spelling_makes_root(spelling: str, sudo: bool) -> None:
    """CVE-2025-5999, CVE-2025-64761: directly, with sudo, and through a role of any kind: only root makes root."""
    rig = Rig()
    root = await rig.root()
    caller = await rig.create(root, policies=["a"])
    roles: dict[str, dict[str, object]] = {
        "named": {"allowed_policies": [spelling]},
        "glob": {"allowed_policies_glob": ["*"]},
        "inverse": {"disallowed_policies": ["x"]},
        "silent": {"orphan": True},
    }
    for name, role in roles.items():
        await rig.write(f"roles/{name}", root, role)
    for path in ("create", "create-orphan", *(f"create/{name}" for name in roles)):
        with pytest.raises(InvalidRequest):
            await rig.write(path, caller, {"policies": [spelling]}, sudo=sudo)
    with pytest.raises(InvalidRequest):
        await rig.write("create/named", caller, {}, sudo=sudo)
    assert (await looked_up(rig, await rig.create(root, policies=[spelling])))["policies"] == ["root"]


async def test_a_root_token_that_expires_makes_none_that_does_not() -> None:
    """Documented; with a TTL it may."""
    rig = Rig()
    expiring = await rig.create(await rig.root(), ttl="1h")
    with pytest.raises(InvalidRequest, match="expiring root tokens cannot create non-expiring root tokens"):
        await rig.create(expiring)
    assert (await looked_up(rig, await rig.create(expiring, explicit_max_ttl="2h")))["ttl"] == 7200


async def test_what_needs_sudo() -> None:
    """Orphans by no_parent and periods by anyone with sudo; a chosen id by root alone."""
    rig = Rig()
    root = await rig.root()
    caller = await rig.create(root, policies=["a"])
    for body in ({"no_parent": True}, {"period": "1h"}):
        with pytest.raises(InvalidRequest, match="root or sudo privileges required"):
            await rig.write("create", caller, body)
        await rig.write("create", caller, body, sudo=True)
    with pytest.raises(InvalidRequest, match="root or sudo privileges required to specify token id"):
        await rig.write("create", caller, {"id": "chosen"}, sudo=True)
    assert await rig.create(root, id="chosen") == "chosen"
    for wrong in ("chosen", "s.chosen", "cho.sen"):
        with pytest.raises(InvalidRequest):
            await rig.create(root, id=wrong)


@pytest.mark.parametrize(
    "body",
    [
        {"ttl": -1},
        {"explicit_max_ttl": -1},
        {"period": -1},
        {"num_uses": -1},
        {"type": "other"},
        {"type": "batch", "period": 60},
        {"type": "batch", "num_uses": 1},
        {"type": "batch", "explicit_max_ttl": 60},
        {"type": "batch", "policies": "root"},
        {"role_name": "unknown"},
        {"entity_alias": "bob"},
    ],
)
async def test_cve_2026_46405_a_refused_creation_makes_no_token(body: dict[str, object]) -> None:
    """CVE-2026-46405: what no token can be is refused, and nothing is written."""
    rig = Rig()
    root = await rig.root()
    before = rig.store.commits
    with pytest.raises(InvalidRequest):
        await rig.write("create", root, body)
    assert rig.store.commits == before


async def test_who_can_have_no_children() -> None:
    """Batch tokens and tokens of limited use."""
    rig = Rig()
    root = await rig.root()
    with pytest.raises(InvalidRequest, match="batch tokens cannot create more tokens"):
        await rig.create(await rig.create(root, type="batch", policies=["p"]))
    with pytest.raises(InvalidRequest, match="restricted use token cannot generate child tokens"):
        await rig.create(await rig.create(root, num_uses=5))


async def test_advisory_2019_a_child_is_bound_to_its_parents_addresses() -> None:
    """Advisory of 2019 (1.0.2): directly, as an orphan, and through a role without addresses of its own."""
    rig = Rig()
    root = await rig.root()
    await rig.write("roles/bound", root, {"token_bound_cidrs": ["0.0.0.0/0"], "orphan": True})
    # The rig's requests have no address, so the checks are made on what is stored.
    seen = await rig.tokens.lookup(await rig.create(root, role_name="bound", policies=["p"]))
    assert seen is not None
    assert seen.entry.bound_cidrs == ("0.0.0.0/0",)
    parent = replace(seen, entry=replace(seen.entry, bound_cidrs=("10.0.0.0/8",)))
    for role, orphan in ((None, False), (None, True), (TokenRole(name="plain"), False)):
        made = decide(CreateToken(), role, parent, Caller(), Ttls(60, 60), NOW_MS, is_orphan_path=orphan)
        assert made.spec.bound_cidrs == ("10.0.0.0/8",)


async def test_periodic_tokens_renew_without_a_maximum_but_the_explicit_one() -> None:
    """Each renewal sets the period anew; an explicit maximum is a hard end even so."""
    rig = Rig()
    root = await rig.root()
    rig.limits = Ttls(3600, 7200)
    periodic = await rig.create(root, policies=["p"], period="1h")
    capped = await rig.create(root, policies=["p"], period="1h", explicit_max_ttl="3h")
    for _ in range(5):
        rig.sources.advance(1_800_000)
        for token in (periodic, capped):
            answer = await rig.write("renew-self", token, {"increment": "10m"})
            left = (answer.auth or {})["lease_duration"]
            assert left == 3600 if token == periodic else left == min(3600, 10_800 - _age_s(rig))
    rig.sources.advance(1_800_000)
    assert not await rig.alive(capped)
    assert await rig.alive(periodic)


def _age_s(rig: Rig) -> int:
    return (rig.sources.now_ms() - NOW_MS) // 1000


@pytest.mark.parametrize(("age_s", "left"), [(7199, 1), (7190, 10)])
async def test_cve_2021_32923_renewal_near_the_maximum(age_s: int, left: int) -> None:
    """CVE-2021-32923: through every renewal path what is left is granted, and at the maximum the token is gone."""
    for path in ("renew", "renew-self", "renew-accessor"):
        rig = Rig()
        root = await rig.root()
        rig.limits = Ttls(7200, 7200)
        token = await rig.create(root, policies=["p"])
        accessor = (await looked_up(rig, token))["accessor"]
        rig.sources.advance(age_s * 1000)
        by_self = path == "renew-self"
        answer = await rig.write(path, token if by_self else root, {"token": token, "accessor": accessor})
        assert (answer.auth or {})["lease_duration"] == left
        assert (answer.auth or {})["client_token"] == ("" if path == "renew-accessor" else token)
        rig.sources.advance(left * 1000)
        with pytest.raises((InvalidRequest, PermissionDenied)):
            await rig.write(path, token if by_self else root, {"token": token, "accessor": accessor})


async def test_renewal_refusals() -> None:
    """Unknown, batch, not renewable, and a token whose role is gone."""
    rig = Rig()
    root = await rig.root()
    with pytest.raises(InvalidRequest, match="token not found"):
        await rig.write("renew", root, {"token": "hvs.unknown"})
    with pytest.raises(InvalidRequest, match="batch tokens cannot be renewed"):
        await rig.write("renew", root, {"token": await rig.create(root, type="batch", policies=["p"])})
    fixed = await rig.create(root, policies=["p"], renewable=False)
    with pytest.raises(InvalidRequest, match="lease is not renewable"):
        await rig.write(f"renew/{fixed}", root)
    await rig.write("roles/r", root, {})
    of_role = await rig.create(root, policies=["p"], role_name="r")
    await rig.write("renew-self", of_role)
    await rig.call(Operation.DELETE, "roles/r", root)
    with pytest.raises(InvalidRequest, match="could not be found, not renewing"):
        await rig.write("renew-self", of_role)


async def test_revocation_over_every_path() -> None:
    """Token, accessor and self take the children along; revoke-orphan spares them; unknown ones are no error."""
    rig = Rig()
    root = await rig.root()
    for path in ("revoke", "revoke-accessor", "revoke-self", "revoke-orphan", "revoke-orphan/"):
        parent = await rig.create(root, policies=["p"])
        child = await rig.create(parent)
        data = await looked_up(rig, parent)
        in_path = path.endswith("/")
        await rig.write(
            path + parent if in_path else path,
            parent if path == "revoke-self" else root,
            {} if in_path else {"token": parent, "accessor": data["accessor"]},
        )
        assert not await rig.alive(parent)
        assert await rig.alive(child) is path.startswith("revoke-orphan")
        if await rig.alive(child):
            assert (await looked_up(rig, child))["orphan"] is True
    await rig.write("revoke", root, {"token": "hvs.unknown"})
    assert (await rig.write("revoke-accessor", root, {"accessor": "unknown"})).warnings
    with pytest.raises(InvalidRequest):
        await rig.write("revoke", root, {"token": await rig.create(root, type="batch", policies=["p"])})


@pytest.mark.parametrize("request_type", [GivenToken, TokenInPath, RenewToken, RenewTokenInPath])
def test_no_request_shows_its_token(request_type: type) -> None:
    """A repr in a log or a trace holds no token, wherever it came from."""
    assert "canary" not in repr(request_type(token="canary"))


def test_the_paths_that_need_sudo() -> None:
    """The root-protected ones of the API reference."""
    rig = Rig()
    sudo = {route.pattern for p in rig.table.patterns for route in p.routes.values() if route.sudo}
    assert sudo == {"accessors", "revoke-orphan", "revoke-orphan/:token"}
    assert not any(route.unauthenticated for p in rig.table.patterns for route in p.routes.values())


async def test_roles_are_written_in_parts_read_listed_and_deleted() -> None:
    """What a write leaves out keeps its value; older names are repeated."""
    rig = Rig()
    root = await rig.root()
    with pytest.raises(NotFound):
        await rig.call(Operation.LIST, "roles", root)
    await rig.write("roles/nomad", root, {"allowed_policies": "Web,app", "token_period": "1h"})
    await rig.write("roles/nomad", root, {"orphan": True, "path_suffix": "edge"})
    data = dict((await rig.read("roles/nomad", root)).data or {})
    assert data["allowed_policies"] == ["app", "web"]
    assert (data["orphan"], data["renewable"], data["token_type"]) == (True, True, "default-service")
    assert (data["period"], data["token_period"], data["name"]) == (3600, 3600, "nomad")
    token = await rig.create(root, role_name="nomad")
    shown = await looked_up(rig, token)
    assert (shown["path"], shown["role"], shown["orphan"]) == ("auth/token/create/nomad/edge", "nomad", True)
    assert (shown["period"], shown["policies"]) == (3600, ["app", "default", "web"])
    await rig.write("roles/nomad", root, {"period": "2h"})
    assert ((await rig.write("renew-self", token)).auth or {})["lease_duration"] == 7200
    await rig.call(Operation.DELETE, "roles/nomad", root)
    with pytest.raises(NotFound):
        await rig.read("roles/nomad", root)


@pytest.mark.parametrize(
    "body",
    [
        {"token_type": "other"},
        {"token_type": "batch", "token_period": 1},
        {"token_type": "batch", "token_num_uses": 1},
        {"path_suffix": "a/b"},
        {"token_bound_cidrs": "10.0.0.0/99"},
        {"token_num_uses": -1},
        {"allowed_policies": "../root"},
    ],
)
async def test_roles_that_cannot_be(body: dict[str, object]) -> None:
    """Refused at the write."""
    rig = Rig()
    with pytest.raises(InvalidRequest):
        await rig.write("roles/r", await rig.root(), body)


async def test_policies_of_a_role() -> None:
    """Allowed, disallowed and their globs; the glob list is not added when nothing is asked."""
    rig = Rig()
    root = await rig.root()
    await rig.write(
        "roles/r",
        root,
        {"allowed_policies": "base", "allowed_policies_glob": "team-*", "disallowed_policies_glob": "*-admin"},
    )

    async def policies(**body: object) -> list[str]:
        shown: list[str] = (await looked_up(rig, await rig.create(root, role_name="r", **body)))["policies"]
        return shown

    assert await policies() == ["base", "default"]
    assert await policies(policies=["team-a"]) == ["default", "team-a"]
    assert await policies(policies=["team-a"], no_default_policy=True) == ["team-a"]
    with pytest.raises(InvalidRequest, match="must be subset of the role's allowed policies"):
        await policies(policies=["other"])
    with pytest.raises(InvalidRequest, match="is disallowed by this role"):
        await policies(policies=["team-admin"])


@pytest.mark.parametrize(
    ("role", "asked", "kind"),
    [
        ("default-service", "", "service"),
        ("default-service", "batch", "batch"),
        ("default-batch", "", "batch"),
        ("default-batch", "service", "service"),
        ("service", "batch", "service"),
        ("batch", "service", "batch"),
    ],
)
async def test_the_type_of_a_roles_tokens(role: str, asked: str, kind: str) -> None:
    """default-* may be overridden by the request, the others not."""
    rig = Rig()
    root = await rig.root()
    await rig.write("roles/r", root, {"token_type": role})
    token = await rig.create(root, role_name="r", type=asked, policies=["p"])
    assert (await looked_up(rig, token))["type"] == kind


MOUNT = MountInfo(path="auth/x/", uuid="u", accessor="a", type="x", options={}, default_ttl_s=100, max_ttl_s=1000)


@pytest.mark.parametrize(
    ("of_grant", "of_mount", "kind"),
    [
        ("default", "default", TokenType.SERVICE),
        ("default", "default-batch", TokenType.BATCH),
        ("service", "default-batch", TokenType.SERVICE),
        ("batch", "default-service", TokenType.BATCH),
        ("batch", "service", TokenType.SERVICE),
        ("service", "batch", TokenType.BATCH),
    ],
)
def test_the_type_of_a_login(of_grant: str, of_mount: str, kind: TokenType) -> None:
    """The mount's word is final when it is not a default."""
    grant = TokenGrant(policies=("p",), display_name="x", token_type=of_grant)
    assert decide_login(grant, MOUNT, "auth/x/login", NOW_MS, mount_type=of_mount).spec.type is kind


def test_a_login_is_an_orphan_within_its_limits_and_never_root() -> None:
    """The role's maximum, the mount's, the default policy; a grant of root is refused in every spelling."""
    grant = TokenGrant(policies=("p",), display_name="x", ttl_s=5000, max_ttl_s=500)
    made = decide_login(grant, MOUNT, "auth/x/login", NOW_MS)
    assert (made.spec.ttl_s, made.spec.policies, made.spec.parent) == (500, ("default", "p"), None)
    assert made.warnings
    assert decide_login(TokenGrant(policies=(), display_name="x"), MOUNT, "p", NOW_MS).spec.ttl_s == 100
    for spelling in ("root", "ROOT", " Root "):
        with pytest.raises(PermissionDenied):
            decide_login(TokenGrant(policies=(spelling,), display_name="x"), MOUNT, "p", NOW_MS)


async def test_tidy_runs_in_the_background_once() -> None:
    """The answer says that it was started, or that one is under way."""
    rig = Rig()
    root = await rig.root()
    first = await rig.write("tidy", root)
    second = await rig.write("tidy", root)
    assert "successfully started" in first.warnings[0]
    assert "already in progress" in second.warnings[0]
    await rig.tidy.background.stop()
