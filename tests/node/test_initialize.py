"""sys/init where something goes wrong."""

from unittest.mock import patch

import pytest

from cluster.errors import AddressInUse, NoLeader
from node.core import Core
from node.errors import SealRefused
from node.initialize import InitRequest, initialize
from node.seal.shamir import ShamirSeal
from node.seal.static import StaticSeal
from node.unseal import unseal_by_itself
from tests.node.cores import new_core

ONE = InitRequest(shares=1, threshold=1)


async def test_the_keys_are_handed_out_though_unsealing_fails() -> None:
    """With auto-unseal: once the cluster is initialised, its root token and recovery keys exist in the answer alone."""
    core = new_core()
    core.seal = StaticSeal("static", b"1", {b"1": bytes(32)}, core.sources.random)

    async def fails(_core: Core, _root_key: bytes) -> None:
        raise AddressInUse("127.0.0.1:8201 is taken")

    with patch("node.core.Core.unseal_with", fails):
        result = await initialize(core, ONE)
    assert core.is_initialized
    assert not core.holds_keys()
    assert len(result.shares) == 1
    assert result.root_token
    await unseal_by_itself(core)
    assert core.holds_keys()
    await core.seal_now()


async def test_an_init_that_failed_leaves_nothing_behind() -> None:
    """No key stays in the seal, and a second attempt works."""
    core = new_core()

    async def fails(_: object) -> int:
        raise NoLeader("not now")

    with patch.object(core.storage.store, "commit", fails), pytest.raises(NoLeader):
        await initialize(core, ONE)
    assert isinstance(core.seal, ShamirSeal)
    with pytest.raises(SealRefused):
        await core.seal.wrap(bytes(32))
    assert not core.is_initialized
    assert len((await initialize(core, InitRequest(shares=3, threshold=2))).shares) == 3
