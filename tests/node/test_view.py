"""Opened storage: what is remembered is forgotten when it changes."""

from cluster.inmem import InmemStore
from engines.common.plan import Delete, Put
from node.barrier import Barrier
from node.keyring import Keyring
from node.sources import FixedSources
from node.telemetry.meters import NodeMeters
from node.view import OpenedStore


def _opened() -> OpenedStore:
    sources = FixedSources(0, 1)
    barrier = Barrier(sources.random)
    barrier.unsealed(Keyring.created(sources.random(32), 0))
    return OpenedStore(InmemStore(), barrier, NodeMeters())


async def test_an_empty_prefix_is_empty_until_something_is_below_it() -> None:
    """That there is nothing is remembered, and no longer than it is true; other keys do not matter."""
    opened = _opened()
    assert not opened.has_any("m/secrets/")
    await opened.commit("m/", [Put("metadata/a", b"1"), Put("secretsb", b"1")])
    assert not opened.has_any("m/secrets/")
    await opened.commit("m/", [Put("secrets/a/b", b"1")])
    assert opened.has_any("m/secrets/")
    await opened.commit("m/", [Delete("secrets/a/b")])
    assert not opened.has_any("m/secrets/")


async def test_prefixes_in_memory_are_bounded() -> None:
    """However many prefixes are asked for, each answer is right."""
    opened = _opened()
    prefixes = [f"{number}/" for number in range(100)]
    assert not any(opened.has_any(prefix) for prefix in prefixes)
    await opened.commit("", [Put(f"{prefix}a", b"") for prefix in prefixes])
    assert all(opened.has_any(prefix) for prefix in prefixes)


async def test_a_record_is_decoded_once_for_each_of_its_values() -> None:
    """The decoded form lives as long as the record that it was made of."""
    opened = _opened()
    decoded: list[bytes] = []

    def decode(value: bytes) -> str:
        decoded.append(value)
        return value.decode()

    for value in (b"1", b"2"):
        await opened.commit("", [Put("a", value)])
        for _ in range(3):
            seen = opened.get("a")
            assert seen is not None and seen.decoded(decode) == value.decode()
    assert decoded == [b"1", b"2"]
