"""auth/token: every path, its request and its handler. Mount it with a View and writes of the whole storage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound, PermissionDenied
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Engine, Handler, Operation, Route, RouteTable
from engines.common.plan import Answer, Delete, Plan, Put, TokenGrant
from node.identity.binding import NOBODY, Bound
from node.tokens import store
from node.tokens.answers import auth_block, lookup_data
from node.tokens.creation import CreateToken, CreateTokenOfRole, decide
from node.tokens.logic import End
from node.tokens.model import SeenToken, TokenEntry, TokenType, Ttls
from node.tokens.revoker import Revoker
from node.tokens.roles import RoleName, TokenRole, WriteRole, changed_role, encode_role, read_role, role_answer
from node.tokens.tidy import Tidy
from node.tokens.token_store import TokenStore, is_alive

RenewLogin = Callable[[TokenEntry], Awaitable[TokenGrant]]
"""Ask the auth method whether a login may go on, and with which durations. Raises what the method refuses with."""

IdentityPolicies = Callable[[str], tuple[str, ...]]
"""By entity id: the policies that the entity brings to its tokens."""
BindAlias = Callable[[str, str], Bound]
"""By mount accessor and alias name: the entity to make a token for. Raises PermissionDenied when it is disabled."""

_TIDY_STARTED: Final = (
    "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A request without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenToken:
    """Names a token by itself, in the body."""

    token: str = body_param(Kind.STRING, "The token.", default="", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TokenInPath:
    """Names a token by itself, in the path. Without a repr, which would show it."""

    token: str = path_param("The token.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAccessor:
    """Names a token by its accessor."""

    accessor: str = body_param(Kind.STRING, "The accessor of the token.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewSelf:
    """Asks for more time for the caller's own token."""

    increment: int = body_param(Kind.DURATION, "Time asked for, from now.", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewToken(RenewSelf):
    """Asks for more time for a token."""

    token: str = body_param(Kind.STRING, "The token.", default="", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RenewTokenInPath(RenewSelf):
    """Asks for more time for a token named in the path. Without a repr, which would show it."""

    token: str = path_param("The token.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewAccessor(RenewSelf):
    """Asks for more time for the token of an accessor."""

    accessor: str = body_param(Kind.STRING, "The accessor of the token.", default="")


class TokenPaths:
    """The handlers of auth/token."""

    def __init__(
        self,
        tokens: TokenStore,
        revoker: Revoker,
        tidy: Tidy,
        *,
        renew_login: RenewLogin | None = None,
        identity_policies: IdentityPolicies = lambda _: (),
        bind_alias: BindAlias = lambda _accessor, _name: NOBODY,
    ) -> None:
        self._tokens = tokens
        self._revoker = revoker
        self._tidy = tidy
        self._renew_login = renew_login
        self._identity_policies = identity_policies
        self._bind_alias = bind_alias

    # Create

    async def create(self, request: CreateToken, ctx: Context) -> Plan:
        return await self._create(request, ctx, is_orphan_path=False)

    async def create_orphan(self, request: CreateToken, ctx: Context) -> Plan:
        return await self._create(request, ctx, is_orphan_path=True)

    async def _create(self, request: CreateToken, ctx: Context, *, is_orphan_path: bool) -> Plan:
        parent = await self._own(ctx)
        role: TokenRole | None = None
        if request.role_name:
            role, _ = await read_role(self._tokens.view, request.role_name)
            if role is None:
                raise InvalidRequest(f"unknown role {request.role_name}")
        limits = Ttls(ctx.mount.default_ttl_s, ctx.mount.max_ttl_s)
        now_ms = ctx.sources.now_ms()
        decided = decide(request, role, parent, ctx.caller, limits, now_ms, is_orphan_path=is_orphan_path)
        if decided.spec.id and await self._tokens.lookup(decided.spec.id) is not None:
            raise InvalidRequest("cannot create a token with a duplicate ID")
        spec, bound = decided.spec, NOBODY
        if request.entity_alias:
            bound = self._bind_alias(ctx.mount.accessor, request.entity_alias)
            spec = replace(spec, entity_id=bound.entity_id)
        made = self._tokens.create_writes(spec)
        policies = bound.policies or self._identity_policies(spec.entity_id)
        auth = auth_block(made.token, made.entry, made.entry.created_at_ms, policies)
        answer = Answer(auth=auth, warnings=decided.warnings)
        return Plan(answer, (*made.writes, *bound.writes))

    # Lookup

    async def lookup(self, request: GivenToken, ctx: Context) -> Plan:
        if not request.token:
            raise InvalidRequest("missing token ID")
        seen = await self._tokens.lookup(request.token)
        if seen is None or not is_alive(seen.entry, ctx.sources.now_ms()):
            raise PermissionDenied("bad token")
        return self._shown(request.token, seen, ctx)

    async def lookup_self(self, request: Nothing, ctx: Context) -> Plan:
        return self._shown(ctx.caller.token, await self._own(ctx), ctx)

    async def lookup_accessor(self, request: GivenAccessor, ctx: Context) -> Plan:
        return self._shown("", await self._of_accessor(request.accessor, ctx), ctx)

    def _shown(self, token: str, seen: SeenToken, ctx: Context) -> Plan:
        with self._tokens.meters.fetch_token_times.timing():
            policies = self._identity_policies(seen.entry.entity_id)
            return Plan(Answer(data=lookup_data(token, seen.entry, ctx.sources.now_ms(), policies)))

    async def accessors(self, request: Nothing, ctx: Context) -> Plan:
        found = [accessor async for accessor in self._tokens.accessors()]
        if not found:
            raise NotFound
        return Plan(Answer(data={"keys": found}))

    # Renew

    async def renew(self, request: RenewToken | RenewTokenInPath, ctx: Context) -> Plan:
        if not request.token:
            raise InvalidRequest("missing token ID")
        seen = await self._tokens.lookup(request.token)
        if seen is None or not is_alive(seen.entry, ctx.sources.now_ms()):
            raise InvalidRequest("token not found")
        return await self._renewed(request.token, seen, request.increment, ctx)

    async def renew_self(self, request: RenewSelf, ctx: Context) -> Plan:
        return await self._renewed(ctx.caller.token, await self._own(ctx), request.increment, ctx)

    async def renew_accessor(self, request: RenewAccessor, ctx: Context) -> Plan:
        seen = await self._of_accessor(request.accessor, ctx)
        return await self._renewed("", seen, request.increment, ctx)

    async def _renewed(self, token: str, seen: SeenToken, increment_s: int, ctx: Context) -> Plan:
        if seen.entry.type is TokenType.BATCH:
            raise InvalidRequest("batch tokens cannot be renewed")
        if increment_s < 0:
            raise InvalidRequest("increment must be positive")
        end = await self._new_end(seen, increment_s)
        entry, writes = self._tokens.renew_writes(seen, end.at_ms)
        policies = self._identity_policies(entry.entity_id)
        answer = Answer(auth=auth_block(token, entry, ctx.sources.now_ms(), policies), warnings=end.warnings)
        return Plan(answer, writes)

    async def _new_end(self, seen: SeenToken, increment_s: int) -> End:
        """Asks the role or auth method first, as it is today: it may have been tightened since the token was made."""
        entry = seen.entry
        if entry.role:
            role, _ = await read_role(self._tokens.view, entry.role)
            if role is None:
                raise InvalidRequest(f'original token role "{entry.role}" could not be found, not renewing')
            return self._tokens.renewal(seen, increment_s or entry.ttl_s, period_s=role.period_s or entry.period_s)
        if self._renew_login is not None and entry.renewable and not entry.path.startswith("auth/token/"):
            grant = await self._renew_login(entry)
            return self._tokens.renewal(
                seen, increment_s or grant.ttl_s, period_s=grant.period_s, max_ttl_s=grant.max_ttl_s
            )
        return self._tokens.renewal(seen, increment_s or entry.ttl_s)

    # Revoke

    async def revoke(self, request: GivenToken, ctx: Context) -> Plan:
        await self._revoker.revoke(await self._to_revoke(request.token))
        return Plan()

    async def revoke_self(self, request: Nothing, ctx: Context) -> Plan:
        seen = await self._own(ctx)
        if seen.entry.type is TokenType.BATCH:
            raise InvalidRequest("batch tokens cannot be revoked")
        await self._revoker.revoke(seen.key)
        return Plan()

    async def revoke_accessor(self, request: GivenAccessor, ctx: Context) -> Plan:
        if not request.accessor:
            raise InvalidRequest("missing accessor")
        seen = await self._tokens.lookup_accessor(request.accessor)
        if seen is None:
            return Plan(Answer(warnings=("No token found with this accessor",)))
        await self._revoker.revoke(seen.key)
        return Plan()

    async def revoke_orphan(self, request: GivenToken | TokenInPath, ctx: Context) -> Plan:
        await self._revoker.revoke_sparing_children(await self._to_revoke(request.token))
        return Plan()

    async def _to_revoke(self, token: str) -> str:
        if not token:
            raise InvalidRequest("missing token ID")
        seen = await self._tokens.lookup(token)
        if seen is not None and seen.entry.type is TokenType.BATCH:
            raise InvalidRequest("batch tokens cannot be revoked")
        return self._tokens.key_of(token)

    async def tidy(self, request: Nothing, ctx: Context) -> Plan:
        if not self._tidy.background.start():
            return Plan(Answer(warnings=("Tidy operation on tokens is already in progress.",)))
        return Plan(Answer(warnings=(_TIDY_STARTED,)))

    # Roles

    async def list_roles(self, request: Nothing, ctx: Context) -> Plan:
        names = await self._tokens.view.list(store.ROLES)
        if not names:
            raise NotFound
        return Plan(Answer(data={"keys": names}))

    async def read_role(self, request: RoleName, ctx: Context) -> Plan:
        role, _ = await read_role(self._tokens.view, request.role_name)
        if role is None:
            raise NotFound
        return Plan(Answer(data=role_answer(role)))

    async def role_exists(self, request: WriteRole, ctx: Context) -> bool:
        return (await read_role(self._tokens.view, request.role_name))[1] != 0

    async def write_role(self, request: WriteRole, ctx: Context) -> Plan:
        stored, index = await read_role(self._tokens.view, request.role_name)
        role = changed_role(stored or TokenRole(name=request.role_name), request)
        return Plan(writes=(Put(store.role_key(role.name), encode_role(role), index),))

    async def delete_role(self, request: RoleName, ctx: Context) -> Plan:
        return Plan(writes=(Delete(store.role_key(request.role_name)),))

    async def _own(self, ctx: Context) -> SeenToken:
        seen = await self._tokens.lookup(ctx.caller.token)
        if seen is None:
            raise PermissionDenied
        return seen

    async def _of_accessor(self, accessor: str, ctx: Context) -> SeenToken:
        if not accessor:
            raise InvalidRequest("missing accessor")
        seen = await self._tokens.lookup_accessor(accessor)
        if seen is None or not is_alive(seen.entry, ctx.sources.now_ms()):
            raise InvalidRequest("invalid accessor")
        return seen


def token_engine(
    tokens: TokenStore,
    revoker: Revoker,
    tidy: Tidy,
    *,
    renew_login: RenewLogin | None = None,
    identity_policies: IdentityPolicies = lambda _: (),
    bind_alias: BindAlias = lambda _accessor, _name: NOBODY,
) -> Engine:
    """The engine behind auth/token. `renew_login` lets auth methods refuse or shape the renewal of their tokens."""
    paths = TokenPaths(
        tokens, revoker, tidy, renew_login=renew_login, identity_policies=identity_policies, bind_alias=bind_alias
    )
    return Engine(
        type="token",
        is_auth=True,
        description="token based credentials",
        help="Makes, shows, renews and ends tokens, and keeps the roles they are made by.",
        table=RouteTable(token_routes(paths)),
    )


def token_routes(paths: TokenPaths) -> tuple[Route, ...]:
    """The routes of auth/token, in the order of the API reference."""

    def write(pattern: str, request: type, handler: Handler, summary: str, *, sudo: bool = False) -> Route:
        return Route(
            pattern=pattern, operation=Operation.UPDATE, request=request, handler=handler, summary=summary, sudo=sudo
        )

    def read(
        pattern: str, operation: Operation, request: type, handler: Handler, summary: str, *, sudo: bool = False
    ) -> Route:
        return Route(pattern=pattern, operation=operation, request=request, handler=handler, summary=summary, sudo=sudo)

    return (
        read("accessors", Operation.LIST, Nothing, paths.accessors, "List the accessors of all tokens.", sudo=True),
        write("create", CreateToken, paths.create, "Create a token."),
        write("create-orphan", CreateToken, paths.create_orphan, "Create a token without a parent."),
        write("create/:role_name", CreateTokenOfRole, paths.create, "Create a token by a role."),
        write("lookup", GivenToken, paths.lookup, "Show a token's properties."),
        read("lookup", Operation.READ, GivenToken, paths.lookup, "Show a token's properties."),
        read("lookup-self", Operation.READ, Nothing, paths.lookup_self, "Show the properties of the caller's token."),
        write("lookup-self", Nothing, paths.lookup_self, "Show the properties of the caller's token."),
        write("lookup-accessor", GivenAccessor, paths.lookup_accessor, "Show the properties of an accessor's token."),
        write("renew", RenewToken, paths.renew, "Renew a token."),
        write("renew/:token", RenewTokenInPath, paths.renew, "Renew a token."),
        write("renew-self", RenewSelf, paths.renew_self, "Renew the caller's token."),
        write("renew-accessor", RenewAccessor, paths.renew_accessor, "Renew the token of an accessor."),
        write("revoke", GivenToken, paths.revoke, "Revoke a token and all below it."),
        write("revoke-self", Nothing, paths.revoke_self, "Revoke the caller's token and all below it."),
        write("revoke-accessor", GivenAccessor, paths.revoke_accessor, "Revoke the token of an accessor."),
        write("revoke-orphan", GivenToken, paths.revoke_orphan, "Revoke a token, but not its children.", sudo=True),
        write(
            "revoke-orphan/:token", TokenInPath, paths.revoke_orphan, "Revoke a token, but not its children.", sudo=True
        ),
        read("roles", Operation.LIST, Nothing, paths.list_roles, "List the token roles."),
        read("roles/:role_name", Operation.READ, RoleName, paths.read_role, "Read a token role."),
        Route(
            pattern="roles/:role_name",
            operation=Operation.UPDATE,
            request=WriteRole,
            handler=paths.write_role,
            exists=paths.role_exists,
            summary="Create or change a token role.",
        ),
        read("roles/:role_name", Operation.DELETE, RoleName, paths.delete_role, "Delete a token role."),
        write("tidy", Nothing, paths.tidy, "Remove what tokens of the past have left behind."),
    )
