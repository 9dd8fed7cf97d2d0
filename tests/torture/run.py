"""One run: three nodes, clients, faults for so long, and then every check."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.torture import checks
from tests.torture.clients import Clients
from tests.torture.faults import Fault, possible, start_ended
from tests.torture.nodes import Bench, bench
from tests.torture.report import Injected, Report
from tests.torture.watch import Watch

CALM_S: Final = (1.0, 4.0)
PAIR_SHARE: Final = 0.15
APART_S: Final = (0.2, 1.5)  # between the beginnings of two faults


def torture(
    folder: Path,
    seed: int,
    seconds: float,
    *,
    program: tuple[str, ...] | None = None,
    only: Sequence[str] = (),
    isolated: bool = True,
    pair_share: float = PAIR_SHARE,
    say: Callable[[str], None] = print,
) -> Report:
    """Run and check. A second fault joins `pair_share` of them.

    `only` names the faults to choose from; without names it is every one that is possible here.
    """
    report = Report(seed, datetime.now(UTC).isoformat(timespec="seconds"))
    say(f"seed {seed}")
    with bench(folder, program=program, isolated=isolated) as made:
        faults, report.left_out = possible(made)
        faults = [fault for fault in faults if not only or fault.name in only]
        assert faults, f"none of {only} is possible here"
        with Watch(made.nodes) as watch, Clients(made.nodes, made.cluster.root_token, seed) as clients:
            report.seconds = _break_things(made, random.Random(seed), faults, seconds, pair_share, report, say)
        report.leaders = watch.changes
        try:
            _check(made, clients, folder, report, say)
        except AssertionError as error:
            report.violations.append(f"{error}")
        _count(made, clients, report)
    report.write(folder)
    return report


def _break_things(
    made: Bench,
    rng: random.Random,
    faults: Sequence[Fault],
    seconds: float,
    pair_share: float,
    report: Report,
    say: Callable[[str], None],
) -> float:
    """Inject one fault after the other, each kind once before any comes again; the seconds it took."""
    began_s = time.monotonic()
    waiting: list[Fault] = []
    while time.monotonic() - began_s < seconds:
        time.sleep(rng.uniform(*CALM_S))
        waiting = waiting or rng.sample(faults, len(faults))
        chosen = [waiting.pop()]
        others = [fault for fault in faults if not fault.alone and fault is not chosen[0]]
        if rng.random() < pair_share and others and not chosen[0].alone:
            chosen.append(rng.choice(others))
        known = len(report.violations)
        injected = _inject(made, rng, chosen, began_s, report)
        say(
            f"{injected.at_s:7.1f} s  {injected.name}, for {injected.lasted_s:.1f} s; "
            f"a write after {injected.write_s:.1f} s, equal after {injected.equal_s:.1f} s"
        )
        for violation in report.violations[known:]:
            say(f"           VIOLATION {violation}")
    return round(time.monotonic() - began_s, 1)


def _inject(made: Bench, rng: random.Random, chosen: Sequence[Fault], began_s: float, report: Report) -> Injected:
    exits = [len(node.exits) for node in made.nodes]
    at_s = time.monotonic()
    name = " + ".join(fault.name for fault in chosen)
    try:
        with ExitStack() as stack:
            for fault in chosen:
                if fault is not chosen[0]:
                    time.sleep(rng.uniform(*APART_S))
                stack.enter_context(fault.begin(made, rng))
            time.sleep(rng.uniform(*chosen[0].seconds))
    except AssertionError as error:
        report.violations.append(f"{name}: {error}")
    lasted_s = time.monotonic() - at_s
    write_s, equal_s, wrong = checks.recovered(made, lambda: start_ended(made))
    report.violations += [f"{violation} ({name} at {at_s - began_s:.1f} s)" for violation in wrong]
    start_ended(made)
    if not any(fault.stops_nodes for fault in chosen):
        for node, before in zip(made.nodes, exits, strict=True):
            if len(node.exits) > before:
                end = node.log[-1500:]
                report.violations.append(f"{node.name} ended by itself with {node.exits[-1]} during {name}: {end}")
    injected = Injected(name, round(at_s - began_s, 1), round(lasted_s, 1), write_s, equal_s)
    report.faults.append(injected)
    return injected


def _check(made: Bench, clients: Clients, folder: Path, report: Report, say: Callable[[str], None]) -> None:
    say("checking")
    start_ended(made)
    report.violations += checks.recovered(made, lambda: start_ended(made))[2]
    checks.read_every_key(made, clients.history)
    report.violations += checks.every_version(made, clients.history)
    report.violations += checks.set_values(made, clients)
    report.violations += checks.stop_all(made)
    report.violations += checks.replicas(made.nodes, clients)
    report.violations += checks.logs(made.nodes)
    report.violations += checks.linearizable(clients.history, folder)
    report.violations += [f"C8: {each}" for each in clients.overspent]
    report.violations += [f"an answer that nobody should get: {each}" for each in clients.history.unexpected()]


def _count(made: Bench, clients: Clients, report: Report) -> None:
    report.snapshots = sum(node.log.count(checks.SNAPSHOT_SENT) for node in made.nodes)
    report.operations = dict(clients.history.counts)
    report.keys = len(clients.history.by_key())
    report.set_acknowledged, report.set_attempted = len(clients.acknowledged), len(clients.attempted)
    report.spent = dict(clients.spent)
