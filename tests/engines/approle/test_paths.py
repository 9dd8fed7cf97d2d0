"""The AppRole method as its API reference describes it."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from engines.approle.paths import renew
from engines.common.context import Caller
from engines.common.errors import InvalidRequest, LoginRefused, NotFound, PermissionDenied
from engines.common.frame import Operation
from tests.engines.approle.rig import approle, log_in, make_secret_id, role_id_of
from tests.engines.memory_view import Rig


@pytest.fixture
async def rig() -> Rig:
    rig = approle()
    await rig.write(
        "role/app",
        secret_id_ttl="24h",
        secret_id_num_uses=2,
        token_ttl="1h",
        token_max_ttl="4h",
        token_policies="payments",
    )
    return rig


def at(rig: Rig, address: str) -> Rig:
    """The same mount for a caller at another address."""
    return rig.as_caller(Caller(client_address=address))


async def _refused(rig: Rig, path: str, /, **body: object) -> str:
    before = dict(rig.view.records)
    with pytest.raises(InvalidRequest) as refused:
        await rig.write(path, **body)
    assert rig.view.records == before
    return str(refused.value)


# Roles


async def test_reading_a_role(rig: Rig) -> None:
    """The documented members, also those at their default."""
    assert await rig.read("role/app") == {
        "bind_secret_id": True,
        "local_secret_ids": False,
        "period": 0,
        "secret_id_bound_cidrs": [],
        "secret_id_num_uses": 2,
        "secret_id_ttl": 86400,
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": 14400,
        "token_no_default_policy": False,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": ["payments"],
        "token_ttl": 3600,
        "token_type": "default",
    }


async def test_roles_are_listed_and_deleted(rig: Rig) -> None:
    """A deleted role is not found; deleting it again is no error."""
    await rig.write("role/Other role", bind_secret_id=True)
    assert await rig.list("role") == ["Other role", "app"]
    assert await rig.exists("role/app")
    assert not await rig.exists("role/APP")
    for name in ("app", "app", "Other role"):
        await rig.delete(f"role/{name}")
    with pytest.raises(NotFound):
        await rig.list("role")
    with pytest.raises(NotFound):
        await rig.read("role/app")


async def test_what_a_role_cannot_be(rig: Rig) -> None:
    """Refused with the documented texts, and nothing of the write happens."""
    assert "at least one constraint" in await _refused(rig, "role/app", bind_secret_id=False)
    assert "during role creation" in await _refused(rig, "role/app", local_secret_ids=True)
    assert "secret_id_num_uses cannot be negative" in await _refused(rig, "role/app", secret_id_num_uses=-1)
    assert "secret_id_ttl cannot be negative" in await _refused(rig, "role/app", secret_id_ttl="-1s")
    assert "CIDR" in await _refused(rig, "role/app", secret_id_bound_cidrs="nowhere")
    assert "invalid role_name" in await _refused(rig, "role/a*", token_ttl=1)
    await rig.write("role/local", local_secret_ids=True)
    assert (await rig.read("role/local"))["local_secret_ids"] is True
    await rig.write("role/local", local_secret_ids=True, token_ttl=1)


PROPERTIES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("policies", {"token_policies": "b,a"}, {"token_policies": ["a", "b"]}, {"token_policies": []}),
    ("secret-id-num-uses", {"secret_id_num_uses": 7}, {"secret_id_num_uses": 7}, {"secret_id_num_uses": 0}),
    ("secret-id-ttl", {"secret_id_ttl": "1h"}, {"secret_id_ttl": 3600}, {"secret_id_ttl": 0}),
    ("token-ttl", {"token_ttl": "1m"}, {"token_ttl": 60}, {"token_ttl": 0}),
    ("token-max-ttl", {"token_max_ttl": "2h"}, {"token_max_ttl": 7200}, {"token_max_ttl": 0}),
    (
        "secret-id-bound-cidrs",
        {"secret_id_bound_cidrs": "10.0.0.0/8"},
        {"secret_id_bound_cidrs": ["10.0.0.0/8"]},
        {"secret_id_bound_cidrs": []},
    ),
    (
        "token-bound-cidrs",
        {"token_bound_cidrs": ["10.0.0.0/8"]},
        {"token_bound_cidrs": ["10.0.0.0/8"]},
        {"token_bound_cidrs": []},
    ),
    ("period", {"token_period": "1h"}, {"token_period": 3600, "period": 3600}, {"token_period": 0, "period": 0}),
]


@pytest.mark.parametrize(("name", "body", "shown", "default"), PROPERTIES)
async def test_a_property_of_a_role(
    rig: Rig, name: str, body: dict[str, Any], shown: dict[str, Any], default: dict[str, Any]
) -> None:
    """POST changes it, GET shows it alone, DELETE sets its default; an empty POST and an unknown role are refused."""
    before = await rig.read("role/app")
    await rig.write(f"role/app/{name}", **body)
    assert await rig.read(f"role/app/{name}") == shown
    assert await rig.read("role/app") == {**before, **shown}
    assert "missing" in await _refused(rig, f"role/app/{name}")
    await rig.delete(f"role/app/{name}")
    assert await rig.read(f"role/app/{name}") == default
    for operation in (Operation.READ, Operation.UPDATE, Operation.DELETE):
        with pytest.raises(NotFound):
            await rig.answer(operation, f"role/none/{name}", body)


async def test_bind_secret_id_is_a_property_that_needs_another_constraint(rig: Rig) -> None:
    """Turned off, something else must bind the login; DELETE turns it on again."""
    assert "at least one constraint" in await _refused(rig, "role/app/bind-secret-id", bind_secret_id=False)
    await rig.write("role/app/secret-id-bound-cidrs", secret_id_bound_cidrs="10.0.0.0/8")
    await rig.write("role/app/bind-secret-id", bind_secret_id=False)
    assert await rig.read("role/app/bind-secret-id") == {"bind_secret_id": False}
    with pytest.raises(InvalidRequest, match="at least one constraint"):
        await rig.delete("role/app/secret-id-bound-cidrs")
    await rig.delete("role/app/bind-secret-id")
    assert await rig.read("role/app/bind-secret-id") == {"bind_secret_id": True}


async def test_deprecated_spellings(rig: Rig) -> None:
    """policies and period still work, also on their own paths."""
    await rig.write("role/old", policies="a", period="1h")
    shown = await rig.read("role/old")
    assert (shown["policies"], shown["token_policies"], shown["token_period"]) == (["a"], ["a"], 3600)
    await rig.write("role/old/period", period=5)
    await rig.write("role/old/policies", policies="b")
    assert await rig.read("role/old/policies") == {"token_policies": ["b"], "policies": ["b"]}
    assert (await rig.read("role/old/period"))["token_period"] == 5


async def test_choosing_a_role_id(rig: Rig) -> None:
    """The new one logs in, the old one does not; one that another role has is refused."""
    first, secret = await role_id_of(rig, "app"), (await make_secret_id(rig, "app"))["secret_id"]
    UUID(first)
    await rig.write("role/app/role-id", role_id="custom")
    assert await role_id_of(rig, "app") == "custom"
    assert await log_in(rig, "custom", secret)
    with pytest.raises(LoginRefused):
        await log_in(rig, first, secret)
    await rig.write("role/other", token_ttl=1)
    assert "already in use" in await _refused(rig, "role/other/role-id", role_id="custom")
    assert "missing role_id" in await _refused(rig, "role/other/role-id", role_id="")
    await rig.write("role/app/role-id", role_id="custom")
    await rig.delete("role/app")
    await rig.write("role/other/role-id", role_id="custom")


# Secret ids


async def test_a_secret_id(rig: Rig) -> None:
    """Made with the documented members; looked up and destroyed by itself and by its accessor."""
    made = await make_secret_id(rig, "app", metadata='{"tag1": "production"}', ttl=600, num_uses=1)
    assert set(made) == {"secret_id", "secret_id_accessor", "secret_id_ttl", "secret_id_num_uses"}
    assert (made["secret_id_ttl"], made["secret_id_num_uses"]) == (600, 1)
    shown = await rig.write("role/app/secret-id/lookup", secret_id=made["secret_id"])
    assert shown == {
        "cidr_list": [],
        "creation_time": "2026-11-21T20:00:00.123000000Z",
        "expiration_time": "2026-11-21T20:10:00.123000000Z",
        "last_updated_time": "2026-11-21T20:00:00.123000000Z",
        "metadata": {"tag1": "production"},
        "secret_id_accessor": made["secret_id_accessor"],
        "secret_id_num_uses": 1,
        "secret_id_ttl": 600,
        "token_bound_cidrs": [],
    }
    by_accessor = await rig.write("role/app/secret-id-accessor/lookup", secret_id_accessor=made["secret_id_accessor"])
    assert by_accessor == shown
    assert await rig.list("role/app/secret-id") == [made["secret_id_accessor"]]
    await rig.write("role/app/secret-id/destroy", secret_id=made["secret_id"])
    with pytest.raises(NotFound):
        await rig.list("role/app/secret-id")
    assert await rig.write("role/app/secret-id/lookup", secret_id=made["secret_id"]) is None
    assert await rig.write("role/app/secret-id/destroy", secret_id=made["secret_id"]) is None
    for verb in ("lookup", "destroy"):
        with pytest.raises(NotFound, match="failed to find accessor entry"):
            await rig.write(f"role/app/secret-id-accessor/{verb}", secret_id_accessor=made["secret_id_accessor"])


async def test_a_secret_id_without_an_end(rig: Rig) -> None:
    """Its expiration_time is the documented year 1."""
    await rig.write("role/free", token_ttl=1)
    made = await make_secret_id(rig, "free")
    shown = await rig.write("role/free/secret-id/lookup", secret_id=made["secret_id"])
    assert (shown["expiration_time"], shown["secret_id_ttl"]) == ("0001-01-01T00:00:00Z", 0)


async def test_nothing_beyond_the_role(rig: Rig) -> None:
    """A secret id has at most the role's uses, lifetime and addresses; 0 would be without limit."""
    await rig.write("role/app", secret_id_bound_cidrs="10.0.0.0/8", token_bound_cidrs="10.1.0.0/16")
    path = "role/app/secret-id"
    for uses in (0, 3):
        assert "num_uses cannot be higher" in await _refused(rig, path, num_uses=uses)
    for ttl in (0, "25h"):
        assert "ttl cannot be longer" in await _refused(rig, path, ttl=ttl)
    assert "subset" in await _refused(rig, path, cidr_list="10.0.0.0/7")
    assert "subset" in await _refused(rig, path, token_bound_cidrs="10.0.0.0/8")
    for metadata in ("canary", "[]", '{"a": 1}'):
        assert "canary" not in await _refused(rig, path, metadata=metadata)
    await make_secret_id(rig, "app", cidr_list="10.9.0.0/16", token_bound_cidrs="10.1.1.1")


async def test_a_custom_secret_id(rig: Rig) -> None:
    """Push mode: the client chooses it; twice at a time is refused, after its end it may come again."""
    made = await rig.write("role/app/custom-secret-id", secret_id="chosen", ttl=60)
    assert made["secret_id"] == "chosen"
    assert "already registered" in await _refused(rig, "role/app/custom-secret-id", secret_id="chosen", ttl=60)
    rig.sources.advance_s(61)
    again = await rig.write("role/app/custom-secret-id", secret_id="chosen", ttl=60)
    assert await rig.list("role/app/secret-id") == [again["secret_id_accessor"]]
    assert await log_in(rig, await role_id_of(rig, "app"), "chosen")
    assert "missing secret_id" in await _refused(rig, "role/app/custom-secret-id", secret_id="")


async def test_a_role_without_secret_ids_makes_none(rig: Rig) -> None:
    """As documented, bind_secret_id must be set; and the role must be there."""
    await rig.write("role/open", bind_secret_id=False, secret_id_bound_cidrs="10.0.0.0/8")
    assert "bind_secret_id is not set" in await _refused(rig, "role/open/secret-id")
    assert 'role "none" does not exist' in await _refused(rig, "role/none/secret-id")


# Login


async def test_a_login(rig: Rig) -> None:
    """The token has the role's policies and lifetimes, and the metadata of the secret id beside the role's name."""
    made = await make_secret_id(rig, "app", metadata='{"tag": "x", "role_name": "forged"}')
    grant = await log_in(rig, await role_id_of(rig, "app"), made["secret_id"])
    assert (grant.policies, grant.ttl_s, grant.max_ttl_s) == (("payments",), 3600, 14400)
    assert grant.metadata == {"tag": "x", "role_name": "app"}
    assert (grant.display_name, grant.alias_name) == ("approle", await role_id_of(rig, "app"))


async def test_uses_are_counted(rig: Rig) -> None:
    """Each login takes one; the last takes the secret id and all its records with it."""
    role_id, made = await role_id_of(rig, "app"), await make_secret_id(rig, "app")
    await log_in(rig, role_id, made["secret_id"])
    rig.sources.advance_s(5)
    await log_in(rig, role_id, made["secret_id"])
    with pytest.raises(LoginRefused, match=r"^invalid role or secret ID$"):
        await log_in(rig, role_id, made["secret_id"])
    assert sorted(key.split("/")[0] for key in rig.view.records) == ["role", "role_id", "salt"]


async def test_concurrent_logins_never_exceed_the_uses(rig: Rig) -> None:
    """Plans made from the same state: exactly one can be committed, the others are planned again and refused."""
    role_id, made = await role_id_of(rig, "app"), await make_secret_id(rig, "app", num_uses=1)
    body = {"role_id": role_id, "secret_id": made["secret_id"]}
    plans = [await rig.plan(Operation.UPDATE, "login", body) for _ in range(5)]
    committed = 0
    for plan in plans:
        try:
            rig.view.commit(plan.writes)
        except Exception as error:
            assert type(error).__name__ == "LostRaceError"
        else:
            committed += 1
    assert committed == 1
    with pytest.raises(LoginRefused):
        await log_in(rig, role_id, made["secret_id"])


async def test_a_login_that_takes_nothing_writes_nothing(rig: Rig) -> None:
    """With unlimited uses a batch token needs no Raft entry; the whole login reads four records."""
    await rig.write("role/app", secret_id_num_uses=0)
    role_id, made = await role_id_of(rig, "app"), await make_secret_id(rig, "app", num_uses=0)
    rig.view.reads = 0
    plan = await rig.plan(Operation.UPDATE, "login", {"role_id": role_id, "secret_id": made["secret_id"]})
    assert plan.writes == ()
    assert rig.view.reads == 4


async def test_a_secret_id_ends(rig: Rig) -> None:
    """From its end on it is not listed, found or accepted."""
    role_id, made = await role_id_of(rig, "app"), await make_secret_id(rig, "app", ttl=60)
    rig.sources.advance_s(59.999)
    await log_in(rig, role_id, made["secret_id"])
    rig.sources.advance_s(0.001)
    with pytest.raises(LoginRefused):
        await log_in(rig, role_id, made["secret_id"])
    assert await rig.write("role/app/secret-id/lookup", secret_id=made["secret_id"]) is None
    with pytest.raises(NotFound):
        await rig.list("role/app/secret-id")


async def test_addresses(rig: Rig) -> None:
    """Role and secret id each narrow where a login, and later its token, may come from."""
    await rig.write("role/app", secret_id_bound_cidrs="10.0.0.0/8", token_bound_cidrs="10.0.0.0/8,192.168.0.0/16")
    role_id = await role_id_of(rig, "app")
    wide = (await make_secret_id(rig, "app"))["secret_id"]
    narrow = (await make_secret_id(rig, "app", cidr_list="10.0.0.0/24", token_bound_cidrs="10.0.0.9"))["secret_id"]
    assert (await log_in(rig, role_id, narrow)).bound_cidrs == ("10.0.0.9",)
    with pytest.raises(InvalidRequest, match="on the secret ID"):
        await log_in(at(rig, "10.9.9.9"), role_id, narrow)
    with pytest.raises(PermissionDenied):
        await log_in(at(rig, "10.0.0.8"), role_id, narrow)
    with pytest.raises(InvalidRequest, match="on the role"):
        await log_in(at(rig, "192.168.0.1"), role_id, wide)
    await rig.write("role/app", token_bound_cidrs="10.7.0.0/16")
    with pytest.raises(LoginRefused):
        await log_in(rig, role_id, narrow)


async def test_a_role_bound_by_addresses_alone(rig: Rig) -> None:
    """Without bind_secret_id the role id and the address are enough."""
    await rig.write("role/open", bind_secret_id=False, secret_id_bound_cidrs="10.0.0.0/8")
    role_id = await role_id_of(rig, "open")
    assert (await log_in(rig, role_id)).metadata == {"role_name": "open"}
    with pytest.raises(InvalidRequest, match="unauthorized by CIDR"):
        await log_in(at(rig, "11.0.0.1"), role_id)


async def test_what_is_missing_is_named(rig: Rig) -> None:
    """The documented texts."""
    assert "missing role_id" in await _refused(rig, "login")
    assert "missing role_id" in await _refused(rig, "login", role_id="")
    assert "missing secret_id" in await _refused(rig, "login", role_id=await role_id_of(rig, "app"))
    assert await _refused(rig, "login", role_id="x" * 5000, secret_id="x") == "invalid role or secret ID"


async def test_before_the_first_role() -> None:
    """A mount that has no salt yet refuses like any other."""
    with pytest.raises(LoginRefused, match=r"^invalid role or secret ID$"):
        await log_in(approle(), "x", "y")


async def test_renewal_follows_the_role(rig: Rig) -> None:
    """Durations are those of today; a role that was deleted, and made again under its name, renews nothing."""
    internal = (
        await log_in(rig, await role_id_of(rig, "app"), (await make_secret_id(rig, "app"))["secret_id"])
    ).internal
    await rig.write("role/app", token_ttl="2h", token_max_ttl="3h", token_period="5h")
    plan = await renew(internal, rig.ctx)
    assert plan.answer.login is not None
    assert (plan.answer.login.ttl_s, plan.answer.login.max_ttl_s, plan.answer.login.period_s) == (7200, 10800, 18000)
    await rig.delete("role/app")
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="does not exist"):
            await renew(internal, rig.ctx)
        await rig.write("role/app", token_ttl=1)


# Tidy


async def test_tidy_removes_what_has_ended(rig: Rig) -> None:
    """It answers at once with the documented warning; what is alive stays."""
    for ttl in (10, 20, 30):
        await make_secret_id(rig, "app", ttl=ttl)
    rig.sources.advance_s(20)
    answer = await rig.answer(Operation.UPDATE, "tidy/secret-id")
    assert answer.warnings[0].startswith("Tidy operation successfully started.")
    kinds = [key.split("/")[0] for key in rig.view.records]
    assert (kinds.count("secret"), kinds.count("accessor"), kinds.count("expiry")) == (1, 1, 1)
    assert len(await rig.list("role/app/secret-id")) == 1


async def test_secret_ids_that_have_ended_never_pile_up(rig: Rig) -> None:
    """Nobody calls tidy, and storage stays small: each new secret id takes some that have ended along."""
    for _ in range(200):
        await make_secret_id(rig, "app", ttl=10)
        rig.sources.advance_s(5)
    assert len(rig.view.records) < 30


async def test_a_role_with_very_many_secret_ids(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry takes the role away; what does not fit into it is dead at once and cleared away later."""
    monkeypatch.setattr("engines.approle.store.REMOVED_MAX", 10)
    monkeypatch.setattr("engines.approle.paths._TIDIED_MAX", 4)
    role_id = await role_id_of(rig, "app")
    made = [await make_secret_id(rig, "app") for _ in range(20)]
    await rig.delete("role/app")
    await rig.write("role/app", token_ttl=1)
    await rig.write("role/app/role-id", role_id=role_id)
    for each in made:
        with pytest.raises(LoginRefused):
            await log_in(rig, role_id, each["secret_id"])
    rig.sources.advance_s(86401)
    for _ in range(20):
        await rig.write("tidy/secret-id")
    assert sorted(key.split("/")[0] for key in rig.view.records) == ["role", "role_id", "salt"]


async def test_two_mounts_have_two_salts(rig: Rig) -> None:
    """The same ids have other keys in another mount."""
    other = replace(approle())
    other.sources.random(1)
    await other.write("role/app", token_ttl=1)
    for each in (rig, other):
        await each.write("role/app/role-id", role_id="same")
    keys = [{key for key in each.view.records if key.startswith("role_id/")} for each in (rig, other)]
    assert keys[0] != keys[1]
