"""The server whose autopilot may take members for dead after seconds: `python -m tests.processes.hasty_server server`.

The documented minimum of a minute is for people; what is tested is what happens once it is over.
"""

import sys

import node.autopilot
from node.cli.main import main
from tests.processes.cluster import Node


def hasty(where: Node) -> None:
    """Let a node run this program, and look at its members every second."""
    where.program = (sys.executable, "-m", "tests.processes.hasty_server")
    often(where)


def often(where: Node) -> None:
    """Let a node's autopilot look every second, instead of every ten."""
    rounds = '  autopilot_update_interval = "1s"\n  autopilot_reconcile_interval = "1s"\n'
    where.config = where.config.replace('storage "raft" {\n', f'storage "raft" {{\n{rounds}', 1)


if __name__ == "__main__":
    vars(node.autopilot)["DEAD_S_LEAST"] = 1
    sys.exit(main(sys.argv[1:]))
