"""sys/leases: every path, its request and its handler. Writes are of the whole storage, as in auth/token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Handler, Operation, Route
from engines.common.plan import Answer, KnownLease, Plan
from engines.common.timestamp import rfc3339
from node.leases.manager import LeaseManager
from node.tokens.logic import left_s

_LISTED_MAX: Final = 10_000  # the documented default of `limit`


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A request without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLease:
    """Names a lease."""

    lease_id: str = body_param(Kind.STRING, "The lease.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewLease(GivenLease):
    """Asks for more time; an id in the body wins over one in the path."""

    url_lease_id: str = path_param("The lease.")
    increment: int = body_param(Kind.DURATION, "Time asked for, from now.", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeLease(GivenLease):
    """Ends a lease; an id in the body wins over one in the path."""

    url_lease_id: str = path_param("The lease.")
    sync: bool = body_param(Kind.BOOL, "Return only once it is revoked.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """Names all leases below a path."""

    prefix: str = path_param("The path they were issued from.")
    sync: bool = body_param(Kind.BOOL, "Return only once all are revoked.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfType:
    """Asks for leases of a type, of which the API knows one."""

    type: str = body_param(Kind.STRING, "Only irrevocable.", default="")
    include_child_namespaces: bool = body_param(Kind.BOOL, "Without effect.", default=False)
    limit: str = body_param(Kind.STRING, "How many to list, or none for all.", default="")


class LeasePaths:
    """The handlers of sys/leases."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager

    async def lookup(self, request: GivenLease, ctx: Context) -> Plan:
        if not request.lease_id:
            raise InvalidRequest("lease_id must be specified")
        lease = await self._manager.lookup(request.lease_id)
        renewed = rfc3339(lease.renewed_at_ms) if lease.renewed_at_ms else None
        data = {
            "id": lease.lease_id,
            "issue_time": rfc3339(lease.issued_at_ms),
            "expire_time": rfc3339(lease.expire_at_ms),
            "last_renewal": renewed,
            "last_renewal_time": renewed,
            "renewable": lease.renewable,
            "ttl": left_s(lease.expire_at_ms, ctx.sources.now_ms()),
        }
        return Plan(Answer(data=data, repeat_data=True))

    async def list(self, request: Prefix, ctx: Context) -> Plan:
        names = await self._manager.names_below(request.prefix)
        if not names:
            raise NotFound
        return Plan(Answer(data={"keys": names}))

    async def renew(self, request: RenewLease, ctx: Context) -> Plan:
        lease_id = _id_of(request.lease_id, request.url_lease_id)
        lease, writes, warnings = await self._manager.renew(lease_id, request.increment)
        left = left_s(lease.expire_at_ms, ctx.sources.now_ms())
        return Plan(Answer(known_lease=KnownLease(lease_id, left, lease.renewable), warnings=warnings), writes)

    async def revoke(self, request: RevokeLease, ctx: Context) -> Plan:
        await self._manager.revoke(_id_of(request.lease_id, request.url_lease_id), is_sync=request.sync)
        return Plan()

    async def revoke_prefix(self, request: Prefix, ctx: Context) -> Plan:
        await self._manager.revoke_prefix(_required(request.prefix), is_sync=request.sync)
        return Plan()

    async def revoke_force(self, request: Prefix, ctx: Context) -> Plan:
        await self._manager.revoke_prefix(_required(request.prefix), is_forced=True)
        return Plan()

    async def tidy(self, request: Nothing, ctx: Context) -> Plan:
        if not self._manager.tidying.start():
            raise InvalidRequest("Tidy operation on leases is already in progress.")
        return Plan()

    async def count(self, request: OfType, ctx: Context) -> Plan:
        _require_irrevocable(request)
        counts = await self._manager.count_irrevocable()
        return Plan(Answer(data={"lease_count": sum(counts.values()), "counts": counts}))

    async def irrevocable(self, request: OfType, ctx: Context) -> Plan:
        _require_irrevocable(request)
        limit = _limit_of(request.limit)
        leases = await self._manager.irrevocable(None if limit is None else limit + 1)
        warnings = (
            () if limit is None or len(leases) <= limit else ("Command limit was reached; there are more leases.",)
        )
        shown = leases[:limit]
        data = {
            "lease_count": len(shown),
            "leases": [{"lease_id": one.lease_id, "mount_id": one.mount_uuid, "error": one.error} for one in shown],
        }
        return Plan(Answer(data=data, warnings=warnings))


def _id_of(in_body: str, in_path: str) -> str:
    lease_id = in_body or in_path
    if not lease_id:
        raise InvalidRequest("lease_id must be specified")
    return lease_id


def _required(prefix: str) -> str:
    if not prefix.strip("/"):
        raise InvalidRequest("a prefix must be specified")
    return prefix


def _require_irrevocable(request: OfType) -> None:
    if request.type != "irrevocable":
        raise InvalidRequest("the only type of leases to be asked for is irrevocable")


def _limit_of(text: str) -> int | None:
    if text == "none":
        return None
    if not text:
        return _LISTED_MAX
    if not text.isascii() or not text.isdigit() or int(text[:9]) == 0:
        raise InvalidRequest("limit must be a positive number, or none")
    return int(text[:9])


def lease_routes(manager: LeaseManager) -> tuple[Route, ...]:
    """The routes of sys/leases, below `sys/`."""
    paths = LeasePaths(manager)

    def route(
        pattern: str, operation: Operation, request: type, handler: Handler, summary: str, *, sudo: bool = False
    ) -> Route:
        return Route(pattern=pattern, operation=operation, request=request, handler=handler, summary=summary, sudo=sudo)

    update = Operation.UPDATE
    return (
        route("leases/lookup", update, GivenLease, paths.lookup, "Show a lease."),
        route("leases/lookup/*prefix", Operation.LIST, Prefix, paths.list, "List leases by path.", sudo=True),
        route("leases/renew", update, RenewLease, paths.renew, "Renew a lease."),
        route("leases/renew/*url_lease_id", update, RenewLease, paths.renew, "Renew a lease."),
        route("leases/revoke", update, RevokeLease, paths.revoke, "Revoke a lease."),
        route("leases/revoke/*url_lease_id", update, RevokeLease, paths.revoke, "Revoke a lease."),
        route("leases/revoke-prefix/*prefix", update, Prefix, paths.revoke_prefix, "Revoke below a path.", sudo=True),
        route("leases/revoke-force/*prefix", update, Prefix, paths.revoke_force, "Forget below a path.", sudo=True),
        route("leases/tidy", update, Nothing, paths.tidy, "Revoke leases whose token is gone."),
        route("leases/count", Operation.READ, OfType, paths.count, "Count leases that could not be revoked."),
        route("leases", Operation.READ, OfType, paths.irrevocable, "List leases that could not be revoked."),
    )
