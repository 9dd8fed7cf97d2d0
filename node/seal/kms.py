"""What the seals have in common whose key never leaves a key management service.

A service is a `Kms`: two blocking calls of its official client, which run in a thread. Its faults become
SealUnavailable, SealDenied or SealRefused there, with texts of our own: what a client library says may quote a request.
"""

import asyncio
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final, Protocol

from engines.common.crypto import KEY_BYTES
from node.barrier import Random
from node.config.seals import SealStanza
from node.errors import SealDenied, SealUnavailable
from node.seal import envelope
from node.seal.envelope import DataKey

# A call takes a tenth of a second. A node that is to stop waits for the thread that makes one.
CONNECT_TIMEOUT_S: Final = 4
READ_TIMEOUT_S: Final = 4


class Kms(Protocol):
    """One key of a service. Calls block, for at most about CONNECT_TIMEOUT_S + READ_TIMEOUT_S."""

    def wrap(self, data_key: bytes) -> DataKey:
        """The data key under the current key. Raises SealUnavailable, SealDenied."""

    def unwrap(self, wrapped: DataKey) -> bytes:
        """The data key, with the key that is named. Raises SealUnavailable, SealDenied, SealRefused."""


class KmsSeal:
    """Wraps under a fresh data key, which the service wraps in turn. The client is made with the first use."""

    is_auto: Final = True

    def __init__(self, type_: str, connect: Callable[[], Kms], random: Random) -> None:
        """`connect` is called in a thread: it may import the client and look for credentials; it raises as Kms does."""
        self.type: Final = type_
        self._connect = connect
        self._random = random
        self._connected: Kms | None = None

    async def wrap(self, plaintext: bytes) -> bytes:
        data_key = self._random(KEY_BYTES)
        named = await asyncio.to_thread(lambda: self._kms().wrap(data_key))
        return envelope.wrap_under_data_key(data_key, named, plaintext, self._random)

    async def unwrap(self, blob: bytes) -> bytes:
        named = envelope.data_key_of(blob)
        data_key = await asyncio.to_thread(lambda: self._kms().unwrap(named))
        return envelope.unwrap_under_data_key(data_key, blob)

    def _kms(self) -> Kms:
        # Two threads may both make a client at first; the later one stays, and both work.
        if self._connected is None:
            self._connected = self._connect()
        return self._connected


def require_client(stanza: SealStanza, module: str, extra: str) -> None:
    """Refuse a stanza whose client library is not installed, without loading it. Raises ConfigError."""
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise stanza.error(
            "", f"the seal {stanza.type!r} needs its client, which is not installed: pip install 'strongroom[{extra}]'"
        )


def denied(service: str, code: str, advice: str) -> SealDenied:
    """The service answers and says no."""
    return SealDenied(f"{service} says no ({code}): {advice}")


def unavailable(service: str, code: str) -> SealUnavailable:
    """The service does not answer, or not now."""
    return SealUnavailable(f"{service} cannot be used now ({code})")


Env = Mapping[str, str]
