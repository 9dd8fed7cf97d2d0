"""Every path of the database engine, in the order of its API reference, and what each does."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.frame import Operation, Route, RouteTable
from engines.common.plan import Answer, Delete, Plan, Write
from engines.common.timestamp import rfc3339
from engines.database import connection_url, connections, logic, rotation, store, users
from engines.database.credential import PASSWORD, require_place, require_type
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.model import (
    Config,
    ConfigWrite,
    Listing,
    Named,
    ReloadPlugin,
    Role,
    RoleWrite,
    StaticRole,
    StaticRoleWrite,
)
from engines.database.plugins import plugin_of
from engines.database.statements import given_statements, unwrapped
from engines.database.username import parse_template


async def _names(prefix: str, ctx: Context) -> Plan:
    names = await ctx.view.list(prefix)
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


# Connections


async def _list_configs(_request: Listing, ctx: Context) -> Plan:
    return await _names(store.CONFIGS, ctx)


async def _config_exists(request: ConfigWrite, ctx: Context) -> bool:
    return await ctx.view.get(store.CONFIGS + request.name) is not None


async def _read_config(request: Named, ctx: Context) -> Plan:
    config = (await connections.existing_config(request.name, ctx)).record
    secret = plugin_of(config.plugin_name).secret_settings
    details = {
        name: connection_url.shown(value) if name == "connection_url" and isinstance(value, str) else value
        for name, value in config.settings.items()
        if name not in secret
    }
    return Plan(
        Answer(
            data={
                "allowed_roles": list(config.allowed_roles),
                "connection_details": details,
                "password_policy": config.password_policy,
                "plugin_name": config.plugin_name,
                "plugin_version": config.plugin_version,
                "root_credentials_rotate_statements": list(config.root_rotation),
            }
        )
    )


async def _write_config(request: ConfigWrite, ctx: Context) -> Plan:
    name = logic.require_name(request.name)
    found = await store.read(Config, store.CONFIGS + name, ctx.view)
    config = _changed_config(request, None if found is None else found.record)
    if request.verify_connection:
        try:
            await connections.verified(config, ctx)
        except (DatabaseRefused, DatabaseUnreachable) as error:
            raise InvalidRequest(f"error creating database object: error verifying connection: {error}") from None
    else:
        await plugin_of(config.plugin_name).open(config.settings).close()
    return Plan(writes=(store.put(store.CONFIGS + name, config, 0 if found is None else found.index),))


def _changed_config(request: ConfigWrite, old: Config | None) -> Config:
    plugin_name = request.plugin_name or (old.plugin_name if old is not None else "")
    if not plugin_name:
        raise InvalidRequest("empty plugin name")
    plugin = plugin_of(plugin_name)
    settings = dict(old.settings) if old is not None else {}
    for name in plugin.settings:
        # The declared field has its kind; what only the body has is a setting of some plugin of its own.
        value = getattr(request, name, request.body.get(name))
        if isinstance(value, str | int | bool):
            settings[name] = value
        elif value is not None:
            raise InvalidRequest(f"field validation failed: {name} must be a text, a number or a boolean")
    for name in plugin.required:
        if not settings.get(name):
            raise InvalidRequest(f"{name} cannot be empty")
    if settings.get("username_template"):
        parse_template(str(settings["username_template"]))
    config = replace(old, plugin_name=plugin_name) if old is not None else Config(plugin_name=plugin_name)
    if request.plugin_version is not None:
        config = replace(config, plugin_version=request.plugin_version)
    if request.allowed_roles is not None:
        config = replace(config, allowed_roles=request.allowed_roles)
    if request.root_rotation_statements is not None:
        config = replace(config, root_rotation=given_statements(request.root_rotation_statements))
    if request.password_policy is not None:
        config = replace(config, password_policy=request.password_policy)
    return replace(config, settings=settings)


async def _delete_config(request: Named, ctx: Context) -> Plan:
    await ctx.out.held.drop(connections.DATABASE + request.name)
    return Plan(writes=(Delete(store.CONFIGS + request.name),))


async def _reset(request: Named, ctx: Context) -> Plan:
    await connections.existing_config(request.name, ctx)
    await ctx.out.held.drop(connections.DATABASE + request.name)
    return Plan()


async def _reload(request: ReloadPlugin, ctx: Context) -> Plan:
    plugin = plugin_of(request.plugin_name)
    reloaded = []
    for name in await ctx.view.list(store.CONFIGS):
        found = await store.read(Config, store.CONFIGS + name, ctx.view)
        if found is not None and found.record.plugin_name in plugin.names:
            await ctx.out.held.drop(connections.DATABASE + name)
            reloaded.append(name)
    return Plan(Answer(data={"connections": reloaded, "count": len(reloaded)}))


async def _rotate_root(request: Named, ctx: Context) -> Plan:
    await rotation.rotate_root(request.name, ctx)
    return Plan(is_committed=True)


# Roles


async def _list_roles(_request: Listing, ctx: Context) -> Plan:
    return await _names(store.ROLES, ctx)


async def _role_exists(request: RoleWrite, ctx: Context) -> bool:
    return await ctx.view.get(store.ROLES + request.name) is not None


async def _read_role(request: Named, ctx: Context) -> Plan:
    found = await store.read(Role, store.ROLES + request.name, ctx.view)
    if found is None:
        raise NotFound
    role = found.record
    return Plan(
        Answer(
            data={
                "creation_statements": list(role.creation),
                **_credential(role),
                "db_name": role.db_name,
                "default_ttl": role.default_ttl_s,
                "max_ttl": role.max_ttl_s,
                "renew_statements": list(role.renewal),
                "revocation_statements": list(role.revocation),
                "rollback_statements": list(role.rollback),
            }
        )
    )


def _credential(role: Role | StaticRole) -> dict[str, object]:
    config = {"credential_config": dict(role.credential_config)} if role.credential_config else {}
    return {"credential_type": role.credential_type, **config}


async def _write_role(request: RoleWrite, ctx: Context) -> Plan:
    name = logic.require_name(request.name)
    found = await store.read(Role, store.ROLES + name, ctx.view)
    role = Role(db_name="") if found is None else found.record
    given = {
        "db_name": request.db_name,
        "creation": request.creation_statements,
        "revocation": request.revocation_statements,
        "rollback": request.rollback_statements,
        "renewal": request.renew_statements,
        "default_ttl_s": request.default_ttl,
        "max_ttl_s": request.max_ttl,
        "credential_type": request.credential_type or None,
        "credential_config": request.credential_config,
    }
    statements = ("creation", "revocation", "rollback", "renewal")
    changes = {
        field: given_statements(value) if field in statements else value
        for field, value in given.items()
        if value is not None
    }
    role = replace(role, **changes)  # type: ignore[arg-type] # each value has its field's type, by the request's kinds
    if not role.db_name:
        raise InvalidRequest("empty database name attribute")
    logic.require_lifetimes(role)
    kind = require_type(role.credential_type, role.credential_config)
    if unwrapped(role.creation):
        require_place(kind, role.creation, "creation_statements")
    return Plan(writes=(store.put(store.ROLES + name, role, 0 if found is None else found.index),))


async def _delete_role(request: Named, ctx: Context) -> Plan:
    return Plan(writes=(Delete(store.ROLES + request.name),))


# Static roles


async def _list_static_roles(_request: Listing, ctx: Context) -> Plan:
    return await _names(store.STATIC_ROLES, ctx)


async def _static_role_exists(request: StaticRoleWrite, ctx: Context) -> bool:
    return await ctx.view.get(store.STATIC_ROLES + request.name) is not None


def _clockwork(role: StaticRole) -> dict[str, object]:
    if role.period_s:
        return {"rotation_period": role.period_s}
    window = {"rotation_window": role.window_s} if role.window_s else {}
    return {"rotation_schedule": role.schedule, **window}


async def _read_static_role(request: Named, ctx: Context) -> Plan:
    found = await store.read(StaticRole, store.STATIC_ROLES + request.name, ctx.view)
    if found is None:
        raise NotFound
    role = found.record
    return Plan(
        Answer(
            data={
                **_credential(role),
                "db_name": role.db_name,
                "last_vault_rotation": rfc3339(role.rotated_at_ms),
                **_clockwork(role),
                "rotation_statements": list(role.rotation),
                "username": role.username,
            }
        )
    )


async def _write_static_role(request: StaticRoleWrite, ctx: Context) -> Plan:
    """A new role is rotated at once, so that its password is known; a change keeps the password."""
    name = logic.require_name(request.name)
    found = await store.read(StaticRole, store.STATIC_ROLES + name, ctx.view)
    role = _changed_static_role(request, None if found is None else found.record)
    config = await connections.require_config(role.db_name, ctx)
    logic.require_allowed(config.record, name)
    if found is None:
        await rotation.rotate(name, role, ctx)
        return Plan(is_committed=True)
    role = replace(role, due_at_ms=logic.next_rotation_ms(role, role.rotated_at_ms))
    return Plan(writes=store.static_role_writes(name, role, found))


def _changed_static_role(request: StaticRoleWrite, old: StaticRole | None) -> StaticRole:
    role = StaticRole(db_name="", username="") if old is None else old
    if old is not None and request.username not in (None, old.username):
        raise InvalidRequest("cannot update static account username")
    if request.rotation_period is not None:
        role = replace(role, period_s=request.rotation_period)
        role = role if request.rotation_schedule is not None else replace(role, schedule="", window_s=0)
    if request.rotation_schedule is not None:
        role = replace(role, schedule=request.rotation_schedule)
        role = role if request.rotation_period is not None else replace(role, period_s=0)
    role = replace(
        role,
        username=request.username or role.username,
        db_name=request.db_name or role.db_name,
        window_s=role.window_s if request.rotation_window is None else request.rotation_window,
        rotation=role.rotation
        if request.rotation_statements is None
        else given_statements(request.rotation_statements),
        credential_type=request.credential_type or role.credential_type,
        credential_config=role.credential_config if request.credential_config is None else request.credential_config,
    )
    if not role.db_name:
        raise InvalidRequest("empty database name attribute")
    if old is not None and role.credential_type != old.credential_type:
        raise InvalidRequest("cannot update credential_type of a static account")
    kind = require_type(role.credential_type, role.credential_config)
    if kind != PASSWORD or unwrapped(role.rotation):
        require_place(kind, role.rotation, "rotation_statements")
    if not role.username:
        raise InvalidRequest("username is a required field to create a static account")
    logic.require_rotation(role)
    return role


async def _delete_static_role(request: Named, ctx: Context) -> Plan:
    found = await store.read(StaticRole, store.STATIC_ROLES + request.name, ctx.view)
    if found is None:
        return Plan()
    writes: tuple[Write, ...] = (
        Delete(found.key, found.index),
        Delete(store.due_key(request.name, found.record.due_at_ms)),
        Delete(store.ROTATIONS + request.name),
    )
    return Plan(writes=writes)


async def _read_static_creds(request: Named, ctx: Context) -> Plan:
    found = await store.read(StaticRole, store.STATIC_ROLES + request.name, ctx.view)
    if found is None:
        raise InvalidRequest(f"unknown role: {request.name}")
    role = found.record
    config = await connections.require_config(role.db_name, ctx)
    logic.require_allowed(config.record, request.name)
    return Plan(
        Answer(
            data={
                "last_vault_rotation": rfc3339(role.rotated_at_ms),
                role.credential_type: role.password,
                **_clockwork(role),
                "ttl": max(0, -(-(role.due_at_ms - ctx.sources.now_ms()) // 1000)),
                "username": role.username,
            }
        )
    )


async def _rotate_static_role(request: Named, ctx: Context) -> Plan:
    found = await store.read(StaticRole, store.STATIC_ROLES + request.name, ctx.view)
    if found is None:
        raise InvalidRequest("no static role found for role name")
    await rotation.rotate(request.name, found.record, ctx)
    return Plan(is_committed=True)


TABLE: Final = RouteTable(
    (
        Route(
            pattern="config",
            operation=Operation.LIST,
            request=Listing,
            handler=_list_configs,
            summary="List the connections.",
        ),
        Route(
            pattern="config/:name",
            operation=Operation.READ,
            request=Named,
            handler=_read_config,
            summary="Read a connection, without its password.",
        ),
        Route(
            pattern="config/:name",
            operation=Operation.UPDATE,
            request=ConfigWrite,
            handler=_write_config,
            exists=_config_exists,
            summary="Configure a connection; it is checked by logging in.",
        ),
        Route(
            pattern="config/:name",
            operation=Operation.DELETE,
            request=Named,
            handler=_delete_config,
            summary="Remove a connection. What it made can then not be revoked any more.",
        ),
        Route(
            pattern="reset/:name",
            operation=Operation.UPDATE,
            request=Named,
            handler=_reset,
            summary="Close the connections to a database and open them anew from the stored configuration.",
        ),
        Route(
            pattern="reload/:plugin_name",
            operation=Operation.UPDATE,
            request=ReloadPlugin,
            handler=_reload,
            summary="Do the same for every connection of a kind of database.",
        ),
        Route(
            pattern="rotate-root/:name",
            operation=Operation.UPDATE,
            request=Named,
            handler=_rotate_root,
            summary="Give the connection's own user a password that nobody knows but this server.",
        ),
        Route(
            pattern="roles",
            operation=Operation.LIST,
            request=Listing,
            handler=_list_roles,
            summary="List the roles.",
        ),
        Route(
            pattern="roles/:name",
            operation=Operation.READ,
            request=Named,
            handler=_read_role,
            summary="Read a role.",
        ),
        Route(
            pattern="roles/:name",
            operation=Operation.UPDATE,
            request=RoleWrite,
            handler=_write_role,
            exists=_role_exists,
            summary="Say how users are made, let in for longer and dropped.",
        ),
        Route(
            pattern="roles/:name",
            operation=Operation.DELETE,
            request=Named,
            handler=_delete_role,
            summary="Remove a role; its users stay until their leases end.",
        ),
        Route(
            pattern="creds/:name",
            operation=Operation.READ,
            request=Named,
            handler=users.create,
            summary="Make a user, with a lease.",
        ),
        Route(
            pattern="static-roles",
            operation=Operation.LIST,
            request=Listing,
            handler=_list_static_roles,
            summary="List the static roles.",
        ),
        Route(
            pattern="static-roles/:name",
            operation=Operation.READ,
            request=Named,
            handler=_read_static_role,
            summary="Read a static role, without its password.",
        ),
        Route(
            pattern="static-roles/:name",
            operation=Operation.UPDATE,
            request=StaticRoleWrite,
            handler=_write_static_role,
            exists=_static_role_exists,
            summary="Take over the password of a user that is there already, and rotate it.",
        ),
        Route(
            pattern="static-roles/:name",
            operation=Operation.DELETE,
            request=Named,
            handler=_delete_static_role,
            summary="Remove a static role; its user is left as it is.",
        ),
        Route(
            pattern="static-creds/:name",
            operation=Operation.READ,
            request=Named,
            handler=_read_static_creds,
            summary="Read the present password of a static role's user.",
        ),
        Route(
            pattern="rotate-role/:name",
            operation=Operation.UPDATE,
            request=Named,
            handler=_rotate_static_role,
            summary="Rotate the password of a static role now.",
        ),
    )
)
