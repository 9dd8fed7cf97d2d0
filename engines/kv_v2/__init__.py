"""KV version 2: secrets with versions, soft delete, check-and-set and metadata (API documentation, "KV", version 2)."""

from typing import Final

from engines.common.frame import Engine
from engines.kv_v2.paths import TABLE

ENGINE: Final = Engine(
    type="kv",
    is_auth=False,
    description="Versioned key/value store.",
    help=(
        "Keeps secrets under paths, with their older versions. data/ reads and writes values, metadata/ lists names "
        "and holds settings, and delete/, undelete/ and destroy/ act on versions."
    ),
    table=TABLE,
    reads_are_pure=True,
)
