"""Who sends a request: its token, what the token may do, and what using it costs."""

from dataclasses import dataclass
from typing import Final

from engines.common.context import Caller
from engines.common.plan import Write
from node.policy import Acl
from node.tokens.model import SeenToken
from node.tokens.token_store import is_last_use

_NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Identified:
    """A caller whose token is good now. `use_writes` take one use from a use-limited token.

    `for_engines` is the caller as all engines but the node's own see it: without the token (CVE-2026-4525).
    """

    caller: Caller
    acl: Acl
    token: SeenToken | None = None
    use_writes: tuple[Write, ...] = ()
    for_engines: Caller = _NOBODY

    @property
    def is_last_use(self) -> bool:
        """Whether the token ends with this request."""
        return self.token is not None and is_last_use(self.token)

    def is_still(self, token: SeenToken, acl: Acl, client_address: str) -> bool:
        """Whether this is what would be found again: the same objects are the same records."""
        return self.token is token and self.acl is acl and self.caller.client_address == client_address


ANONYMOUS = Identified(_NOBODY, Acl.of(()))
