"""Every bound of the network between nodes, with the reason for its number. Tests hand in smaller ones."""

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# A hello is under 300 bytes; nobody who has not said hello may make this node hold more than this.
HELLO_BYTES_MAX: Final = 1 * KIB
# One entry is at most 1 MiB by default and a batch stays below 8 MiB, so a larger Raft frame is a fault.
RAFT_FRAME_BYTES_MAX: Final = 8 * MIB
# A request body reaches 32 MiB; the rest is for what the node wraps around it.
CALL_FRAME_BYTES_MAX: Final = 40 * MIB
# Names, cluster ids and snapshot ids; none is near this.
TEXT_BYTES_MAX: Final = 512
# Fields of one message; the widest has eight.
FIELDS_MAX: Final = 16
# Entries of one append: a batch is bounded by bytes, this bounds what an array header may announce.
ENTRIES_MAX: Final = 65_536
# Large enough to fill TLS records and to save system calls, small enough that one write does not hold up the loop.
WRITE_BYTES_MAX: Final = 256 * KIB
READ_BUFFER_BYTES: Final = 64 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Bounds in bytes, seconds and counts."""

    # Time for the TLS handshake and hello together: three round trips, with room for a busy or distant peer.
    greeting_timeout_s: float = 10.0
    # Connections that have not said hello yet. A cluster needs a handful at a time, and only after a restart.
    ungreeted_max: int = 64
    # Waiting for one peer on the Raft connection: a few full batches. Beyond, Raft must learn that the peer is slow.
    raft_queue_bytes_max: int = 64 * MIB
    # Waiting on one call connection: three of the largest bodies.
    call_queue_bytes_max: int = 128 * MIB
    # Calls of all peers that this node is answering at a time, and the bytes they brought.
    calls_max: int = 4096
    call_bytes_max: int = 512 * MIB
    # The first wait after a lost link is shorter than an election, the longest short enough that a node that
    # comes back is joined by the others at once to a human eye.
    backoff_min_s: float = 0.05
    backoff_max_s: float = 2.0
    # Time for connecting, TLS and hello when this node dials.
    dial_timeout_s: float = 5.0
    # A peer that does not take what was sent for this long is dead (TCP_USER_TIMEOUT, tcp(7)).
    unacknowledged_timeout_s: float = 5.0
    # Time for what is still queued when this node stops.
    stop_timeout_s: float = 1.0
