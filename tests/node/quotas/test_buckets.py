"""Token buckets."""

from hypothesis import given
from hypothesis import strategies as st

from node.quotas import buckets
from node.quotas.buckets import Buckets, capacity
from node.quotas.model import RateLimit


def _limit(rate: float, **more: object) -> RateLimit:
    return RateLimit(name="l", path="", rate=rate, **more)  # type: ignore[arg-type]


def test_a_bucket_empties_and_fills_again() -> None:
    """As many requests as the rate at once, then one whenever its share of the interval has passed; per address."""
    own, limit = Buckets(), _limit(2, interval_s=10)
    assert [own.take(limit, "a", 0).is_allowed for _ in range(3)] == [True, True, False]
    assert own.take(limit, "b", 0).is_allowed
    refused = own.take(limit, "a", 0)
    assert (refused.limit, refused.remaining, refused.retry_s) == (2, 0, 5)
    assert not own.take(limit, "a", 4.9).is_allowed
    assert own.take(limit, "a", 5).is_allowed
    assert not own.take(limit, "a", 5).is_allowed


def test_a_block_interval_holds_from_the_first_refusal() -> None:
    """Who went beyond the limit is refused until the block has passed, however much room there would be."""
    own, limit = Buckets(), _limit(1, block_interval_s=60)
    assert own.take(limit, "a", 0).is_allowed
    assert own.take(limit, "a", 0).retry_s == 60
    assert not own.take(limit, "a", 59).is_allowed
    assert own.take(limit, "a", 60).is_allowed


def test_a_changed_limit_counts_anew() -> None:
    """What was counted under another rate says nothing."""
    own = Buckets()
    assert own.take(_limit(1), "a", 0).is_allowed
    assert own.take(_limit(2), "a", 0).is_allowed


def test_memory_is_bounded() -> None:
    """However many addresses there are, the number of buckets has a bound, and the longest silent one goes first."""
    own, limit = Buckets(), _limit(1)
    own.take(limit, "first", 0)
    for number in range(buckets.BUCKETS_MAX):
        own.take(limit, str(number), 0)
    assert len(own) == buckets.BUCKETS_MAX
    assert own.take(limit, "first", 0).is_allowed
    assert not own.take(limit, str(buckets.BUCKETS_MAX - 1), 0).is_allowed


@given(st.floats(0.1, 50), st.integers(1, 20), st.lists(st.floats(0, 5), max_size=60))
def test_never_more_than_the_rate(rate: float, interval_s: int, gaps: list[float]) -> None:
    """In no span of time does an address get more than its bucket holds and what flows in meanwhile."""
    own, limit, now_s = Buckets(), _limit(rate, interval_s=interval_s), 0.0
    allowed: list[float] = []
    for gap in gaps:
        now_s += gap
        if own.take(limit, "a", now_s).is_allowed:
            allowed.append(now_s)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            span_s = allowed[last] - allowed[first]
            assert last - first + 1 <= capacity(limit) + span_s * rate / interval_s + 1e-6
