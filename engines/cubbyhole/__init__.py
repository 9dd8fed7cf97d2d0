"""Cubbyhole: storage that belongs to one token and ends with it (API documentation, "Cubbyhole")."""

from typing import Final

from engines.common.frame import Engine
from engines.cubbyhole.paths import TABLE

ENGINE: Final = Engine(
    type="cubbyhole",
    is_auth=False,
    description="Storage of one token.",
    help="Keeps secrets that only the token that wrote them can read. They are gone when the token is.",
    table=TABLE,
    reads_are_pure=True,
)
