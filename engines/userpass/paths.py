"""Every path of the userpass method, in the order of its API reference, and what each does."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgpack

from engines.common.context import Context
from engines.common.errors import InvalidRequest, LoginRefused, NotFound
from engines.common.frame import Operation, Route, RouteTable
from engines.common.plan import Answer, Plan
from engines.common.token_params import NO_PARAMS, changed_params, grant_of, require_address, warnings_of
from engines.userpass import logic, store
from engines.userpass.model import ALIASES, Login, PasswordWrite, PoliciesWrite, User, UserList, UserPath, UserWrite

_REFUSED: Final = "invalid username or password"


async def _exists(request: UserWrite, ctx: Context) -> bool:
    return (await store.read_user(ctx.view, logic.require_name(request.username)))[1] != 0


async def _write(request: UserWrite, ctx: Context) -> Plan:
    name = logic.require_name(request.username)
    user, index = await store.read_user(ctx.view, name)
    params = changed_params(user.params if user else NO_PARAMS, request, ALIASES)
    password_hash = await _new_hash(request, ctx) or (user.password_hash if user else "")
    if not password_hash:
        raise InvalidRequest("missing password")
    changed = User(name, password_hash, params)
    return Plan(Answer(warnings=warnings_of(params, ctx.mount)), (store.user_write(changed, index),))


async def _new_hash(request: UserWrite | PasswordWrite, ctx: Context) -> str:
    """The hash of the password that is given; "" when none is."""
    if request.password and request.password_hash:
        raise InvalidRequest("password and password_hash are mutually exclusive")
    if request.password_hash:
        return await logic.checked_hash(request.password_hash)
    return await logic.hash_password(request.password, ctx.sources) if request.password else ""


async def _read(request: UserPath, ctx: Context) -> Plan:
    user, _ = await store.read_user(ctx.view, logic.require_name(request.username))
    if user is None:
        raise NotFound
    return Plan(Answer(data=user.params.reading(ALIASES)))


async def _delete(request: UserPath, ctx: Context) -> Plan:
    return Plan(writes=(store.user_removal(logic.require_name(request.username)),))


async def _existing(username: str, ctx: Context) -> tuple[User, int]:
    user, index = await store.read_user(ctx.view, logic.require_name(username))
    if user is None:
        raise InvalidRequest("username does not exist")
    return user, index


async def _write_password(request: PasswordWrite, ctx: Context) -> Plan:
    user, index = await _existing(request.username, ctx)
    password_hash = await _new_hash(request, ctx)
    if not password_hash:
        raise InvalidRequest("missing password")
    return Plan(writes=(store.user_write(replace(user, password_hash=password_hash), index),))


async def _write_policies(request: PoliciesWrite, ctx: Context) -> Plan:
    user, index = await _existing(request.username, ctx)
    if request.token_policies is None and request.policies is None:
        raise InvalidRequest("missing token_policies")
    changed = replace(user, params=changed_params(user.params, request, ALIASES))
    return Plan(writes=(store.user_write(changed, index),))


async def _list(_request: UserList, ctx: Context) -> Plan:
    names = await store.read_names(ctx.view)
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


async def _login(request: Login, ctx: Context) -> Plan:
    """Unknown user and wrong password are one case: same text, same count, same work (CVE-2025-6011)."""
    if not request.password:
        raise InvalidRequest("missing password")
    name = logic.require_name(request.username)
    user, _ = await store.read_user(ctx.view, name)
    is_right = await logic.is_password(request.password, user.password_hash if user else logic.DUMMY_HASH)
    # Read again: a password or user that was changed while the hash was computed must not let its owner in.
    user_now, _ = await store.read_user(ctx.view, name)
    if user is None or user_now is None or user_now.password_hash != user.password_hash or not is_right:
        raise LoginRefused(_REFUSED, name)
    require_address(user_now.params, ctx)
    grant = grant_of(
        user_now.params,
        ctx.mount,
        alias_name=name,
        display_name=name,
        metadata={"username": name},
        internal=bytes(msgpack.packb((name, user_now.params.policies))),
    )
    return Plan(Answer(login=grant))


async def renew(internal: bytes, ctx: Context) -> Plan:
    """The durations of a token's renewal, as its user has them now.

    Raises:
        InvalidRequest: The user is gone, or has other policies than the token.
    """
    name, policies = msgpack.unpackb(internal, use_list=False)
    user, _ = await store.read_user(ctx.view, name)
    if user is None:
        raise InvalidRequest("the user does not exist any more, not renewing")
    if user.params.policies != policies:
        raise InvalidRequest("policies have changed, not renewing")
    return Plan(Answer(login=grant_of(user.params, ctx.mount, alias_name=name, internal=internal)))


TABLE: Final = RouteTable(
    (
        Route(
            pattern="users/:username",
            operation=Operation.UPDATE,
            request=UserWrite,
            handler=_write,
            exists=_exists,
            summary="Create or change a user.",
        ),
        Route(
            pattern="users/:username",
            operation=Operation.READ,
            request=UserPath,
            handler=_read,
            summary="Read a user; the password is never shown.",
        ),
        Route(
            pattern="users/:username",
            operation=Operation.DELETE,
            request=UserPath,
            handler=_delete,
            summary="Delete a user. Tokens of earlier logins live on until they end, but cannot be renewed.",
        ),
        Route(
            pattern="users/:username/password",
            operation=Operation.UPDATE,
            request=PasswordWrite,
            handler=_write_password,
            summary="Change a user's password.",
        ),
        Route(
            pattern="users/:username/policies",
            operation=Operation.UPDATE,
            request=PoliciesWrite,
            handler=_write_policies,
            summary="Change a user's policies.",
        ),
        Route(
            pattern="users",
            operation=Operation.LIST,
            request=UserList,
            handler=_list,
            summary="List the users.",
        ),
        Route(
            pattern="login/:username",
            operation=Operation.UPDATE,
            request=Login,
            handler=_login,
            summary="Log in with a password.",
            unauthenticated=True,
        ),
    )
)
