"""The numbers of Raft fit together."""

import pytest

from cluster.link_limits import RAFT_FRAME_BYTES_MAX
from cluster.raft_settings import BootClock, RaftSettings


@pytest.mark.parametrize("multiplier", [1, 5, 10])
def test_the_lease_ends_before_an_election_can(multiplier: int) -> None:
    """With a margin of a fifth for clock rates, and with heartbeats to spare within it."""
    settings = RaftSettings(performance_multiplier=multiplier)
    assert settings.lease_s * 1.2 < settings.election_min_s
    assert settings.heartbeat_s * 3 < settings.lease_s < settings.fallback_s < settings.election_min_s


def test_an_entry_fits_into_a_frame() -> None:
    """The largest entry and what travels before it are within the frame, or the setting is refused."""
    settings = RaftSettings(max_entry_size=6 << 20)
    assert settings.max_entry_size + settings.message_bytes_max + (64 << 10) < RAFT_FRAME_BYTES_MAX
    for wrong in ({"max_entry_size": 7 << 20}, {"max_entry_size": 0}, {"performance_multiplier": 0}):
        with pytest.raises(ValueError, match="must be"):
            RaftSettings(**wrong)


def test_the_clock_goes_on() -> None:
    """Nanoseconds that never go back."""
    clock = BootClock()
    assert 0 < clock.now_ns() <= clock.now_ns()
