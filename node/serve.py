"""The way of a request on the node that leads: token, policy, mount, engine, plan, barrier, raft, answer.

One function knows the whole way and reads like that line; what it calls does one thing.
"""

from typing import Any, Final

from cluster.errors import Conflict
from engines.common.context import Context
from engines.common.errors import InvalidRequest, PermissionDenied, Unsupported, UnsupportedPath
from engines.common.frame import Match, Operation
from engines.common.help import help_for
from engines.common.plan import Plan
from node.errors import NoRoute
from node.identify import ANONYMOUS, Identified
from node.mounts import Mounted
from node.request import Request
from node.response import NO_CONTENT, Response, bare, envelope, of_envelope
from node.unsealed import Unsealed

# A write that lost a race is planned again from what is there now. Contention on one key clears in a few rounds; the
# bound only keeps a pathological case from running for ever.
PLAN_ATTEMPTS_MAX: Final = 64


async def serve(node: Unsealed, request: Request) -> Response:
    """Answer one well-formed request.

    Raises:
        EngineError, NodeError, ClusterError: What node/status.py maps to a refusal.
    """
    for attempt in range(1, PLAN_ATTEMPTS_MAX + 1):
        try:
            return await _attempt(node, request)
        except Conflict:
            if attempt == PLAN_ATTEMPTS_MAX:
                raise
    raise AssertionError("the loop returns or raises")


async def _attempt(node: Unsealed, request: Request) -> Response:
    who = await node.identify(request) if request.token else ANONYMOUS
    found = node.router.match(request.path)
    if found is None:
        _require_allowed(node, who, request)
        raise NoRoute(request.path)
    mounted, below = found
    if request.help:
        _require_token(who)
        return bare(help_for(mounted.engine, mounted.mount.path, below))
    context = node.context(mounted, who.caller)
    match, decoded = await _route(node, mounted, below, who, request, context)
    plan = await match.route.handler(decoded, context)
    return await _commit(node, request, who, mounted, plan)


async def _route(
    node: Unsealed, mounted: Mounted, below: str, who: Identified, request: Request, context: Context
) -> tuple[Match, Any]:
    """The route and the typed request, allowed by policy.

    Nobody without a right on the path learns whether it exists or which field was wrong.
    """
    try:
        match = mounted.engine.table.match(request.operation, below)
    except (Unsupported, UnsupportedPath):
        _require_allowed(node, who, request)
        raise
    route = match.route
    if route.unauthenticated:
        return match, match.decode(request.body)
    _require_token(who)
    try:
        decoded = match.decode(request.body)
    except InvalidRequest:
        _require_allowed(node, who, request)
        raise
    operation = request.operation
    if operation is Operation.UPDATE and route.exists is not None and not who.acl.is_root:
        operation = Operation.UPDATE if await route.exists(decoded, context) else Operation.CREATE
    node.require(who, request, operation, sudo=route.sudo)
    return match, decoded


async def _commit(node: Unsealed, request: Request, who: Identified, mounted: Mounted, plan: Plan) -> Response:
    """Make the plan's writes true, together with those of the token that it used: one entry, all or nothing."""
    if plan.writes or who.use_writes:
        # What committed names what it was based on, so the commit itself is the proof that nothing read was stale.
        await node.opened.commit(node.prefix_of(mounted.mount), plan.writes, who.use_writes)
    else:
        # The gate of design.md, section 2: after everything was read, before anything is said.
        node.store.require_lease()
    answer = plan.answer
    if answer.raw is not None:
        return Response(200, answer.raw.body, answer.raw.content_type)
    if answer.bare is not None:
        return bare(answer.bare)
    if answer.data is None and answer.auth is None and not answer.warnings:
        return NO_CONTENT
    return of_envelope(envelope(request.id, answer, mount_type=mounted.mount.type, auth=answer.auth))


def _require_token(who: Identified) -> None:
    if who is ANONYMOUS:
        raise PermissionDenied


def _require_allowed(node: Unsealed, who: Identified, request: Request) -> None:
    """For a request that will be refused anyway: with a right on the path, the caller may learn why."""
    _require_token(who)
    if request.operation is Operation.UPDATE:
        try:
            node.require(who, request, Operation.CREATE)
        except PermissionDenied:
            node.require(who, request, Operation.UPDATE)
    else:
        node.require(who, request, request.operation)
