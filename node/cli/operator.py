"""operator: what keeps a cluster running."""

from typing import Final

from node.cli.command import Group
from node.cli.operator_init import INIT
from node.cli.operator_keys import KEY_STATUS, ROTATE
from node.cli.operator_seal import MEMBERS, SEAL, STEP_DOWN, UNSEAL

COMMANDS: Final = (
    Group(
        name="operator",
        summary="Initialize, unseal and look after a cluster.",
        commands=(INIT, KEY_STATUS, MEMBERS, ROTATE, SEAL, STEP_DOWN, UNSEAL),
    ),
)
