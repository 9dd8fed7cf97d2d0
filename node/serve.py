"""The way of a request on the node that leads: token, policy, mount, engine, plan, barrier, raft, answer.

One function knows the whole way and reads like that line; what it calls does one thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cluster.errors import Conflict
from engines.common.context import Context
from engines.common.errors import InvalidRequest, PermissionDenied, Unsupported, UnsupportedPath
from engines.common.frame import Match, Operation
from engines.common.help import help_for
from engines.common.plan import LeaseGrant, Plan, TokenGrant, Write
from node.errors import NoRoute
from node.identify import ANONYMOUS, Identified
from node.mounts import Mounted
from node.request import Request
from node.response import NO_CONTENT, Leased, Response, bare, envelope, of_envelope
from node.tokens.answers import auth_block
from node.tokens.creation import decide_login
from node.tokens.token_store import is_last_use
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
    match, decoded, context = await _route(node, mounted, below, who, request)
    plan = await match.route.handler(decoded, context)
    return await _commit(node, request, who, mounted, context, plan)


async def _route(
    node: Unsealed, mounted: Mounted, below: str, who: Identified, request: Request
) -> tuple[Match, Any, Context]:
    """The route, the typed request and what the engine may know; allowed by policy.

    Nobody without a right on the path learns whether it exists or which field was wrong.
    """
    context = node.context(mounted, who.caller)
    try:
        match = mounted.engine.table.match(request.operation, below)
    except (Unsupported, UnsupportedPath):
        _require_allowed(node, who, request)
        raise
    route = match.route
    if route.unauthenticated:
        return match, match.decode(request.body), context
    _require_token(who)
    try:
        decoded = match.decode(request.body)
    except InvalidRequest:
        _require_allowed(node, who, request)
        raise
    operation = request.operation
    if operation is Operation.UPDATE and route.exists is not None and not who.acl.is_root:
        operation = Operation.UPDATE if await route.exists(decoded, context) else Operation.CREATE
    decision = node.require(who, request, operation, sudo=route.sudo)
    if decision.sudo and not who.caller.has_sudo:
        context = replace(context, caller=replace(who.caller, has_sudo=True))
    return match, decoded, context


@dataclass(frozen=True, slots=True)
class _Granted:
    """What the pipeline adds to a plan: a registered lease or a token, its writes, and what to say of it."""

    writes: Sequence[Write]
    warnings: Sequence[str]
    leased: Leased | None = None
    auth: Mapping[str, object] | None = None


async def _commit(
    node: Unsealed, request: Request, who: Identified, mounted: Mounted, context: Context, plan: Plan
) -> Response:
    """Make the plan's writes true, with those of the token it used and of what it grants: one entry, all or nothing."""
    answer = plan.answer
    granted = _Granted((), (), auth=answer.auth)
    if answer.lease is not None:
        granted = await _grant_lease(node, request, who, mounted, answer.lease)
    elif answer.login is not None:
        granted = _grant_token(node, request, context, mounted, answer.login)
    more = (*granted.writes, *who.use_writes)
    if plan.writes or more:
        # What committed names what it was based on, so the commit itself is the proof that nothing read was stale.
        await node.opened.commit(node.prefix_of(mounted.mount), plan.writes, more)
        if who.token is not None and is_last_use(who.token):
            await node.ledger.revoker.revoke(who.token.key)
    else:
        # The gate of design.md, section 2: after everything was read, before anything is said.
        node.store.require_lease()
    if answer.raw is not None:
        return Response(200, answer.raw.body, answer.raw.content_type)
    if answer.bare is not None:
        return bare(answer.bare)
    warnings = (*answer.warnings, *granted.warnings)
    if answer.data is None and granted.auth is None and not warnings:
        return NO_CONTENT
    members = envelope(
        request.id,
        replace(answer, warnings=warnings) if granted.warnings else answer,
        mount_type=mounted.mount.type,
        leased=granted.leased,
        auth=granted.auth,
    )
    return of_envelope(members)


async def _grant_lease(
    node: Unsealed, request: Request, who: Identified, mounted: Mounted, grant: LeaseGrant
) -> _Granted:
    registered = await node.ledger.leases.register(
        grant, path=request.path, mount_uuid=mounted.mount.uuid, holder=who.token
    )
    if registered.is_abandoned:
        # The token ended while the engine worked: the sweeper revokes what was made, and nobody is told the secret.
        await node.opened.commit("", (), registered.writes)
        raise PermissionDenied
    lease = registered.lease
    leased = Leased(lease_id=lease.lease_id, ttl_s=registered.ttl_s, renewable=lease.renewable)
    return _Granted(registered.writes, registered.warnings, leased=leased)


def _grant_token(node: Unsealed, request: Request, context: Context, mounted: Mounted, grant: TokenGrant) -> _Granted:
    now_ms = node.sources.now_ms()
    mount_type = mounted.mount.config.token_type or "default"
    decided = decide_login(grant, context.mount, request.path, now_ms, mount_type=mount_type)
    made = node.ledger.tokens.create_writes(decided.spec)
    return _Granted(made.writes, decided.warnings, auth=auth_block(made.token, made.entry, now_ms))


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
