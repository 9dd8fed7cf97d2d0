"""The leader's lease: until when no other node can have been elected. Pure: the times are handed in.

Why it holds. Each append_entries carries the leader's own clock when it was sent, and its answer brings that back. A
node that takes an append_entries refuses its vote for the shortest election time-out after that moment
(cluster/elections.py; after a restart it acts as if it had just heard a leader). Once a majority has answered what was
sent at or after S, every other majority shares a node with it, so nobody is elected before S + the shortest time-out.
The lease is shorter than that by a margin for clock rates. Only a leader that hands over can be followed sooner, and
it stops using its lease, for the rest of its term, before it asks.
"""

from collections.abc import Iterable


def lease_start_ns(answered_ns: Iterable[int], quorum: int, now_ns: int) -> int:
    """The latest sending time that a majority has answered.

    Args:
        answered_ns: For each other member, when the last message that it answered was sent; 0 for none in this term.
        quorum: Members that are a majority, the leader included.
        now_ns: The leader's clock. The leader answers itself at once.
    """
    others = sorted(answered_ns, reverse=True)
    needed = quorum - 1
    return now_ns if needed == 0 else min(now_ns, others[needed - 1])
