"""Every path of the AppRole method, in the order of its API reference, and what each does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgpack

from engines.approle import logic, store
from engines.approle.logic import REFUSED
from engines.approle.model import (
    BindSecretIdWrite,
    CustomSecretId,
    GivenAccessor,
    GivenSecretId,
    Login,
    Nothing,
    PeriodWrite,
    PoliciesWrite,
    Role,
    RoleIdWrite,
    RolePath,
    RoleWrite,
    SecretId,
    SecretIdBoundCidrsWrite,
    SecretIdMake,
    SecretIdNumUsesWrite,
    SecretIdTtlWrite,
    TokenBoundCidrsWrite,
    TokenMaxTtlWrite,
    TokenTtlWrite,
)
from engines.common.context import Context
from engines.common.errors import InvalidRequest, LoginRefused, NotFound
from engines.common.frame import Handler, Operation, Route, RouteTable
from engines.common.plan import Answer, Plan, Write
from engines.common.token_params import grant_of, require_address, warnings_of

_TIDY_STARTED: Final = (
    "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."
)
_TIDIED_MAX: Final = 450  # secret ids that one tidy removes, three keys each
_TIDIED_IN_PASSING: Final = 4  # secret ids that have ended, removed with each new one: so they never pile up


# Roles


async def _list_roles(_request: Nothing, ctx: Context) -> Plan:
    names = await ctx.view.list(store.ROLES)
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


async def _role(name: str, ctx: Context) -> store.SeenRole:
    seen = await store.read_role(ctx.view, logic.require_role_name(name))
    if seen is None:
        raise NotFound
    return seen


async def _role_exists(request: RoleWrite, ctx: Context) -> bool:
    return await store.read_role(ctx.view, logic.require_role_name(request.role_name)) is not None


async def _write_role(request: RoleWrite, ctx: Context) -> Plan:
    name = logic.require_role_name(request.role_name)
    seen = await store.read_role(ctx.view, name)
    if seen is not None:
        return _changed(seen, logic.changed_role(seen.role, request), ctx)
    digests, salt = await store.digests_and_write(ctx.view, ctx.sources)
    blank = Role(name=name, uid=logic.new_id(ctx.sources), role_id=logic.new_id(ctx.sources))
    role = logic.changed_role(blank, request, is_new=True)
    writes = (*salt, store.role_write(role, 0), store.role_id_write(digests, role))
    return Plan(Answer(warnings=warnings_of(role.params, ctx.mount)), writes)


def _changed(seen: store.SeenRole, role: Role, ctx: Context) -> Plan:
    return Plan(Answer(warnings=warnings_of(role.params, ctx.mount)), (store.role_write(role, seen.index),))


async def _read_role(request: RolePath, ctx: Context) -> Plan:
    seen = await _role(request.role_name, ctx)
    return Plan(Answer(data=logic.role_answer(seen.role)))


async def _delete_role(request: RolePath, ctx: Context) -> Plan:
    seen = await store.read_role(ctx.view, logic.require_role_name(request.role_name))
    if seen is None:
        return Plan()
    return Plan(writes=await store.role_removal(ctx.view, await store.existing_digests(ctx), seen))


async def _read_role_id(request: RolePath, ctx: Context) -> Plan:
    seen = await _role(request.role_name, ctx)
    return Plan(Answer(data={"role_id": seen.role.role_id}))


async def _write_role_id(request: RoleIdWrite, ctx: Context) -> Plan:
    seen = await _role(request.role_name, ctx)
    if not 0 < len(request.role_id) <= logic.ID_CHARS_MAX:
        raise InvalidRequest("missing role_id" if not request.role_id else "role_id is too long")
    if request.role_id == seen.role.role_id:
        return Plan()
    digests = await store.existing_digests(ctx)
    if await store.role_of_id(ctx.view, digests, request.role_id) is not None:
        raise InvalidRequest("role_id already in use")
    role = replace(seen.role, role_id=request.role_id)
    return Plan(
        writes=(
            store.role_write(role, seen.index),
            store.role_id_removal(digests, seen.role.role_id),
            store.role_id_write(digests, role),
        )
    )


# Secret ids


async def _make_secret_id(request: SecretIdMake, ctx: Context) -> Plan:
    return await _add_secret_id(request, logic.new_id(ctx.sources), ctx)


async def _make_custom_secret_id(request: CustomSecretId, ctx: Context) -> Plan:
    if not 0 < len(request.secret_id) <= logic.ID_CHARS_MAX:
        raise InvalidRequest("missing secret_id" if not request.secret_id else "secret_id is too long")
    return await _add_secret_id(request, request.secret_id, ctx)


async def _add_secret_id(request: SecretIdMake, secret: str, ctx: Context) -> Plan:
    seen = await store.read_role(ctx.view, logic.require_role_name(request.role_name))
    if seen is None:
        raise InvalidRequest(f'role "{request.role_name}" does not exist')
    made = logic.new_secret_id(seen.role, request, ctx.sources)
    digests = await store.existing_digests(ctx)
    digest = digests.secret_id(secret)
    older = await store.read_secret_id(ctx.view, seen.role, digest)
    if older is not None and logic.is_alive(older.secret_id.expire_at_ms, ctx.sources.now_ms()):
        raise InvalidRequest("SecretID is already registered")
    writes = store.secret_id_writes(digests, seen, made, digest, older)
    touched = {write.key for write in writes}
    ended = await store.leftovers(ctx.view, ctx.sources.now_ms(), _TIDIED_IN_PASSING)
    data = {
        "secret_id": secret,
        "secret_id_accessor": made.accessor,
        "secret_id_num_uses": made.num_uses,
        "secret_id_ttl": made.ttl_s,
    }
    return Plan(Answer(data=data), (*writes, *(write for write in ended if write.key not in touched)))


async def _list_accessors(request: RolePath, ctx: Context) -> Plan:
    seen = await _role(request.role_name, ctx)
    accessors = await store.read_accessors(ctx.view, seen.role, ctx.sources.now_ms())
    if not accessors:
        raise NotFound
    return Plan(Answer(data={"keys": accessors}))


async def _find(request: GivenSecretId | GivenAccessor, ctx: Context) -> tuple[Role, store.SeenSecretId | None]:
    """The role, and its own secret id of that text or accessor, if it has not ended."""
    seen = await _role(request.role_name, ctx)
    digests = await store.existing_digests(ctx)
    if isinstance(request, GivenSecretId):
        found = await store.read_secret_id(ctx.view, seen.role, digests.secret_id(request.secret_id))
    else:
        found = await store.secret_id_of_accessor(ctx.view, digests, seen.role, request.secret_id_accessor)
    if found is None or not logic.is_alive(found.secret_id.expire_at_ms, ctx.sources.now_ms()):
        return seen.role, None
    return seen.role, found


async def _lookup_secret_id(request: GivenSecretId, ctx: Context) -> Plan:
    """As documented clients expect, an unknown one is no error: there is nothing to say."""
    _, found = await _find(request, ctx)
    return Plan() if found is None else Plan(Answer(data=logic.secret_id_answer(found.secret_id)))


async def _lookup_accessor(request: GivenAccessor, ctx: Context) -> Plan:
    _, found = await _find(request, ctx)
    if found is None:
        raise NotFound("failed to find accessor entry for secret_id_accessor")
    return Plan(Answer(data=logic.secret_id_answer(found.secret_id)))


async def _destroy(request: GivenSecretId | GivenAccessor, ctx: Context) -> Plan:
    role, found = await _find(request, ctx)
    if found is not None:
        return Plan(writes=store.secret_id_removal(await store.existing_digests(ctx), role, found))
    if isinstance(request, GivenAccessor):
        raise NotFound("failed to find accessor entry for secret_id_accessor")
    return Plan()


async def _tidy(_request: Nothing, ctx: Context) -> Plan:
    writes = await store.leftovers(ctx.view, ctx.sources.now_ms(), _TIDIED_MAX)
    return Plan(Answer(warnings=(_TIDY_STARTED,)), writes)


# Login


async def _login(request: Login, ctx: Context) -> Plan:
    """One entry: the use of the secret id and the token become true together, or neither does."""
    if not request.role_id:
        raise InvalidRequest("missing role_id")
    role_id = request.role_id
    if max(len(role_id), len(request.secret_id)) > logic.ID_CHARS_MAX:
        raise InvalidRequest(REFUSED)
    digests = await store.read_digests(ctx.view)
    seen = await store.role_of_id(ctx.view, digests, role_id) if digests is not None else None
    if digests is None or seen is None:
        raise LoginRefused(REFUSED, role_id)
    role = seen.role
    found: store.SeenSecretId | None = None
    if role.bind_secret_id:
        if not request.secret_id:
            raise InvalidRequest("missing secret_id")
        found = await store.read_secret_id(ctx.view, role, digests.secret_id(request.secret_id))
        if found is None or not logic.is_alive(found.secret_id.expire_at_ms, ctx.sources.now_ms()):
            raise LoginRefused(REFUSED, role_id)
    params = logic.login_params(role, found.secret_id if found is not None else None, ctx.caller.client_address)
    require_address(params, ctx)
    metadata = found.secret_id.metadata if found is not None else {}
    grant = grant_of(
        params,
        ctx.mount,
        alias_name=role_id,
        metadata={**metadata, "role_name": role.name},
        internal=bytes(msgpack.packb((role.name, role.uid))),
    )
    return Plan(Answer(login=grant), _use(digests, role, found, ctx.sources.now_ms()) if found is not None else ())


async def login_role(body: Mapping[str, object], ctx: Context) -> str:
    """The name of the role whose id a login gives; "" when there is none."""
    role_id = body.get("role_id")
    digests = await store.read_digests(ctx.view)
    if digests is None or not isinstance(role_id, str) or len(role_id) > logic.ID_CHARS_MAX:
        return ""
    seen = await store.role_of_id(ctx.view, digests, role_id)
    return "" if seen is None else seen.role.name


def _use(digests: store.Digests, role: Role, found: store.SeenSecretId, now_ms: int) -> tuple[Write, ...]:
    """What one login takes from a secret id; nothing, unless its uses are limited."""
    secret_id: SecretId = found.secret_id
    if secret_id.num_uses == 0:
        return ()
    if secret_id.num_uses == 1:
        return store.secret_id_removal(digests, role, found)
    left = replace(secret_id, num_uses=secret_id.num_uses - 1, updated_ms=now_ms)
    return (store.used_write(role, found, left),)


async def renew(internal: bytes, ctx: Context) -> Plan:
    """The durations of a token's renewal, as its role has them now. Raises InvalidRequest when the role is gone."""
    name, uid = msgpack.unpackb(internal, use_list=False)
    seen = await store.read_role(ctx.view, name)
    if seen is None or seen.role.uid != uid:
        raise InvalidRequest(f'role "{name}" does not exist during renewal')
    return Plan(Answer(login=grant_of(seen.role.params, ctx.mount, alias_name=seen.role.role_id, internal=internal)))


# One property of a role each


def _property(name: str, request: type[Any], fields: tuple[str, ...], default: Mapping[str, Any]) -> tuple[Route, ...]:
    """GET, POST and DELETE of role/:role_name/<name>, so that policies can grant one property alone.

    Args:
        fields: The members that a reading shows, where the role has them; a write needs one of them.
        default: What a DELETE sets.
    """

    async def read(given: RolePath, ctx: Context) -> Plan:
        shown = logic.role_answer((await _role(given.role_name, ctx)).role)
        return Plan(Answer(data={field: shown[field] for field in fields if field in shown}))

    async def write(given: Any, ctx: Context) -> Plan:
        seen = await _role(given.role_name, ctx)
        if all(getattr(given, field) is None for field in fields):
            raise InvalidRequest(f"missing {fields[0]}")
        return _changed(seen, logic.changed_role(seen.role, given), ctx)

    async def reset(given: RolePath, ctx: Context) -> Plan:
        seen = await _role(given.role_name, ctx)
        wanted = RoleWrite(role_name=given.role_name, **default)
        return _changed(seen, logic.changed_role(seen.role, wanted), ctx)

    pattern, what = f"role/:role_name/{name}", fields[0]
    return (
        _route(pattern, Operation.READ, RolePath, read, f"Read {what} of a role."),
        _route(pattern, Operation.UPDATE, request, write, f"Change {what} of a role."),
        _route(pattern, Operation.DELETE, RolePath, reset, f"Set {what} of a role to its default."),
    )


def _route(pattern: str, operation: Operation, request: type[Any], handler: Handler, summary: str) -> Route:
    return Route(pattern=pattern, operation=operation, request=request, handler=handler, summary=summary)


_ROLE: Final = "role/:role_name"
_OF_ACCESSOR: Final = f"{_ROLE}/secret-id-accessor"
_UPDATE: Final = Operation.UPDATE

TABLE: Final = RouteTable(
    (
        _route("role", Operation.LIST, Nothing, _list_roles, "List the roles."),
        Route(
            pattern=_ROLE,
            operation=_UPDATE,
            request=RoleWrite,
            handler=_write_role,
            exists=_role_exists,
            summary="Create or change a role.",
        ),
        _route(_ROLE, Operation.READ, RolePath, _read_role, "Read a role."),
        _route(_ROLE, Operation.DELETE, RolePath, _delete_role, "Delete a role with its secret ids."),
        _route(f"{_ROLE}/role-id", Operation.READ, RolePath, _read_role_id, "Read the role id of a role."),
        _route(f"{_ROLE}/role-id", _UPDATE, RoleIdWrite, _write_role_id, "Choose the role id of a role."),
        _route(f"{_ROLE}/secret-id", _UPDATE, SecretIdMake, _make_secret_id, "Make a secret id."),
        _route(f"{_ROLE}/secret-id", Operation.LIST, RolePath, _list_accessors, "List the accessors of secret ids."),
        _route(f"{_ROLE}/secret-id/lookup", _UPDATE, GivenSecretId, _lookup_secret_id, "Show a secret id."),
        _route(f"{_ROLE}/secret-id/destroy", _UPDATE, GivenSecretId, _destroy, "Destroy a secret id."),
        _route(
            f"{_ROLE}/secret-id-accessor/lookup",
            _UPDATE,
            GivenAccessor,
            _lookup_accessor,
            "Show an accessor's secret id.",
        ),
        _route(
            f"{_ROLE}/secret-id-accessor/destroy", _UPDATE, GivenAccessor, _destroy, "Destroy an accessor's secret id."
        ),
        _route(f"{_ROLE}/custom-secret-id", _UPDATE, CustomSecretId, _make_custom_secret_id, "Register a secret id."),
        Route(
            pattern="login",
            operation=_UPDATE,
            request=Login,
            handler=_login,
            summary="Log in with a role id and a secret id.",
            unauthenticated=True,
        ),
        *_property("policies", PoliciesWrite, ("token_policies", "policies"), {"token_policies": ()}),
        *_property("secret-id-num-uses", SecretIdNumUsesWrite, ("secret_id_num_uses",), {"secret_id_num_uses": 0}),
        *_property("secret-id-ttl", SecretIdTtlWrite, ("secret_id_ttl",), {"secret_id_ttl": 0}),
        *_property("token-ttl", TokenTtlWrite, ("token_ttl",), {"token_ttl": 0}),
        *_property("token-max-ttl", TokenMaxTtlWrite, ("token_max_ttl",), {"token_max_ttl": 0}),
        *_property("bind-secret-id", BindSecretIdWrite, ("bind_secret_id",), {"bind_secret_id": True}),
        *_property(
            "secret-id-bound-cidrs",
            SecretIdBoundCidrsWrite,
            ("secret_id_bound_cidrs",),
            {"secret_id_bound_cidrs": ()},
        ),
        *_property("token-bound-cidrs", TokenBoundCidrsWrite, ("token_bound_cidrs",), {"token_bound_cidrs": ()}),
        *_property("period", PeriodWrite, ("token_period", "period"), {"token_period": 0}),
        _route("tidy/secret-id", _UPDATE, Nothing, _tidy, "Clear away secret ids that have ended."),
    )
)
