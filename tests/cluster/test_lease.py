"""When the leader's lease begins (cluster/lease.py)."""

from cluster.lease import lease_start_ns


def test_a_majority_has_to_have_answered() -> None:
    """Of three, the later of two answers is enough; of five, the second latest; none in this term is 0."""
    assert lease_start_ns([70, 90], 2, 100) == 90
    assert lease_start_ns([70, 90, 10, 80], 3, 100) == 80
    assert lease_start_ns([0, 0], 2, 100) == 0


def test_alone_it_begins_now() -> None:
    """A cluster of one needs nobody's answer."""
    assert lease_start_ns([], 1, 100) == 100
