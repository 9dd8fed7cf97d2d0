"""Changes of the keyring: rotation, its policy, and the count of what each key has sealed.

Invariant: a changed keyring is one Raft entry, sealed under the root key. It takes effect where it is applied, on the
active node as on the standbys, so whatever is sealed under a new key lies behind that key in every log.
"""

import logging
from collections.abc import Callable
from typing import Final

from cluster.errors import ClusterError
from cluster.store import Put, Store
from node.barrier import Barrier, Random, open_keyring, seal_keyring
from node.keyring import Keyring
from node.seal_state import KEYRING_KEY
from node.sources import Sources

logger = logging.getLogger(__name__)

# Between two counts. A crash loses that many seconds of one: 300 s at 40,000 a second are 0.3 % of a key's uses, and
# what is kept free for that is 10 % (node/limits.py).
PERIOD_S: Final = 300.0


async def change_keyring(
    store: Store, barrier: Barrier, root_key: bytes, random: Random, change: Callable[[Keyring], Keyring]
) -> None:
    """Commit what `change` makes of the keyring, with the uses that were not yet written.

    Raises:
        ClusterError: What Store.commit raises; Conflict when another change came first.
        WrongKey: The root key does not open the keyring.
    """
    counts = barrier.take_counts()
    try:
        seen = store.get(KEYRING_KEY)
        assert seen is not None, "the keyring is written at init"
        keyring = change(open_keyring(root_key, seen.value).counted(counts))
        await store.commit([Put(KEYRING_KEY, seal_keyring(root_key, keyring, random), seen.index)])
    except BaseException:
        barrier.give_back(counts)  # if it was committed nevertheless they count twice, which errs on the safe side
        raise


async def rotate_keyring(store: Store, barrier: Barrier, root_key: bytes, sources: Sources) -> None:
    """Seal with a new key from here on; the old ones go on opening what they sealed. Raises as `change_keyring`."""
    value = sources.random(32)
    await change_keyring(
        store, barrier, root_key, sources.random, lambda keyring: keyring.rotated(value, sources.now_ms())
    )
    logger.info("the barrier seals with key term %d now", barrier.keyring.active_term)


async def keep_keyring(store: Store, barrier: Barrier, root_key: bytes, sources: Sources) -> None:
    """Rotate if the active key is used up or too old, else write down how often the keys were used, if they were."""
    try:
        if barrier.is_rotation_due(sources.now_ms()):
            await rotate_keyring(store, barrier, root_key, sources)
        elif barrier.uncounted:
            await change_keyring(store, barrier, root_key, sources.random, lambda keyring: keyring)
    except ClusterError as error:
        logger.info("the keyring was not written, it will be at the next turn: %s", error)
