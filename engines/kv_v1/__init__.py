"""KV version 1: one value per path, replaced by each write (API documentation, "KV", version 1)."""

from typing import Final

from engines.common.frame import Engine
from engines.kv_v1.paths import TABLE

ENGINE: Final = Engine(
    type="kv",
    is_auth=False,
    description="Key/value store without versions.",
    help="Keeps secrets under paths. A member named ttl tells readers how soon to ask again; nothing is revoked.",
    table=TABLE,
    reads_are_pure=True,
)
