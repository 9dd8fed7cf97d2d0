"""From a `seal` stanza to its seal. A new seal is one file or folder here and one line in this table.

The modules are loaded when a stanza asks for them: nobody waits for the client of a cloud that is not used.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, cast

from node.barrier import Random
from node.config.seals import SealStanza
from node.seal import Seal

_Build = Callable[[SealStanza, Mapping[str, str], Random], Seal]

# Type -> module of node.seal and the function in it.
_SEALS: Final[Mapping[str, tuple[str, str]]] = {
    "aesgcm": ("static", "aesgcm_seal"),
    "awskms": ("awskms", "awskms_seal"),
    "azurekeyvault": ("azurekeyvault", "azurekeyvault_seal"),
    "gcpckms": ("gcpckms", "gcpckms_seal"),
    "shamir": ("shamir", "shamir_seal"),
    "static": ("static", "static_seal"),
}


def seal_from_stanza(stanza: SealStanza, env: Mapping[str, str], random: Random) -> Seal:
    """The seal that a stanza describes.

    Args:
        stanza: From `Config.seal` or `Config.old_seal`.
        env: The environment, for keys given as `env://NAME`.
        random: Gives unpredictable bytes.

    Raises:
        ConfigError: The type is not available, or a setting is missing or wrong; with file and line.
    """
    if stanza.type not in _SEALS:
        raise stanza.error("", f"the seal {stanza.type!r} is not available here; available: {', '.join(_SEALS)}")
    module, name = _SEALS[stanza.type]
    return cast(_Build, getattr(import_module(f"node.seal.{module}"), name))(stanza, env, random)
