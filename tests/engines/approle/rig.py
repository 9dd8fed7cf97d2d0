"""An AppRole mount on storage in memory."""

from dataclasses import replace
from typing import Any

from engines.approle import ENGINE
from engines.common.context import Caller, MountInfo
from engines.common.frame import Operation
from engines.common.plan import TokenGrant
from tests.engines.memory_view import Rig

ADDRESS = "10.0.0.9"


def approle() -> Rig:
    """A new mount; its caller comes from ADDRESS."""
    mount = MountInfo(
        path="auth/approle/",
        uuid="u",
        accessor="auth_approle_1",
        type="approle",
        options={},
        default_ttl_s=2_764_800,
        max_ttl_s=2_764_800,
    )
    return replace(Rig(ENGINE), mount=mount, caller=Caller(client_address=ADDRESS))


async def role_id_of(rig: Rig, name: str) -> str:
    """The role id of a role."""
    role_id: str = (await rig.read(f"role/{name}/role-id"))["role_id"]
    return role_id


async def make_secret_id(rig: Rig, name: str, /, **body: object) -> Any:
    """The data of a new secret id."""
    return await rig.write(f"role/{name}/secret-id", **body)


async def log_in(rig: Rig, role_id: str, secret_id: str = "") -> TokenGrant:
    """What a login earns. Raises what it is refused with."""
    answer = await rig.answer(Operation.UPDATE, "login", {"role_id": role_id, "secret_id": secret_id})
    assert answer.login is not None
    return answer.login
