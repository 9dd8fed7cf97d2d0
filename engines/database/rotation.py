"""Passwords of users that stay: static roles by the clock, and a connection's own user.

A new password is committed before the database is told, so none is ever lost: a rotation whose outcome is unknown is
done again with the same password until the database has said yes.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.plan import Delete
from engines.database import connections, logic, store
from engines.database.connection_url import has_username, text_of
from engines.database.credential import Credential, new_credential
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.model import Config, RootRotation, Rotation, StaticRole
from engines.database.plugins import plugin_of
from engines.database.users import ACT_MS_MAX

_BATCH: Final = 64  # static roles rotated in one round
_SETTLE_MS: Final = 60_000  # between two looks that must both find the old password of a root user good
_logger = logging.getLogger(__name__)


async def rotate(name: str, role: StaticRole, ctx: Context) -> None:
    """Give the user of a static role a new password, and store it with the role as it is given here.

    Raises:
        DatabaseRefused: The database keeps the password it had.
        DatabaseUnreachable: An existing role is rotated again by itself; a new one is not made.
    """
    async with ctx.out.held.alone(store.ROTATIONS + name):
        was = await store.read(StaticRole, store.STATIC_ROLES + name, ctx.view)
        config = await connections.require_config(role.db_name, ctx)
        now_ms = ctx.sources.now_ms()
        if role.credential_type not in plugin_of(config.record.plugin_name).credential_types:
            raise InvalidRequest(f"{config.record.plugin_name} has no credential_type {role.credential_type}")
        new = await new_credential(role.credential_type, role.credential_config, config.record.password_policy, ctx)
        changed = replace(
            role,
            password=new.secret,
            public_key=new.public_key,
            rotated_at_ms=now_ms,
            due_at_ms=logic.next_rotation_ms(role, now_ms),
        )
        key = store.ROTATIONS + name
        begun = Rotation(owner=ctx.out.held.owner, begun_at_ms=now_ms, role=store.encode(changed))
        index = await ctx.out.commit((store.put(key, begun),))
        try:
            await _apply(changed, ctx)
        except Exception as error:
            if was is None or isinstance(error, DatabaseRefused | InvalidRequest):
                await ctx.out.commit((Delete(key, index),))
            raise
        await ctx.out.commit((*store.static_role_writes(name, changed, was), Delete(key, index)))


async def _apply(role: StaticRole, ctx: Context) -> None:
    database = await connections.database_of(role.db_name, ctx)
    credential = Credential(type=role.credential_type, secret=role.password, public_key=role.public_key)
    await database.set_credential(role.username, credential, role.rotation)


async def due(ctx: Context) -> list[tuple[str, Coroutine[Any, Any, None]]]:
    """What is to be done now, each with the connection it needs."""
    now_ms = ctx.sources.now_ms()
    work: list[tuple[str, Coroutine[Any, Any, None]]] = []
    unfinished = set()
    for name in await ctx.view.list(store.ROTATIONS, limit=_BATCH):
        found = await store.read(Rotation, store.ROTATIONS + name, ctx.view)
        if found is None:
            continue
        unfinished.add(name)
        if found.record.owner != ctx.out.held.owner or now_ms >= found.record.begun_at_ms + ACT_MS_MAX:
            work.append((store.decode(StaticRole, found.record.role).db_name, _finish(name, found, ctx)))
    for moment in await ctx.view.list(store.DUE, limit=_BATCH):
        if int(moment.rstrip("/"), 16) > now_ms:
            break
        for name in await ctx.view.list(store.DUE + moment, limit=_BATCH):
            role = await store.read(StaticRole, store.STATIC_ROLES + name, ctx.view)
            if role is not None and name not in unfinished:
                work.append((role.record.db_name, _rotate_due(name, role, ctx)))
    for name in await ctx.view.list(store.ROOT_ROTATIONS, limit=_BATCH):
        pending = await store.read(RootRotation, store.ROOT_ROTATIONS + name, ctx.view)
        if pending is not None and _is_left(pending.record, now_ms, ctx):
            work.append((name, _settle_root(name, pending, ctx)))
    return work


async def _finish(name: str, found: store.Stored[Rotation], ctx: Context) -> None:
    """Set the password that a rotation without an outcome was about."""
    async with ctx.out.held.alone(store.ROTATIONS + name):
        was = await store.read(StaticRole, store.STATIC_ROLES + name, ctx.view)
        if was is None:
            # The role was never made, or is gone: its user is the administrator's business.
            await ctx.out.commit((Delete(found.key, found.index),))
            return
        role = store.decode(StaticRole, found.record.role)
        await _apply(role, ctx)
        await ctx.out.commit((*store.static_role_writes(name, role, was), Delete(found.key, found.index)))


async def _rotate_due(name: str, found: store.Stored[StaticRole], ctx: Context) -> None:
    role, now_ms = found.record, ctx.sources.now_ms()
    if not logic.is_in_window(role, now_ms):
        later = replace(role, due_at_ms=logic.next_rotation_ms(role, now_ms))
        await ctx.out.commit(store.static_role_writes(name, later, found))
        return
    try:
        await rotate(name, role, ctx)
    except (DatabaseRefused, DatabaseUnreachable, InvalidRequest) as error:
        _logger.warning("the static role %s was not rotated, and is tried again: %s", name, error)
        now = await store.read(StaticRole, store.STATIC_ROLES + name, ctx.view)
        if now is not None:
            later = replace(now.record, due_at_ms=ctx.sources.now_ms() + logic.RETRY_MS)
            await ctx.out.commit(store.static_role_writes(name, later, now))


# The connection's own user


async def rotate_root(name: str, ctx: Context) -> None:
    """Give a connection's own user a password that nobody but this server knows.

    Raises:
        InvalidRequest: The configuration names no user, or its URL does not take one.
        DatabaseRefused: The old password stays.
        DatabaseUnreachable: Which of the two is good is found out by itself.
    """
    async with ctx.out.held.alone(store.ROOT_ROTATIONS + name):
        config = await connections.existing_config(name, ctx)
        username = text_of(config.record.settings, "username")
        if not username or not text_of(config.record.settings, "password"):
            raise InvalidRequest("unable to rotate root credentials: no username and password in configuration")
        url = text_of(config.record.settings, "connection_url")
        if url and not has_username(url):
            raise InvalidRequest("unable to rotate root credentials: connection_url must hold {{username}}")
        key = store.ROOT_ROTATIONS + name
        if await ctx.view.get(key) is not None:
            raise InvalidRequest("the outcome of an earlier rotation is not known yet; try again in a minute")
        password = ctx.out.new_password(config.record.password_policy)
        begun = RootRotation(owner=ctx.out.held.owner, begun_at_ms=ctx.sources.now_ms(), password=password)
        index = await ctx.out.commit((store.put(key, begun, 0),))
        database = connections.opened(name, config, ctx)
        try:
            await database.set_credential(username, Credential(secret=password), config.record.root_rotation)
        except Exception as error:
            is_refused = isinstance(error, DatabaseRefused | InvalidRequest)
            left = Delete(key, index) if is_refused else store.put(key, replace(begun, is_unknown=True), index)
            await ctx.out.commit((left,))
            raise
        changed = connections.with_password(config.record, password)
        await ctx.out.commit((store.put(store.CONFIGS + name, changed, config.index), Delete(key, index)))


def _is_left(pending: RootRotation, now_ms: int, ctx: Context) -> bool:
    is_over = pending.is_unknown or pending.owner != ctx.out.held.owner
    return (is_over or now_ms >= pending.begun_at_ms + ACT_MS_MAX) and now_ms >= pending.old_seen_at_ms + _SETTLE_MS


async def _settle_root(name: str, found: store.Stored[RootRotation], ctx: Context) -> None:
    """Find out which password is good, by logging in.

    The old one is believed only the second time: a statement that a stopped server had not read yet may still come.
    """
    config = await store.read(Config, store.CONFIGS + name, ctx.view)
    if config is None:
        await ctx.out.commit((Delete(found.key, found.index),))
        return
    changed = connections.with_password(config.record, found.record.password)
    try:
        await connections.verified(changed, ctx)
    except (DatabaseRefused, DatabaseUnreachable):
        await connections.verified(config.record, ctx)
        if found.record.old_seen_at_ms:
            await ctx.out.commit((Delete(found.key, found.index),))
        else:
            seen = replace(found.record, is_unknown=True, old_seen_at_ms=ctx.sources.now_ms())
            await ctx.out.commit((store.put(found.key, seen, found.index),))
        return
    await ctx.out.commit((store.put(store.CONFIGS + name, changed, config.index), Delete(found.key, found.index)))
