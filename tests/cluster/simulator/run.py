"""One seed from its beginning to its end: faults, then none, then progress within a bound."""

import asyncio
import gc
import logging
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from tests.cluster.simulator.cluster import SimCluster
from tests.cluster.simulator.faults import Faults
from tests.cluster.simulator.plan import Plan, plan
from tests.cluster.simulator.witness import Violation

# After the faults have ended, in shortest-to-longest elections: a write is taken, and all nodes are the same.
_WRITE_WITHIN_ELECTIONS = 12
_EQUAL_WITHIN_ELECTIONS = 12


# Where files cost no disk: what a power cut leaves of them is decided by the seed.
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a seed. `violation` is empty when everything held."""

    seed: int
    violation: str
    digest: int
    simulated_s: float
    steps: int
    acknowledged: int
    reads: int
    leaders: int


def run_seed(
    seed: int,
    seconds: float,
    nodes: int | None = None,
    on_event: Callable[[str], None] | None = None,
    chosen: Plan | None = None,
    on_files: bool = False,
) -> Report:
    """Run one seed. Equal arguments give an equal report, in any process.

    Args:
        on_files: The states of the nodes are LMDB files, in a folder of their own.
    """
    if not on_files:
        return _run(seed, chosen or plan(seed, seconds, nodes), on_event, None)
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        return _run(seed, chosen or plan(seed, seconds, nodes), on_event, Path(folder))


def _run(seed: int, chosen: Plan, on_event: Callable[[str], None] | None, files: Path | None) -> Report:
    logging.disable(logging.CRITICAL)  # what nodes log by the thousand here is what the faults make them
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    cluster = SimCluster(chosen, files)
    if on_event is not None:
        cluster.on_event = on_event
    violation = ""
    gc.disable()  # destructors would run at moments that the seed does not decide
    try:
        cluster.loop.run(_play(cluster))
    except Violation as found:
        violation = str(found)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        violation = f"{type(error).__name__}: {error}"
        cluster.on_event(traceback.format_exc())
    finally:
        for node in cluster.nodes.values():
            if node.files is not None:
                node.files.lose_power()
        cluster.loop.close()
        gc.enable()
        logging.disable(logging.NOTSET)
        structlog.reset_defaults()
    witness = cluster.witness
    return Report(
        seed,
        violation,
        witness.digest,
        cluster.loop.now_s - 1000.0,
        cluster.loop.steps,
        witness.acknowledged,
        witness.reads,
        len(witness.leaders),
    )


async def _play(cluster: SimCluster) -> None:
    await cluster.form()
    until_s = cluster.loop.now_s + cluster.plan.seconds
    faults = Faults(cluster)
    clients = asyncio.ensure_future(cluster.guarded(cluster.load(until_s)))
    await faults.run(until_s)
    await clients
    faults.end()
    await _recover(cluster)


async def _recover(cluster: SimCluster) -> None:
    """Liveness: what was broken is mended, and nobody has to do anything."""
    election_s = cluster.plan.settings.election_max_s
    rng = random.Random(f"{cluster.plan.seed} recovery")
    before = cluster.witness.acknowledged

    def written() -> bool:
        leader = cluster.leader()
        if leader is not None and rng.random() < 0.2:
            cluster.write(leader, rng)
        return cluster.witness.acknowledged > before

    await cluster.until(written, _WRITE_WITHIN_ELECTIONS * election_s, "a write is acknowledged")

    def equal() -> bool:
        leader = cluster.leader()
        if leader is None:
            return False
        members = [cluster.nodes[peer.node_id] for peer in leader.store.peers()]
        return all(
            node.running and node.store.applied_index == leader.store.commit_index == cluster.witness.committed_max
            for node in members
        )

    await cluster.until(equal, _EQUAL_WITHIN_ELECTIONS * election_s, "all members hold the same")
    leader = cluster.leader()
    assert leader is not None
    cluster.witness.compare([cluster.nodes[peer.node_id] for peer in leader.store.peers()])
