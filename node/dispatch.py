"""The fork in front of the pipeline: what this node answers itself in every state, and everything else."""

from node.config.listeners import Listener
from node.core import Core, guarded
from node.errors import BadRequest
from node.local_api import local_handler
from node.paths import canonical_path
from node.request import WireRequest
from node.response import Response
from node.sources import new_uuid


async def dispatch(core: Core, listener: Listener, wire: WireRequest) -> Response:
    """Answer a request that arrived at a listener. Never raises for what it holds."""
    if wire.path.startswith("/v1/sys/"):
        return await guarded(_system(core, wire), new_uuid(core.sources))
    return await core.handle(wire)


async def _system(core: Core, wire: WireRequest) -> Response:
    path = canonical_path(wire.path[4:])
    handler = local_handler(wire.method, path)
    if handler is not None:
        return await handler(core, wire)
    if path == "sys/seal" and not core.is_sealed and not core.is_active:
        raise BadRequest("cannot seal when in standby mode; please restart instead")
    return await core.handle(wire)
