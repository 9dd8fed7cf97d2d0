"""Tokens and leases, and what ends them: made when the token salt is first needed, dropped at seal."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.common.context import Sources
from engines.common.plan import Write
from node.leases.executor import Executor
from node.leases.manager import LeaseManager
from node.leases.model import RenewInEngine, RevokeInEngine
from node.leases.sweeper import Sweeper
from node.tokens.model import Sealer, TtlsOf
from node.tokens.revoker import Revoker
from node.tokens.tidy import Tidy
from node.tokens.token_store import TokenStore
from node.view import MountView, OpenedStore
from node.wrapping import Wrapping


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything that was promised until a certain moment."""

    tokens: TokenStore
    revoker: Revoker
    leases: LeaseManager
    sweeper: Sweeper
    tidy: Tidy
    wrapping: Wrapping


def open_ledger(
    opened: OpenedStore,
    sources: Sources,
    salt: bytes,
    sealer: Sealer,
    ttls_of: TtlsOf,
    cubbyhole_prefix: str,
    revoke_in_engine: RevokeInEngine,
    renew_in_engine: RenewInEngine,
) -> Ledger:
    """The ledger over this storage. `cubbyhole_prefix` is where the cubbyhole mount stores, ending in "/"."""

    async def commit(writes: Sequence[Write]) -> int:
        return await opened.commit("", writes)

    view = MountView(opened, "")
    meters = opened.meters
    tokens = TokenStore(view, sources, salt, sealer, ttls_of, meters)
    revoker = Revoker(tokens, commit, lambda key: f"{cubbyhole_prefix}{key}/", meters)
    executor = Executor(sources, commit, revoke_in_engine, meters)
    leases = LeaseManager(view, sources, commit, ttls_of, executor, revoker, renew_in_engine, meters)
    wrapping = Wrapping(tokens, opened, sources, cubbyhole_prefix)
    return Ledger(tokens, revoker, leases, Sweeper(leases, revoker, commit), Tidy(tokens, commit), wrapping)
