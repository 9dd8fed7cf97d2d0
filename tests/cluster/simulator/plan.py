"""What a seed decides before a run begins: the surroundings. What happens during it is decided in `faults.py`."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.raft_settings import RaftSettings

# In a cluster where everything goes wrong at once, nothing gets far enough to go wrong in an interesting way: each
# seed has a few kinds of faults, and how often each comes.
FAULTS = (
    "split",
    "isolate_leader",
    "one_way",
    "cut_pair",
    "bridge",
    "heal",
    "crash",
    "crash_leader",
    "power_cut",
    "trip",
    "pause",
    "pause_leader",
    "jump",
    "slow_disk",
    "break_disk",
    "hand_over",
    "remove",
    "add",
    "delays",
    "slow_node",
    "nonsense",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The surroundings of one run. Times in seconds."""

    seed: int
    nodes: int
    seconds: float
    settings: RaftSettings
    weights: Mapping[str, int]
    lossy: bool
    reset_share: float
    sync_s: tuple[float, float]
    flush_s: float  # after which the state is written to its own file
    clock_rates: tuple[float, float]
    writes_per_s: float
    burst_share: float
    rejoin_as_same: bool
    garbage_share: float


def plan(seed: int, seconds: float, nodes: int | None = None) -> Plan:
    """The plan of a seed. Without `nodes` the seed chooses 3 or 5."""
    rng = random.Random(seed)
    chosen = rng.choice((3, 3, 5))
    weights = {fault: rng.choice((0, 1, 1, 3)) for fault in FAULTS}
    weights["heal"] = 1 + max(
        1, sum(weights[cut] for cut in ("split", "isolate_leader", "one_way", "cut_pair", "bridge"))
    )
    members_change = rng.random() < 0.5
    if not members_change:
        weights["remove"] = weights["add"] = 0
    return Plan(
        seed=seed,
        nodes=nodes or chosen,
        seconds=seconds,
        settings=RaftSettings(
            performance_multiplier=rng.choice((10, 10, 10, 5)),
            trailing_logs=rng.choice((4, 10, 40, 10_000)),
            trailing_bytes=rng.choice((1000, 1 << 20)),
            message_bytes_max=rng.choice((1, 300, 1 << 20)),
            window_bytes=rng.choice((300, 3000, 8 << 20)),
            commit_timeout_s=rng.choice((1.0, 5.0, 10.0)),
            outcome_timeout_s=rng.choice((1.0, 5.0)),
            join_timeout_s=20.0,
        ),
        weights=weights,
        lossy=rng.random() < 0.4,
        reset_share=rng.choice((0.0, 0.5, 1.0)),
        sync_s=rng.choice(((0.0, 0.0), (0.0, 0.002), (0.001, 0.05), (0.02, 0.5), (0.3, 1.5))),
        flush_s=rng.choice((0.2, 0.2, 3.0, 20.0)),
        # The lease ends a fifth before the shortest election time-out.
        clock_rates=rng.choice(((1.0, 1.0), (0.96, 1.04))),
        writes_per_s=rng.choice((0.5, 1.5, 4.0)),
        burst_share=rng.choice((0.0, 0.1)),
        rejoin_as_same=rng.random() < 0.5,
        garbage_share=rng.choice((0.0, 0.0, 0.02)),
    )
