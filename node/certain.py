"""Committing what must not be left in doubt: keys that exist nowhere else depend on the answer."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from cluster.errors import Conflict, NoLeader, OutcomeUnknown
from cluster.store import Put, Store, Write

# How long to look for an outcome that got lost: an election, and a disk that was slow for a while. With the commit
# before it (10 s) it is well below max_request_duration.
LOOK_S: Final = 30.0
_PAUSE_S: Final = 0.1


async def commit_certainly(store: Store, writes: Sequence[Write], witness: Put, look_s: float = LOOK_S) -> bool:
    """Commit, and where the outcome got lost, find it out.

    Args:
        writes: Each names the state it was based on, so that sending them twice does what sending them once does.
        witness: One of them, with a value that nobody else writes.
        look_s: Seconds to look for a lost outcome.

    Returns:
        True: They are committed. False: They may be, and it cannot be told from here.

    Raises:
        NoLeader, Conflict, EntryTooLarge: They certainly are not.
    """
    try:
        await store.commit(writes)
        return True
    except OutcomeUnknown:
        pass
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(look_s):
            while not _is_there(store, witness):
                with contextlib.suppress(NoLeader, OutcomeUnknown):
                    await _again(store, writes, witness)
                    return True
                await asyncio.sleep(_PAUSE_S)
    return _is_there(store, witness)


async def _again(store: Store, writes: Sequence[Write], witness: Put) -> None:
    try:
        await store.commit(writes)
    except Conflict:
        if not _is_there(store, witness):
            raise


def _is_there(store: Store, witness: Put) -> bool:
    stored = store.get(witness.key)
    return stored is not None and stored.value == witness.value
