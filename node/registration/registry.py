"""What a service catalogue is to a node, and the task that keeps it told."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from node.core import Core

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0
LEAVE_S: Final = 2.0  # the end of the process does not wait longer than this for a catalogue
ANSWER_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What the catalogue shows of a node."""

    is_initialized: bool
    is_sealed: bool
    is_active: bool


class NotTold(Exception):
    """The catalogue did not take it. The message holds no secret."""


class Catalogue(Protocol):
    """One kind of `service_registration`."""

    name: str
    period_s: float

    async def tell(self, state: NodeState) -> None:
        """Make the catalogue show this state; called on each change and every `period_s`. Raises NotTold."""

    async def leave(self) -> None:
        """Make the catalogue show that the node has ended. Raises NotTold."""


async def keep_told(core: Core, catalogue: Catalogue) -> None:
    """Tell the catalogue each change at once, and all of it again every period, until cancelled; then leave it.

    A catalogue that cannot be reached costs the node nothing: it is logged once, and tried again.
    """
    said = ""
    try:
        while True:
            state = state_of(core)
            try:
                wait_s = catalogue.period_s
                await catalogue.tell(state)
                if said:
                    logger.info("the %s registration is up to date again", catalogue.name)
                said = ""
            except NotTold as error:
                wait_s = min(RETRY_S, catalogue.period_s)
                if str(error) != said:
                    logger.warning("the %s registration failed, trying again: %s", catalogue.name, error)
                said = str(error)
            await _differs_within(core, state, wait_s)
    finally:
        with suppress(NotTold, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await catalogue.leave()


def state_of(core: Core) -> NodeState:
    """What there is to tell of this node now."""
    return NodeState(is_initialized=core.is_initialized, is_sealed=core.is_sealed, is_active=core.is_active)


async def _differs_within(core: Core, state: NodeState, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while state_of(core) == state:
                await core.next_change()


async def ask(
    session: Callable[[], aiohttp.ClientSession], method: str, url: str, body: object, headers: dict[str, str]
) -> int:
    """The status of one request with a JSON body (None sends none). Raises NotTold without an answer."""
    try:
        async with (
            session() as opened,
            opened.request(method, url, json=body, headers=headers, allow_redirects=False) as answer,
        ):
            await answer.content.read(ANSWER_BYTES_MAX)
            return answer.status
    except TimeoutError:
        raise NotTold("no answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise NotTold(f"cannot be reached ({type(error).__name__})") from None
