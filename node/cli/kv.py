"""kv: the key-value store, versions 1 and 2."""

from typing import Final

from node.cli.command import Group
from node.cli.kv_data import DATA_COMMANDS
from node.cli.kv_metadata import METADATA
from node.cli.kv_versions import VERSION_COMMANDS

COMMANDS: Final = (
    Group(
        name="kv",
        summary="Read and write the key-value store.",
        commands=(*DATA_COMMANDS, *VERSION_COMMANDS, METADATA),
    ),
)
