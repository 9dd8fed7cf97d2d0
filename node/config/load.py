"""Reads the configuration files and puts them, and the environment, into one Config."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from engines.common.hcl import HclError, parse
from node.config.bind import Found, Place, Scope, bind, blocks, env_of, error_at, inner, place_of
from node.config.listeners import DEFAULT_ADDRESS, Listener
from node.config.model import Config
from node.config.seals import SealStanza, bind_seal
from node.config.services import LOCKOUT_METHODS, REGISTRATIONS, ServiceRegistration, UserLockout
from node.config.storage import STORAGES, InmemStorage, Storage
from node.errors import ConfigError
from node.limits import CONFIG_FILE_BYTES_MAX

_SUFFIXES: Final = (".hcl", ".json")
_LABELLED: Final = ("storage", "backend", "ha_storage", "listener", "seal", "service_registration", "user_lockout")


def load(paths: Sequence[Path], env: Mapping[str, str], *, dev: bool = False) -> Config:
    """The configuration of these files, of STRONGROOM_LOCAL_CONFIG or VAULT_LOCAL_CONFIG, and of the environment.

    Args:
        paths: Files, and folders of which every *.hcl and *.json counts, by name. Later ones win; blocks that may be
            repeated add up.
        env: The environment. Each VAULT_X may also be spelled STRONGROOM_X, which wins.
        dev: Storage in memory and a listener without TLS on 127.0.0.1:8200 stand in for what is not configured.

    Raises:
        ConfigError: Something cannot be read or used. Names file and line or the variable, never a value.
    """
    scope = Scope(env, [])
    found = [item for path in paths for file in _files(path) for item in _items(str(file), _text_of(file))]
    name, text = env_of(env, "VAULT_LOCAL_CONFIG")
    if text:
        found += _items(name, text)
    labelled: dict[str, list[Found]] = {key: [] for key in _LABELLED}
    plain: list[Found] = []
    for each in found:
        labelled.get(each.item.name, plain).append(each)
    if labelled["ha_storage"]:
        raise labelled["ha_storage"][0].error("not available: raft storage has its own high availability")
    storage = _storage(labelled["storage"] + labelled["backend"], scope, dev)
    listeners = _listeners(labelled["listener"], scope, dev)
    seals = _seals(labelled["seal"], scope)
    lockouts = _lockouts(labelled["user_lockout"], scope)
    registration = _registration(labelled["service_registration"], scope)
    config = bind(
        Config,
        plain,
        Place("configuration", 0),
        scope,
        storage=storage,
        listeners=listeners,
        seals=seals,
        user_lockouts=lockouts,
        service_registration=registration,
        warnings=(),
        keys_in_files=frozenset(each.item.name for each in plain),
    )
    duration_s = config.default_max_request_duration_s
    timed = (replace(each, request_duration_s_max=each.request_duration_s_max or duration_s) for each in listeners)
    return replace(config, listeners=tuple(timed), warnings=tuple(dict.fromkeys(scope.warnings)))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(CONFIG_FILE_BYTES_MAX + 1)
        if len(content) > CONFIG_FILE_BYTES_MAX:
            raise ConfigError(f"{file}: larger than {CONFIG_FILE_BYTES_MAX} bytes")
        return content.decode()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8 text") from None


def _items(file: str, text: str) -> list[Found]:
    try:
        return [Found(file, item) for item in parse(text).items]
    except HclError as error:
        raise error_at(file, error.position, f"column {error.position.column}: {error.reason}") from None


def _labelled_blocks(found: Sequence[Found]) -> Iterator[tuple[str, list[Found], Place, Found]]:
    """For each block: its label, the items in it, where it begins, and the item it is or is part of."""
    for each in found:
        for block in blocks(each, labels=1):
            yield block.labels[0].text, inner(each.file, block), place_of(each.file, block), each


def _storage(found: Sequence[Found], scope: Scope, dev: bool) -> Storage:
    all_blocks = list(_labelled_blocks(found))
    if not all_blocks:
        if dev:
            return InmemStorage()
        raise ConfigError("configuration: a storage block is required")
    label, items, place, item = all_blocks[-1]
    if len(all_blocks) > 1 and all_blocks[-2][2].file == place.file:
        raise ConfigError(f"{place}: only one storage block is allowed")
    if label not in STORAGES:
        raise _not_available(item, place, label, tuple(STORAGES))
    return bind(STORAGES[label], items, place, scope)


def _listeners(found: Sequence[Found], scope: Scope, dev: bool) -> tuple[Listener, ...]:
    listeners = []
    for label, items, place, item in _labelled_blocks(found):
        if label not in DEFAULT_ADDRESS:
            raise _not_available(item, place, label, tuple(DEFAULT_ADDRESS))
        listener = bind(Listener, items, place, scope, type=label, declared_at=str(place))
        listeners.append(listener if listener.address else replace(listener, address=DEFAULT_ADDRESS[label]))
    if not listeners and dev:
        listeners.append(Listener(type="tcp", address=DEFAULT_ADDRESS["tcp"], tls_disable=True))
    if not listeners:
        raise ConfigError("configuration: at least one listener block is required")
    return tuple(listeners)


def _seals(found: Sequence[Found], scope: Scope) -> tuple[SealStanza, ...]:
    stanzas = [bind_seal(label, items, place, scope) for label, items, place, _ in _labelled_blocks(found)]
    variable, type_of_env = env_of(scope.env, "VAULT_SEAL_TYPE")
    active = [stanza for stanza in stanzas if not stanza.disabled]
    if len(active) > 1:
        raise active[1].error("", "only one seal may be in use: set disabled on the one that is to be replaced")
    disabled = [stanza for stanza in stanzas if stanza.disabled]
    if len(disabled) > 1:
        raise disabled[1].error("", "only one seal may be disabled: a migration comes from one seal")
    if type_of_env and [stanza.type for stanza in active] != [type_of_env]:
        if active:
            scope.warnings.append(f"{active[0].place}: seal: {variable} names another type, this block is not used")
        stanzas = disabled
        stanzas.append(bind_seal(type_of_env, (), Place(f"environment variable {variable}", 0), scope))
    return tuple(stanzas)


def _lockouts(found: Sequence[Found], scope: Scope) -> tuple[UserLockout, ...]:
    by_method: dict[str, list[Found]] = {}
    places: dict[str, Place] = {}
    for label, items, place, item in _labelled_blocks(found):
        method = label.lower()
        if method not in ("all", *LOCKOUT_METHODS):
            raise _not_available(item, place, method, ("all", *LOCKOUT_METHODS))
        by_method.setdefault(method, []).extend(items)
        places[method] = place
    # The settings of "all" come first, so that those of the method itself win.
    return tuple(
        bind(UserLockout, _without_repeats(by_method.get("all", []), items), places[method], scope, method=method)
        for method, items in by_method.items()
    )


def _without_repeats(base: Sequence[Found], own: Sequence[Found]) -> list[Found]:
    if base is own:
        return list(own)
    names = {found.item.name for found in own}
    return [found for found in base if found.item.name not in names] + list(own)


def _registration(found: Sequence[Found], scope: Scope) -> ServiceRegistration | None:
    registration: ServiceRegistration | None = None
    for label, items, place, item in _labelled_blocks(found):
        if label not in REGISTRATIONS:
            raise _not_available(item, place, label, tuple(REGISTRATIONS))
        registration = bind(REGISTRATIONS[label], items, place, scope)
    return registration


def _not_available(found: Found, place: Place, label: str, available: Sequence[str]) -> ConfigError:
    return ConfigError(f"{place}: {found.item.name} {label!r} is not available; available: {', '.join(available)}")
