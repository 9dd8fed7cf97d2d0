"""The way of a request on the node that leads: token, policy, mount, engine, plan, barrier, raft, answer.

One function knows the whole way and reads like that line; what it calls does one thing.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cluster.errors import ClusterError, Conflict, NoLeader, OutcomeUnknown
from cluster.meters import clock
from engines.common.context import Caller, Context
from engines.common.errors import (
    EngineError,
    InvalidRequest,
    LoginRefused,
    NotFound,
    PermissionDenied,
    Unsupported,
    UnsupportedPath,
)
from engines.common.frame import Match, Operation
from engines.common.help import help_for
from engines.common.plan import Answer, Check, LeaseGrant, Plan, TokenGrant, Write
from node.audit.trail import Trail
from node.ceremonies.open_paths import is_open
from node.errors import NoRoute, NotAWrappingToken
from node.identify import ANONYMOUS, Identified
from node.leases.manager import Registered
from node.mounts import AUTH_KEY, Mounted
from node.request import Request
from node.response import NO_CONTENT, Leased, Response, bare, envelope, of_envelope
from node.tokens.answers import auth_block
from node.tokens.creation import decide_login
from node.unsealed import NODE_TYPES, Unsealed
from node.wrapping import unwraps_own_token

# A write that lost a race is planned again from what is there now. Contention on one key clears in a few rounds; the
# bound only keeps a pathological case from running for ever.
PLAN_ATTEMPTS_MAX: Final = 64


async def serve(node: Unsealed, request: Request) -> Response:
    """Answer one well-formed request.

    Raises:
        EngineError, NodeError, ClusterError: What node/status.py maps to a refusal.
    """
    if node.meters.sampling.timed:
        return await _timed(node, request)
    if not node.audit.enabled:
        return await _serve(node, request, None)
    return await _recorded(node, request)


async def _timed(node: Unsealed, request: Request) -> Response:
    began_s = clock()
    # Asked first: a request that replaces the store (a restore) leaves nothing behind it that could be asked.
    is_login = not request.token or _ignores_token(node, request)
    try:
        return await (_recorded(node, request) if node.audit.enabled else _serve(node, request, None))
    finally:
        (node.meters.handle_login if is_login else node.meters.handle_request).add(clock() - began_s)


async def _recorded(node: Unsealed, request: Request) -> Response:
    """The answer, with the request's record on the audit devices before it and its own behind it."""
    trail = Trail(node.audit, node.router, request)
    try:
        response = await _serve(node, request, trail)
    except BaseException as error:
        await trail.refused(error)
        raise
    await trail.answered(response)
    return response


async def _serve(node: Unsealed, request: Request, trail: Trail | None) -> Response:
    since = node.store.leading_term  # before anything is read: see Store.require_lease
    sender = _Sender()
    try:
        if request.token and is_open(request.path):
            sender.who = await _welcomed(node, request)
        elif request.token and not _ignores_token(node, request):
            sender.who = await _identify(node, request)
        for attempt in range(1, PLAN_ATTEMPTS_MAX + 1):
            try:
                return await _attempt(node, request, sender, since, trail)
            except Conflict:
                if attempt == PLAN_ATTEMPTS_MAX:
                    raise
            if sender.who.token is not None and not sender.has_spent_last:
                sender.who = await node.identify(request)
        raise AssertionError("the loop returns or raises")
    except NoLeader as error:
        if sender.has_spent:
            # NoLeader is answered by asking the next leader, who would take another use for the same request.
            raise OutcomeUnknown(
                "leadership was lost after a use of the token was taken; the use is gone, and nothing was answered"
            ) from error
        raise
    except (EngineError, NoRoute, NotAWrappingToken) as error:
        if sender.has_use_left:
            # What is refused costs a use as well, as documented, and is recorded first as everything is.
            if trail is not None:
                await trail.request_refused(error)
            await sender.spend(node, request)
        # "Not there", "not allowed" and "another version" are answers from what was read, so they pass the gate too.
        # Not after a use was taken: its commit is the proof, and a request that is tried again would take another.
        if not sender.has_spent:
            node.store.require_lease(since)
        raise
    finally:
        if sender.has_spent_last and sender.who.token is not None:
            # It is of no use to anybody from its last use on. Should clearing it away fail, the sweeper does it, and
            # the answer, which may be the only copy of what was wrapped, is given nevertheless.
            with suppress(ClusterError):
                await node.ledger.revoker.revoke(sender.who.token.key)


def _ignores_token(node: Unsealed, request: Request) -> bool:
    """Whether the request is served to anybody, so that its token is not looked at and none of its uses is taken.

    A token that has ended must not stand in the way of the login that would replace it, and one that wraps an answer
    survives being looked up. Only `sys/internal/` shows more to those who bring a good token.
    """
    if request.help or not request.path.startswith(("auth/", "sys/")) or request.path.startswith("sys/internal/"):
        return False
    found = node.router.match(request.path)
    return found is not None and found[0].engine.table.is_unauthenticated(request.operation, found[1])


@dataclass(slots=True)
class _Sender:
    """Who sends the request, and what that has cost.

    Invariant: of a token with limited uses one is taken for each request, once it is recorded and before it is worked
    on; so none is used twice, and a use that nobody can account for is never taken.
    """

    who: Identified = ANONYMOUS
    has_spent: bool = False
    has_spent_last: bool = False

    @property
    def has_use_left(self) -> bool:
        """Whether a use is still to be taken."""
        return bool(self.who.use_writes) and not self.has_spent

    async def spend(self, node: Unsealed, request: Request) -> None:
        """Take one use, if they are limited. Raises what `_identify` does when others have taken the last one."""
        while self.has_use_left:
            try:
                await node.opened.commit("", self.who.use_writes)
            except Conflict:
                self.who = await _identify(node, request)
            else:
                self.has_spent, self.has_spent_last = True, self.who.is_last_use


async def _identify(node: Unsealed, request: Request) -> Identified:
    """The sender. Raises PermissionDenied; NotAWrappingToken where its token is what is to be unwrapped."""
    try:
        return await node.identify(request)
    except PermissionDenied:
        if unwraps_own_token(request):
            raise NotAWrappingToken from None
        raise


async def _welcomed(node: Unsealed, request: Request) -> Identified:
    """The sender of what is served to anybody, where a right to it counts for more: a bad token is like none."""
    try:
        return await _identify(node, request)
    except PermissionDenied:
        return ANONYMOUS


async def _attempt(node: Unsealed, request: Request, sender: _Sender, since: int, trail: Trail | None) -> Response:
    who = sender.who
    if trail is not None:
        trail.who = who
    found = node.router.match(request.path)
    if found is None:
        _require_allowed(node, who, request)
        raise NoRoute(request.path)
    mounted, below = found
    if mounted.mount.closed:
        _require_allowed(node, who, request)
        raise NoRoute(request.path)
    if request.help:
        _require_token(who)
        if trail is not None:
            await trail.request(mounted.mount, request.operation)
        await sender.spend(node, request)
        return bare(help_for(mounted.engine, mounted.mount.path, below))
    typed = request
    if mounted.engine.fold is not None:
        below = mounted.engine.fold(below)
        request = replace(request, path=mounted.mount.path + below)
    match, decoded, context, operation = await _route(node, mounted, below, who, request, typed)
    if trail is not None:
        may_wait = _changes_nothing(mounted, operation, request) and not sender.has_use_left
        await trail.request(mounted.mount, operation, may_wait=may_wait)
    if sender.has_use_left:
        await sender.spend(node, request)
    timer = mounted.timers.get(operation) or node.new_timer(mounted, operation)
    timer.seen += 1
    began_s = clock() if node.meters.sampling.timed else 0.0
    try:
        plan = await match.route.handler(decoded, context)
        return await _commit(node, request, sender, mounted, context, plan, since)
    except LoginRefused as refused:
        await node.lockout.failed(mounted.mount, refused.alias_name)
        raise
    except NotFound as missing:
        if missing.answer is None:
            raise
        # What the documentation shows beside a 404, such as the metadata of a deleted version.
        if not sender.has_spent:
            node.store.require_lease(since)
        return of_envelope(envelope(request.id, missing.answer, mount_type=mounted.mount.type), 404)
    finally:
        if began_s:
            timer.add(clock() - began_s)


def _changes_nothing(mounted: Mounted, operation: Operation, request: Request) -> bool:
    """Whether the request only reads what is stored."""
    is_read = operation is Operation.READ or operation is Operation.LIST
    return is_read and mounted.engine.reads_are_pure and not request.wrap_ttl_s


async def _route(
    node: Unsealed, mounted: Mounted, below: str, who: Identified, request: Request, typed: Request
) -> tuple[Match, Any, Context, Operation]:
    """The route, the typed request, what the engine may know, and the operation that policy has allowed.

    Nobody without a right on the path learns whether it exists or which field was wrong. `typed` is the request with
    its path as it came: where an engine takes several spellings of a name, policy must allow both.
    """
    is_own = mounted.mount.type in NODE_TYPES
    caller = who.caller if is_own else who.for_engines
    if who is ANONYMOUS:
        caller = Caller(client_address=request.client_address, token=request.token if is_own else "")
    context = node.context(mounted, caller, request.wrap_ttl_s, request.upload)
    try:
        match = mounted.engine.table.match(request.operation, below)
    except (Unsupported, UnsupportedPath):
        _require_allowed(node, who, request, typed)
        raise
    route = match.route
    if route.unauthenticated:
        return match, match.decode(request.body), context, request.operation
    _require_token(who)
    operation = request.operation
    try:
        decoded = match.decode(request.body)
        if operation is Operation.UPDATE and route.exists is not None and not who.acl.is_root:
            operation = Operation.UPDATE if await route.exists(decoded, context) else Operation.CREATE
    except EngineError:
        _require_allowed(node, who, request, typed)
        raise
    decision = node.require(who, request, operation, sudo=route.sudo)
    if typed.path != request.path:
        node.require(who, typed, operation, sudo=route.sudo)
    if decision.sudo and not who.caller.has_sudo:
        context = replace(context, caller=replace(caller, has_sudo=True))
    return match, decoded, context, operation


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True)
class _Granted:
    """What the pipeline adds to a plan: a registered lease or a token, its writes, and what to say of it."""

    writes: Sequence[Write] = ()
    warnings: Sequence[str] = ()
    leased: Leased | None = None
    auth: Mapping[str, object] | None = field(default=None, repr=False)


async def _commit(
    node: Unsealed,
    request: Request,
    sender: _Sender,
    mounted: Mounted,
    context: Context,
    plan: Plan,
    since: int,
) -> Response:
    """Make the plan's writes true, with those of what it grants and wraps: one entry, all or nothing."""
    answer = plan.answer
    if answer.lease is not None:
        return await _commit_lease(node, request, sender, mounted, plan, answer.lease)
    if answer.login is not None:
        granted = _grant_token(node, request, context, mounted, answer.login)
    else:
        granted = _Granted(auth=answer.auth, leased=_told_again(answer))
    response, wrap_writes = _respond(node, request, mounted, answer, granted)
    more = (*granted.writes, *wrap_writes)
    if plan.writes or more:
        # What committed names what it was based on, so the commit itself is the proof that nothing read was stale.
        await node.opened.commit(mounted.prefix, plan.writes, more)
    elif not sender.has_spent and not plan.is_committed:
        # The gate of design.md, section 2: after everything was read, before anything is said.
        node.store.require_lease(since)
    return response


async def _commit_lease(
    node: Unsealed, request: Request, sender: _Sender, mounted: Mounted, plan: Plan, grant: LeaseGrant
) -> Response:
    """The engine has already made the secret: it is either committed with its lease, or the engine takes it back."""
    try:
        registered, response = await _register_lease(node, request, sender, mounted, plan, grant)
    except OutcomeUnknown:
        raise  # the lease may yet be; whoever leads next finds out from the engine's intent
    except Exception:
        if plan.undo is not None:
            await plan.undo()
        raise
    if registered.is_abandoned:
        # The token ended while the engine worked: the sweeper revokes what was made, and nobody learns the secret.
        raise PermissionDenied
    return response


async def _register_lease(
    node: Unsealed, request: Request, sender: _Sender, mounted: Mounted, plan: Plan, grant: LeaseGrant
) -> tuple[Registered, Response]:
    """A lost race registers the lease again, and never asks the engine."""
    if sender.has_spent_last:
        raise InvalidRequest("secret cannot be returned; token had one use left, so leased credentials were revoked")
    for attempt in range(1, PLAN_ATTEMPTS_MAX + 1):
        registered = await node.ledger.leases.register(
            grant, path=request.path, mount_uuid=mounted.mount.uuid, holder=sender.who.token
        )
        lease = registered.lease
        leased = Leased(lease_id=lease.lease_id, ttl_s=registered.ttl_s, renewable=lease.renewable)
        granted = _Granted(registered.writes, registered.warnings, leased=leased)
        response, wrap_writes = _respond(node, request, mounted, plan.answer, granted)
        more = (*registered.writes, *wrap_writes, node.still_open(mounted.mount))
        try:
            await node.opened.commit(node.prefix_of(mounted.mount), plan.writes, more)
        except Conflict:
            if attempt == PLAN_ATTEMPTS_MAX:
                raise
            continue
        node.meters.lease_made(mounted.mount, registered.ttl_s)
        return registered, response
    raise AssertionError("the loop returns or raises")


def _respond(
    node: Unsealed, request: Request, mounted: Mounted, answer: Answer, granted: _Granted
) -> tuple[Response, Sequence[Write]]:
    """The response to give once everything is committed, and the writes that wrapping it takes."""
    if answer.stream is not None:
        return Response(200, content_type=answer.stream.content_type, stream=answer.stream.chunks), ()
    if answer.raw is not None:
        return Response(200, answer.raw.body, answer.raw.content_type), ()
    if answer.bare is not None:
        return bare(answer.bare), ()
    if granted.warnings:
        answer = replace(answer, warnings=(*answer.warnings, *granted.warnings))
    is_empty = answer.data is None and granted.auth is None and granted.leased is None and answer.wrap_info is None
    if is_empty and not answer.warnings:
        return NO_CONTENT, ()
    members = envelope(
        request.id,
        answer,
        mount_type=mounted.mount.type,
        leased=granted.leased,
        auth=granted.auth,
        wrap_info=answer.wrap_info,
    )
    if not request.wrap_ttl_s or is_empty or answer.wrap_info is not None:
        return of_envelope(members), ()
    wrapped = node.wrapping.wrap(members, request.wrap_ttl_s, request.path)
    return of_envelope(envelope(request.id, Answer(), wrap_info=wrapped.info)), wrapped.writes


def _told_again(answer: Answer) -> Leased | None:
    known = answer.known_lease
    return None if known is None else Leased(lease_id=known.lease_id, ttl_s=known.ttl_s, renewable=known.renewable)


def _grant_token(node: Unsealed, request: Request, context: Context, mounted: Mounted, grant: TokenGrant) -> _Granted:
    """A token and its entity for right credentials. Raises PermissionDenied for a locked user or a disabled entity."""
    unlocking = node.lockout.admit(mounted.mount, grant.alias_name)
    mounts = node.opened.get(AUTH_KEY)
    now = node.router.by_path.get(mounted.mount.path)
    if mounts is None or now is None or now.mount.uuid != mounted.mount.uuid or now.mount.closed:
        raise NoRoute(request.path)
    now_ms = node.sources.now_ms()
    mount_type = mounted.mount.config.token_type or "default"
    bound = node.bind(mounted.mount, grant)
    decided = decide_login(grant, context.mount, request.path, now_ms, mount_type=mount_type, entity_id=bound.entity_id)
    made = node.ledger.tokens.create_writes(decided.spec)
    # Disabling the mount revokes what it issued so far, so nothing may be issued beside it.
    writes = (*made.writes, *bound.writes)
    unchanged = (Check(AUTH_KEY, mounts.index),) if writes else ()
    # As of its making: a millisecond later the lifetime would be rounded up by a second.
    auth = auth_block(made.token, made.entry, made.entry.created_at_ms, bound.policies)
    return _Granted((*writes, *unlocking, *unchanged), decided.warnings, auth=auth)


def _require_token(who: Identified) -> None:
    if who is ANONYMOUS:
        raise PermissionDenied


def _require_allowed(node: Unsealed, who: Identified, *spellings: Request) -> None:
    """For a request that will be refused anyway: with a right on each spelling, the caller may learn why."""
    _require_token(who)
    for request in spellings:
        if request.operation is Operation.UPDATE:
            try:
                node.require(who, request, Operation.CREATE)
            except PermissionDenied:
                node.require(who, request, Operation.UPDATE)
        else:
            node.require(who, request, request.operation)
