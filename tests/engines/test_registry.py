"""Which engine a mount's type and options select."""

import pytest

from engines import kv_v1, kv_v2, registry
from engines.common.errors import InvalidRequest
from engines.registry import engine_for, mount_type


def test_kv_without_a_version_is_version_1() -> None:
    """Enabling "kv" without options.version gives version 1 (API documentation, "Enable secrets engine")."""
    assert engine_for("kv", {}) is kv_v1.ENGINE
    assert engine_for("kv", {"version": ""}) is kv_v1.ENGINE
    assert engine_for("kv", {"version": "1"}) is kv_v1.ENGINE
    assert engine_for("kv", {"version": "2"}) is kv_v2.ENGINE


def test_kv_v2_is_an_alias() -> None:
    """The type kv-v2 is kept as kv with the option version 2, other options beside it."""
    assert engine_for("kv-v2", {}) is kv_v2.ENGINE
    assert mount_type("kv-v2", {"other": "x"}) == ("kv", {"other": "x", "version": "2"})
    assert mount_type("kv-v1", {}) == ("kv", {"version": "1"})
    assert mount_type("cubbyhole", {}) == ("cubbyhole", {})


def test_an_unknown_engine_is_refused_with_the_documented_text() -> None:
    """Scripts match on the text."""
    with pytest.raises(InvalidRequest, match=r"^plugin not found in the catalog: nope$"):
        engine_for("nope", {})
    with pytest.raises(InvalidRequest, match="version of a kv mount"):
        engine_for("kv", {"version": "3"})


def test_every_engine_is_listed() -> None:
    """Each listed engine is reachable by some type and options."""
    kinds: tuple[tuple[str, dict[str, str]], ...] = (
        *(("kv", {}), ("kv", {"version": "2"})),
        *(("cubbyhole", {}), ("database", {})),
    )
    reachable = {id(engine_for(kind, options)) for kind, options in kinds}
    assert {id(engine) for engine in registry.SECRET_ENGINES} == reachable
    auth_methods = {id(engine_for(kind, {})) for kind in ("approle", "userpass")}
    assert {id(engine) for engine in registry.AUTH_METHODS} == auth_methods
    assert all(engine.is_auth for engine in registry.AUTH_METHODS)
