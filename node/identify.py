"""Who sends a request: its token, what the token may do, and what using it costs."""

from dataclasses import dataclass

from engines.common.context import Caller
from engines.common.plan import Write
from node.policy import Acl
from node.tokens.model import SeenToken


@dataclass(frozen=True, slots=True)
class Identified:
    """A caller whose token is good now. `use_writes` take one use from a use-limited token, with the request's own."""

    caller: Caller
    acl: Acl
    token: SeenToken | None = None
    use_writes: tuple[Write, ...] = ()


ANONYMOUS = Identified(Caller(), Acl.of(()))
