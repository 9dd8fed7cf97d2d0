"""The fork in front of the pipeline: what this node answers itself in every state, and everything else.

Before both, rate limits: each node counts for itself what its own listeners receive.
"""

import contextlib
from dataclasses import dataclass, replace
from typing import Final

from engines.common.errors import UnsupportedPath
from node.audit.trail import Trail
from node.ceremonies.open_paths import is_open
from node.config.listeners import Listener
from node.core import Core, guarded
from node.cors import allowing, cors_config, refused_or_preflight
from node.errors import AuditFailed, BadRequest, MethodNotAllowed, RateLimited
from node.limits import CEREMONY_BODY_BYTES_MAX
from node.local_api import local_handler
from node.paths import canonical_path
from node.quotas.verdict import ADMITTED, Verdict
from node.redaction import redacted
from node.request import WireRequest, json_object, parse
from node.request_log import RequestLog
from node.response import Response, of_error
from node.sources import new_uuid
from node.system.monitoring import open_answer, with_format
from node.unsealed import Unsealed

_UNREADABLE: Final = (BadRequest, UnsupportedPath, MethodNotAllowed)


@dataclass(frozen=True, slots=True)
class RateGate:
    """The rate limits as the HTTP edge asks for them. A sealed node knows none."""

    core: Core
    requests: RequestLog | None = None

    def before_body(self, path: str, address: str) -> Verdict:
        """Judge a request by its raw path and its sender."""
        node = self.core.unsealed
        if node is None or self.core.barrier.is_sealed:
            return ADMITTED
        return node.quotas.before_body(path, address)

    async def refused(self, wire: WireRequest, verdict: Verdict) -> Response:
        """The answer to a request beyond its limit, recorded and logged if that is wanted."""
        answer = self._refused(wire, verdict)
        return await (answer if self.requests is None else self.requests.logged(wire, answer))

    async def _refused(self, wire: WireRequest, verdict: Verdict) -> Response:
        assert verdict.refusal is not None
        node = self.core.unsealed
        if node is not None and self.core.is_active and node.audit.enabled and node.quotas.config().audit_logging:
            await _record(node, wire, verdict.refusal, new_uuid(self.core.sources))
        response = of_error(verdict.refusal)
        return replace(response, headers=verdict.headers) if verdict.headers else response


async def _record(node: Unsealed, wire: WireRequest, error: RateLimited, request_id: str) -> None:
    with contextlib.suppress(AuditFailed, *_UNREADABLE):
        await Trail(node.audit, node.router, parse(replace(wire, body=b""), request_id)).refused(error)


async def dispatch(core: Core, listener: Listener, wire: WireRequest) -> Response:
    """Answer a request that arrived at a listener. Never raises for what it holds."""
    node = core.unsealed
    if "origin" in wire.headers and node is not None and not core.barrier.is_sealed:
        config = cors_config(node.opened)
        if config is not None:
            ended = refused_or_preflight(config, wire.method, wire.headers)
            if ended is not None:
                return ended
            response = await _limited(core, listener, node, wire)
            return replace(response, headers={**response.headers, **allowing(wire.headers)})
    return await _limited(core, listener, node, wire)


async def _limited(core: Core, listener: Listener, node: Unsealed | None, wire: WireRequest) -> Response:
    verdict = ADMITTED
    if node is not None and not core.barrier.is_sealed and node.quotas.asks_for_role(wire.path):
        verdict = node.quotas.of_role(wire.path, wire.client_address, await _role(node, wire))
        if verdict.refusal is not None:
            return await RateGate(core).refused(wire, verdict)
    if wire.path.startswith("/v1/sys/"):
        response = await guarded(_system(core, listener, wire), new_uuid(core.sources))
    else:
        response = await core.handle(wire)
    return replace(response, headers={**response.headers, **verdict.headers}) if verdict.headers else response


async def _role(node: Unsealed, wire: WireRequest) -> str:
    try:
        return await node.login_role(canonical_path(wire.path[4:]), json_object(wire.body))
    except BadRequest:
        return ""


async def _system(core: Core, listener: Listener, wire: WireRequest) -> Response:
    said = open_answer(core, listener, wire)
    if said is not None:
        return said
    wire = with_format(wire)
    path = canonical_path(wire.path[4:])
    handler = local_handler(wire.method, path)
    if handler is not None:
        response = await handler(core, wire)
        return redacted(listener, path, response) if listener.redacts else response
    if is_open(path) and len(wire.body) > CEREMONY_BODY_BYTES_MAX:
        raise BadRequest(f"a request to a key ceremony has at most {CEREMONY_BODY_BYTES_MAX} bytes")
    if path == "sys/seal" and not core.is_sealed and not core.is_active:
        raise BadRequest("cannot seal when in standby mode; please restart instead")
    return await core.handle(wire)
