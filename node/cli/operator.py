"""operator: what keeps a cluster running."""

from typing import Final

from node.cli.command import Group
from node.cli.operator_diagnose import DIAGNOSE
from node.cli.operator_generate_root import GENERATE_ROOT
from node.cli.operator_init import INIT
from node.cli.operator_keys import KEY_STATUS, ROTATE
from node.cli.operator_rekey import REKEY
from node.cli.operator_seal import MEMBERS, SEAL, STEP_DOWN, UNSEAL
from node.cli.operator_usage import USAGE
from node.cli.raft import RAFT

COMMANDS: Final = (
    Group(
        name="operator",
        summary="Initialize, unseal and look after a cluster.",
        commands=(
            DIAGNOSE,
            GENERATE_ROOT,
            INIT,
            KEY_STATUS,
            MEMBERS,
            RAFT,
            REKEY,
            ROTATE,
            SEAL,
            STEP_DOWN,
            UNSEAL,
            USAGE,
        ),
    ),
)
