"""node/sources.py: fixed sources repeat, system sources do not."""

from uuid import UUID

from node.sources import FixedSources, Sources, SystemSources, new_uuid


def test_fixed_sources_repeat() -> None:
    """The same seed gives the same bytes, each draw others; only `advance` moves both clocks."""
    first, again, other = FixedSources(5_000, 1), FixedSources(5_000, 1), FixedSources(5_000, 2)
    drawn = [first.random(32), first.random(32)]
    assert drawn == [again.random(32), again.random(32)]
    assert len({*drawn, other.random(32)}) == 3
    assert (first.now_ms(), first.monotonic_s()) == (5_000, 0.0)
    first.advance(1_500)
    assert (first.now_ms(), first.monotonic_s()) == (6_500, 1.5)


def test_system_sources_move_on() -> None:
    """The steady clock never goes back, and randomness has the size asked for and does not repeat."""
    sources: Sources = SystemSources()
    assert sources.monotonic_s() <= sources.monotonic_s()
    assert sources.now_ms() > 1_700_000_000_000
    assert len(sources.random(12)) == 12
    assert sources.random(32) != sources.random(32)


def test_uuid_is_version_4() -> None:
    """A new UUID is random and says so."""
    uuid = new_uuid(FixedSources(0, 7))
    assert UUID(uuid).version == 4
    assert uuid == str(UUID(uuid))
