"""A userpass mount on storage in memory."""

from dataclasses import replace

from engines.common.context import Caller, MountInfo
from engines.common.frame import Operation
from engines.common.plan import TokenGrant
from engines.userpass import ENGINE
from tests.engines.memory_view import Rig

ADDRESS = "10.0.0.9"


def userpass() -> Rig:
    """A new mount; its caller comes from ADDRESS."""
    mount = MountInfo(
        path="auth/userpass/",
        uuid="u",
        accessor="auth_userpass_1",
        type="userpass",
        options={},
        default_ttl_s=2_764_800,
        max_ttl_s=2_764_800,
    )
    return replace(Rig(ENGINE), mount=mount, caller=Caller(client_address=ADDRESS))


async def log_in(rig: Rig, name: str, password: str) -> TokenGrant:
    """What a login earns. Raises what it is refused with."""
    answer = await rig.answer(Operation.UPDATE, f"login/{name}", {"password": password})
    assert answer.login is not None
    return answer.login
