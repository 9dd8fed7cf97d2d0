"""How a request comes to a ceremony: on the node that leads, one at a time, and with or without a right to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engines.common.context import Caller
from engines.common.frame import Operation
from node.ceremonies import Ceremonies
from node.core import Core


@asynccontextmanager
async def at_the_desk(core: Core) -> AsyncIterator[Ceremonies]:
    """The ceremonies of this term of leadership, for one request at a time. Raises NoLeader."""
    async with core.ceremonies.lock:
        core.storage.store.require_lease()
        core.ceremonies.end_of_other_terms(core.storage.store.leading_term)
        yield core.ceremonies


def may(core: Core, caller: Caller, operation: Operation, path: str) -> bool:
    """Whether policy lets a token do this here, where nobody needs one: what it does then nobody without can undo."""
    if not caller.policies:
        return False
    return core.require_unsealed().acl_of(caller).check(operation, path, {}, None).allowed
