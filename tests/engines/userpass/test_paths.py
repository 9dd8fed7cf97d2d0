"""The userpass method as its API reference describes it."""

import bcrypt
import pytest

from engines.common.context import Context
from engines.common.errors import InvalidRequest, LoginRefused, NotFound, PermissionDenied, UnsupportedPath
from engines.userpass.paths import renew
from tests.engines.memory_view import Rig
from tests.engines.userpass.rig import log_in, userpass


@pytest.fixture
async def rig() -> Rig:
    rig = userpass()
    await rig.write("users/alice", password="Password123!", token_ttl="1h", token_max_ttl="24h", token_policies="dev")
    return rig


async def test_a_login(rig: Rig) -> None:
    """The right password earns a token with the user's policies, lifetimes and name."""
    grant = await log_in(rig, "alice", "Password123!")
    assert (grant.policies, grant.ttl_s, grant.max_ttl_s) == (("dev",), 3600, 86400)
    assert (grant.display_name, grant.alias_name, grant.metadata) == ("userpass-alice", "alice", {"username": "alice"})


async def test_reading_shows_parameters_and_never_the_password(rig: Rig) -> None:
    """Exactly the documented members."""
    assert await rig.read("users/alice") == {
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": 86400,
        "token_no_default_policy": False,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": ["dev"],
        "token_ttl": 3600,
        "token_type": "default",
    }
    assert not any(b"Password123!" in seen.value for seen in rig.view.records.values())


async def test_list_delete_and_absence(rig: Rig) -> None:
    """Users are listed in order; a deleted one is not found and cannot log in; deleting again is no error."""
    await rig.write("users/Bob", password="x")
    assert await rig.list("users") == ["alice", "bob"]
    for name in ("alice", "bob", "bob"):
        await rig.delete(f"users/{name}")
    with pytest.raises(NotFound):
        await rig.list("users")
    with pytest.raises(NotFound):
        await rig.read("users/alice")
    with pytest.raises(LoginRefused):
        await log_in(rig, "alice", "Password123!")


async def test_create_or_update(rig: Rig) -> None:
    """A write needs `create` for a new user and `update` for one that exists, in any case of letters."""
    assert await rig.exists("users/ALICE")
    assert not await rig.exists("users/carol")


async def test_an_update_keeps_the_password(rig: Rig) -> None:
    """Only creation needs one."""
    await rig.write("users/alice", policies="ops")
    assert (await log_in(rig, "alice", "Password123!")).policies == ("ops",)
    assert (await rig.read("users/alice"))["policies"] == ["ops"]
    with pytest.raises(InvalidRequest, match="missing password"):
        await rig.write("users/carol", token_policies="x")


async def test_password_and_policies_have_paths_of_their_own(rig: Rig) -> None:
    """Each changes its property alone, and only of a user that exists."""
    await rig.write("users/alice/password", password="new")
    await rig.write("users/alice/policies", token_policies=["b", "a"])
    grant = await log_in(rig, "alice", "new")
    assert (grant.policies, grant.ttl_s) == (("a", "b"), 3600)
    for path, body in (("password", {"password": "x"}), ("policies", {"token_policies": "x"})):
        with pytest.raises(InvalidRequest, match="username does not exist"):
            await rig.write(f"users/carol/{path}", **body)
    with pytest.raises(InvalidRequest, match="missing password"):
        await rig.write("users/alice/password")
    with pytest.raises(InvalidRequest, match="missing token_policies"):
        await rig.write("users/alice/policies")


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
async def test_a_hash_made_elsewhere(rig: Rig, prefix: bytes) -> None:
    """password_hash takes bcrypt's format; the password it was made of logs in."""
    made = bcrypt.hashpw(b"elsewhere", bcrypt.gensalt(4, prefix=prefix)).decode()
    await rig.write("users/carol", password_hash=made)
    assert (await log_in(rig, "carol", "elsewhere")).alias_name == "carol"


@pytest.mark.parametrize(
    "password_hash", ["canary", "$2b$31$" + "." * 53, "$2b$03$" + "." * 53, "$2b$04$" + "z" * 53, "$2x$04$" + "." * 53]
)
async def test_a_hash_that_no_login_could_use_is_refused(rig: Rig, password_hash: str) -> None:
    """Another format, a cost that would hold up every other login, a salt that is none."""
    with pytest.raises(InvalidRequest, match="password_hash") as refused:
        await rig.write("users/carol", password_hash=password_hash)
    assert password_hash not in str(refused.value)


async def test_password_and_hash_exclude_each_other(rig: Rig) -> None:
    """Which of them would count is not guessed."""
    with pytest.raises(InvalidRequest, match="mutually exclusive"):
        await rig.write("users/carol", password="x", password_hash="$2b$04$" + "." * 53)


async def test_bcrypt_ends_at_72_bytes(rig: Rig) -> None:
    """A longer password is refused when it is set, and one with a right beginning does not log in."""
    await rig.write("users/carol", password="é" * 36)
    assert await log_in(rig, "carol", "é" * 36)
    with pytest.raises(LoginRefused):
        await log_in(rig, "carol", "é" * 36 + "x")
    with pytest.raises(InvalidRequest, match="password length exceeds 72 bytes"):
        await rig.write("users/carol", password="é" * 36 + "x")


async def test_a_login_from_elsewhere(rig: Rig) -> None:
    """token_bound_cidrs hold for the login as well as for the token."""
    await rig.write("users/alice", token_bound_cidrs="10.0.0.0/8")
    assert (await log_in(rig, "alice", "Password123!")).bound_cidrs == ("10.0.0.0/8",)
    await rig.write("users/alice", token_bound_cidrs="192.168.0.0/16")
    with pytest.raises(PermissionDenied):
        await log_in(rig, "alice", "Password123!")


@pytest.mark.parametrize("name", ["-a", ".a", "a.", "a b", "ü", "a*", "a\x7f"])
async def test_names_that_are_none(rig: Rig, name: str) -> None:
    """Letters, digits, "_", "-", "." and "@"; no hyphen first, no period at an end."""
    with pytest.raises(UnsupportedPath):
        await rig.write(f"users/{name}", password="x")


async def test_renewal_follows_the_user(rig: Rig) -> None:
    """Durations are those of today; it ends when the user has other policies, or is no more."""
    internal = (await log_in(rig, "alice", "Password123!")).internal
    await rig.write("users/alice", token_ttl="2h", token_period="3h")
    plan = await renew(internal, rig.ctx)
    assert plan.answer.login is not None
    assert (plan.answer.login.ttl_s, plan.answer.login.period_s) == (7200, 10800)
    await rig.write("users/alice/policies", token_policies="other")
    await _refuses_to_renew(internal, rig.ctx, "policies have changed")
    await rig.delete("users/alice")
    await _refuses_to_renew(internal, rig.ctx, "does not exist")


async def _refuses_to_renew(internal: bytes, ctx: Context, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        await renew(internal, ctx)
