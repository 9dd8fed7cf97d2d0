"""The one rule of the cubbyhole: each token has a folder of its own, and no request can leave it."""

from __future__ import annotations

from engines.common.context import Caller
from engines.common.errors import PermissionDenied


def folder_of(caller: Caller) -> str:
    """The caller's folder. Raises PermissionDenied for who has none: no token, or a batch token.

    Paths arrive canonical, without dot segments, so what is appended to the folder stays inside it.
    """
    if not caller.token_key:
        raise PermissionDenied("cubbyhole operations are only supported by service tokens")
    return f"{caller.token_key}/"
