"""Weaknesses that were published of AppRole: none may exist here."""

from typing import Any

import pytest

from engines.common.errors import LoginRefused, NotFound
from tests.engines.approle.rig import approle, log_in, make_secret_id, role_id_of
from tests.engines.memory_view import Rig


@pytest.fixture
async def made() -> tuple[Rig, dict[str, Any]]:
    """Roles "mine" and "theirs"; a secret id of "mine"."""
    rig = approle()
    for name in ("mine", "theirs"):
        await rig.write(f"role/{name}", token_ttl="1h")
    return rig, await make_secret_id(rig, "mine")


async def test_cve_2023_24999_ids_belong_to_their_role(made: tuple[Rig, dict[str, Any]]) -> None:
    """By secret id and by accessor, for lookup, destroy and login: through another role there is nothing."""
    rig, secret = made
    by_secret, by_accessor = {"secret_id": secret["secret_id"]}, {"secret_id_accessor": secret["secret_id_accessor"]}
    for verb in ("lookup", "destroy"):
        assert await rig.write(f"role/theirs/secret-id/{verb}", **by_secret) is None
        with pytest.raises(NotFound):
            await rig.write(f"role/theirs/secret-id-accessor/{verb}", **by_accessor)
    with pytest.raises(LoginRefused):
        await log_in(rig, await role_id_of(rig, "theirs"), secret["secret_id"])
    assert await rig.write("role/mine/secret-id-accessor/lookup", **by_accessor)
    assert await log_in(rig, await role_id_of(rig, "mine"), secret["secret_id"])


async def test_cve_2023_24999_custom_ids_too(made: tuple[Rig, dict[str, Any]]) -> None:
    """The same text registered with two roles is two secret ids."""
    rig, _ = made
    for name in ("mine", "theirs"):
        await rig.write(f"role/{name}/custom-secret-id", secret_id="chosen")
    await rig.write("role/theirs/secret-id/destroy", secret_id="chosen")
    assert await log_in(rig, await role_id_of(rig, "mine"), "chosen")
    with pytest.raises(LoginRefused):
        await log_in(rig, await role_id_of(rig, "theirs"), "chosen")


async def test_2018_note_nothing_survives_a_role_of_mixed_case() -> None:
    """After the deletion nothing is left in storage, and a new role of the name accepts no old secret id."""
    rig = approle()
    await rig.write("role/MixedCase", token_ttl=1)
    role_id, made = await role_id_of(rig, "MixedCase"), await make_secret_id(rig, "MixedCase", ttl=60)
    await rig.delete("role/MixedCase")
    assert {key.split("/")[0] for key in rig.view.records} == {"salt", "expiry"}
    await rig.write("role/MixedCase", token_ttl=1)
    await rig.write("role/MixedCase/role-id", role_id=role_id)
    with pytest.raises(LoginRefused):
        await log_in(rig, role_id, made["secret_id"])
    with pytest.raises(NotFound):
        await rig.write("role/MixedCase/secret-id-accessor/lookup", secret_id_accessor=made["secret_id_accessor"])


async def test_cve_2026_89322_case_makes_another_role(made: tuple[Rig, dict[str, Any]]) -> None:
    """Names keep their case, so a policy on one spelling never governs an object that another spelling reaches."""
    rig, _ = made
    with pytest.raises(NotFound):
        await rig.read("role/MINE")
    await rig.write("role/MINE", token_ttl="2h")
    assert ((await rig.read("role/mine"))["token_ttl"], (await rig.read("role/MINE"))["token_ttl"]) == (3600, 7200)


async def test_nothing_that_opens_a_door_is_in_a_key(made: tuple[Rig, dict[str, Any]]) -> None:
    """Neither role id, secret id nor accessor is in a storage path, and the secret id is in no record."""
    rig, secret = made
    role_id = await role_id_of(rig, "mine")
    for value in (role_id, secret["secret_id"], secret["secret_id_accessor"]):
        assert not any(value in key for key in rig.view.records)
    assert not any(secret["secret_id"].encode() in seen.value for seen in rig.view.records.values())


async def test_an_unknown_role_reads_like_a_wrong_secret(made: tuple[Rig, dict[str, Any]]) -> None:
    """One text, and failures are counted by the role id that was typed."""
    rig, _ = made
    for role_id in (await role_id_of(rig, "mine"), "unknown"):
        with pytest.raises(LoginRefused, match=r"^invalid role or secret ID$") as refused:
            await log_in(rig, role_id, "wrong")
        assert refused.value.alias_name == role_id
