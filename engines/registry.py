"""Which secrets engines and auth methods there are, by type and options of a mount. A new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engines.approle import ENGINE as APPROLE
from engines.common.errors import InvalidRequest
from engines.common.frame import Engine
from engines.cubbyhole import ENGINE as CUBBYHOLE
from engines.database import ENGINE as DATABASE
from engines.kv_v1 import ENGINE as KV_V1
from engines.kv_v2 import ENGINE as KV_V2
from engines.userpass import ENGINE as USERPASS

# Types that are written differently in a request than they are kept in the mount table.
_ALIASES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "kv-v1": ("kv", {"version": "1"}),
    "kv-v2": ("kv", {"version": "2"}),
}
_KV_BY_VERSION: Final[Mapping[str, Engine]] = {"1": KV_V1, "2": KV_V2}
_BY_TYPE: Final[Mapping[str, Engine]] = {
    "cubbyhole": CUBBYHOLE,
    "database": DATABASE,
    "userpass": USERPASS,
    "approle": APPROLE,
}

SECRET_ENGINES: Final = (KV_V1, KV_V2, CUBBYHOLE, DATABASE)
AUTH_METHODS: Final = (APPROLE, USERPASS)


def mount_type(type: str, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The type and options as the mount table keeps and shows them: "kv-v2" is "kv" with the option version "2"."""
    kept, implied = _ALIASES.get(type, (type, {}))
    return kept, {**options, **implied}


def engine_for(type: str, options: Mapping[str, str]) -> Engine:
    """The engine of a mount. "kv" without a version is version 1. Raises InvalidRequest for an unknown one."""
    kept, effective = mount_type(type, options)
    if kept == "kv":
        engine = _KV_BY_VERSION.get(effective.get("version") or "1")
        if engine is None:
            raise InvalidRequest("the option version of a kv mount must be 1 or 2")
        return engine
    if kept not in _BY_TYPE:
        raise InvalidRequest(f"plugin not found in the catalog: {kept}")
    return _BY_TYPE[kept]
