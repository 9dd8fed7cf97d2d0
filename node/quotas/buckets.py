"""Token buckets, one for each limit and client address, in bounded memory and on this node alone."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from node.quotas.model import RateLimit

# Bounds what strangers can make a node hold: some 20 MB. The address that has been silent longest is forgotten first;
# whoever owns that many addresses is not stopped by a limit for each.
BUCKETS_MAX: Final = 65_536


@dataclass(slots=True)
class _Bucket:
    limit: RateLimit
    left: float
    at_s: float
    blocked_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one request. `remaining` is what the address may send at once, `reset_s` when it is full again."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_s: int = 0


class Buckets:
    """Everything counted so far. Times are of a clock that never goes back, in seconds."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def clear(self) -> None:
        """Count anew."""
        self._buckets.clear()

    def take(self, limit: RateLimit, address: str, now_s: float) -> Taken:
        """Take one request from the bucket of this address, if there is one left."""
        bucket = self._filled(limit, address, now_s)
        most = capacity(limit)
        per_s = limit.rate / limit.interval_s
        if now_s < bucket.blocked_until_s:
            return Taken(False, most, 0, _ceil(bucket.blocked_until_s - now_s), _ceil(bucket.blocked_until_s - now_s))
        if bucket.left < 1:
            wait_s = (1 - bucket.left) / per_s
            if limit.block_interval_s:
                wait_s = float(limit.block_interval_s)
                bucket.blocked_until_s = now_s + wait_s
            return Taken(False, most, 0, _ceil((most - bucket.left) / per_s), _ceil(wait_s))
        bucket.left -= 1
        return Taken(True, most, int(bucket.left), _ceil((most - bucket.left) / per_s))

    def has_one(self, limit: RateLimit, address: str, now_s: float) -> bool:
        """Whether `take` would allow a request now."""
        known = self._buckets.get((limit.name, address))
        if known is None or known.limit != limit:
            return True
        bucket = self._filled(limit, address, now_s)
        return now_s >= bucket.blocked_until_s and bucket.left >= 1

    def _filled(self, limit: RateLimit, address: str, now_s: float) -> _Bucket:
        key = (limit.name, address)
        bucket = self._buckets.get(key)
        if bucket is None or bucket.limit != limit:
            # A limit that was changed counts anew.
            bucket = self._buckets[key] = _Bucket(limit, float(capacity(limit)), now_s)
            while len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        passed_s = max(0.0, now_s - bucket.at_s)
        bucket.left = min(float(capacity(limit)), bucket.left + passed_s * limit.rate / limit.interval_s)
        bucket.at_s = now_s
        return bucket


def capacity(limit: RateLimit) -> int:
    """How many requests may come at once: the rate, rounded up."""
    return max(1, math.ceil(limit.rate))


def _ceil(seconds: float) -> int:
    return max(1, math.ceil(seconds))
