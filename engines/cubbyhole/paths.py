"""Every path of the cubbyhole, in the order of its API reference, and what each does."""

from __future__ import annotations

from typing import Final

from engines.common.context import Context
from engines.common.errors import NotFound, UnsupportedPath
from engines.common.flat_secret import FlatSecret
from engines.common.frame import Operation, Route, RouteTable
from engines.common.plan import Answer, Plan
from engines.cubbyhole import store
from engines.cubbyhole.logic import folder_of
from engines.cubbyhole.model import SecretPath, SecretWrite


async def _read(request: SecretPath, ctx: Context) -> Plan:
    secret = await store.read_secret(ctx.view, folder_of(ctx.caller), _named(request.path))
    if secret is None:
        raise NotFound
    return Plan(Answer(data=secret.fragments()))


async def _list(request: SecretPath, ctx: Context) -> Plan:
    names = await store.read_names(ctx.view, folder_of(ctx.caller), request.path)
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


async def _exists(request: SecretWrite, ctx: Context) -> bool:
    return await store.read_secret(ctx.view, folder_of(ctx.caller), _named(request.path)) is not None


async def _write(request: SecretWrite, ctx: Context) -> Plan:
    secret = FlatSecret.of(request.body, ctx.sources.now_ms())
    return Plan(writes=(store.secret_write(folder_of(ctx.caller), _named(request.path), secret),))


async def _delete(request: SecretPath, ctx: Context) -> Plan:
    return Plan(writes=(store.secret_removal(folder_of(ctx.caller), _named(request.path)),))


def _named(path: str) -> str:
    """The top of the mount can be listed, but holds no secret of its own."""
    if not path:
        raise UnsupportedPath
    return path


TABLE: Final = RouteTable(
    (
        Route(
            pattern="*path",
            operation=Operation.READ,
            request=SecretPath,
            handler=_read,
            summary="Read a secret of this token.",
        ),
        Route(
            pattern="*path",
            operation=Operation.LIST,
            request=SecretPath,
            handler=_list,
            summary="List the names in a folder; folders end in a slash.",
        ),
        Route(
            pattern="*path",
            operation=Operation.UPDATE,
            request=SecretWrite,
            handler=_write,
            exists=_exists,
            summary="Write a secret of this token, replacing the one that is there.",
        ),
        Route(
            pattern="*path",
            operation=Operation.DELETE,
            request=SecretPath,
            handler=_delete,
            summary="Remove a secret of this token.",
        ),
    )
)
