"""From a `seal` stanza to its seal. A new seal is one file or folder here and one line in this table."""

from collections.abc import Callable, Mapping
from typing import Final

from node.barrier import Random
from node.config.seals import SealStanza
from node.seal import Seal
from node.seal.shamir import ShamirSeal
from node.seal.static import aesgcm_seal, static_seal

_Build = Callable[[SealStanza, Mapping[str, str], Random], Seal]

_SEALS: Final[Mapping[str, _Build]] = {
    "aesgcm": aesgcm_seal,
    "shamir": lambda _stanza, _env, random: ShamirSeal(random),
    "static": static_seal,
}


def seal_from_stanza(stanza: SealStanza, env: Mapping[str, str], random: Random) -> Seal:
    """The seal that a stanza describes.

    Args:
        stanza: From `Config.seal` or `Config.seals`.
        env: The environment, for keys given as `env://NAME`.
        random: Gives unpredictable bytes.

    Raises:
        ConfigError: The type is not available, or a setting is missing or wrong; with file and line.
    """
    build = _SEALS.get(stanza.type)
    if build is None:
        raise stanza.error("", f"the seal {stanza.type!r} is not available here; available: {', '.join(_SEALS)}")
    return build(stanza, env, random)
