"""What goes on around the seal while a node runs: whether it answers, and under which of its keys the root key is.

Nothing here is needed to serve: a seal that is away keeps an unsealed node as it is, and is told in the log and by
`sys/seal-backend-status`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cluster.errors import ClusterError
from engines.common.crypto import equal
from engines.common.errors import InvalidRequest
from node.barrier import Random
from node.errors import InvalidShares, Sealed, SealRefused, SealUnavailable, WrongKey
from node.seal import Seal
from node.seal_migration import PendingMigration, SealWork, migrate, rewrap
from node.sources import Sources

logger = logging.getLogger(__name__)

HEALTHY_PERIOD_S: Final = 600.0  # between two looks at a seal that answered; the documented server's periods
UNHEALTHY_PERIOD_S: Final = 60.0
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 15.0  # a seal that is back is found within this time: a call costs it nothing
_PROBE_BYTES: Final = 32


@dataclass(slots=True)
class SealHealth:
    """Whether the seal answered the last time it was asked. A seal that was never asked counts as healthy."""

    unhealthy_since_ms: int | None = None

    def good(self) -> None:
        """It answered as it should."""
        if self.unhealthy_since_ms is not None:
            logger.info("the seal answers again")
        self.unhealthy_since_ms = None

    def failed(self, now_ms: int) -> None:
        """It did not answer, or said no."""
        if self.unhealthy_since_ms is None:
            self.unhealthy_since_ms = now_ms


async def probe(seal: Seal, random: Random) -> None:
    """Let the seal wrap and unwrap what means nothing. Raises as the seal does; SealRefused for other bytes."""
    plaintext = random(_PROBE_BYTES)
    if not equal(await seal.unwrap(await seal.wrap(plaintext)), plaintext):
        raise SealRefused(f"the {seal.type} seal does not give back what it has wrapped")


async def watch_seal(seal: Seal, health: SealHealth, sources: Sources, is_wanted: Callable[[], bool]) -> None:
    """Look after the seal from time to time, for ever. `is_wanted` says whether nobody else is asking it just now."""
    said = ""
    while True:
        if is_wanted():
            try:
                await probe(seal, sources.random)
                health.good()
                said = ""
            except (SealUnavailable, SealRefused) as error:
                health.failed(sources.now_ms())
                if str(error) != said:
                    logger.warning("the %s seal would not unseal this node now: %s", seal.type, error)
                said = str(error)
        healthy = health.unhealthy_since_ms is None
        await asyncio.sleep(HEALTHY_PERIOD_S if healthy else UNHEALTHY_PERIOD_S)


async def keep_root_key_sealed(work: SealWork, pending: PendingMigration, is_ours: Callable[[], bool]) -> None:
    """On the active node: do the migration that waits, and follow the seal to its newest key. Ends with `is_ours`."""
    retry_s = RETRY_S_MIN
    while is_ours():
        pause_s = HEALTHY_PERIOD_S
        try:
            await migrate(work, pending)
            await rewrap(work)
            retry_s = RETRY_S_MIN
        except Sealed:
            return
        except (SealUnavailable, WrongKey, ClusterError) as error:
            logger.warning("the root key stays sealed as it is for now: %s", error)
            pause_s, retry_s = retry_s, min(retry_s * 2, UNHEALTHY_PERIOD_S)
        except (SealRefused, InvalidShares, InvalidRequest) as error:
            logger.error("the root key stays sealed as it is: %s", error)
            pending.key = None
        await asyncio.sleep(pause_s)
