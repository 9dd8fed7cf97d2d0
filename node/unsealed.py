"""What a node works with while its keys are in memory. It is made at unseal and dropped whole at seal.

Everything here is in the store or derived from it: nothing is patched by hand, so a standby that becomes active, or a
node that has just restarted, serves the first request like the thousandth.
"""

from collections.abc import Callable, Collection
from typing import Final

from cluster.store import Store
from engines.common.context import Caller, Context, MountInfo
from engines.common.errors import PermissionDenied
from engines.common.frame import Engine, Operation
from engines.registry import engine_for
from node.barrier import Barrier
from node.config.model import Config
from node.identify import Identified
from node.mounts import AUTH_KEY, MOUNTS_KEY, Mount, Mounted, Router, decode_mounts
from node.policies import Policies
from node.request import Request
from node.sources import Sources
from node.tokens.model import Ttls
from node.tokens.token_store import TokenStore
from node.view import MountView, OpenedStore

SALT_KEY: Final = "sys/salt"

# Engines of the node itself: their records lie at absolute keys, below "sys/" and "core/".
NODE_TYPES: Final = frozenset({"system", "token"})


class Unsealed:
    """The opened store and what is derived from it."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        barrier: Barrier,
        sources: Sources,
        node_engine: Callable[[str], Engine],
    ) -> None:
        self.config = config
        self.store = store
        self.barrier = barrier
        self.sources = sources
        self.opened = OpenedStore(store, barrier)
        self.root_view = MountView(self.opened, "")
        self.policies = Policies(self.opened, store)
        self._node_engine = node_engine
        self._router: Router | None = None
        self._tokens: TokenStore | None = None
        self._infos: dict[str, MountInfo] = {}
        self._views: dict[str, MountView] = {}
        store.watch(self._changed)

    @property
    def router(self) -> Router:
        """The mount table as of now."""
        if self._router is None:
            self._infos.clear()
            self._views.clear()
            self._router = Router(Mounted(mount, self.engine_of(mount)) for mount in self.mounts())
        return self._router

    @property
    def tokens(self) -> TokenStore:
        """The token store; its salt is made at init and never changes."""
        if self._tokens is None:
            salt = self.opened.get(SALT_KEY)
            if salt is None:
                raise LookupError("the token salt has not been replicated to this node yet")
            self._tokens = TokenStore(self.root_view, self.sources, salt.value, self.barrier, self.ttls_of)
        return self._tokens

    def mounts(self) -> tuple[Mount, ...]:
        """Both tables, as stored."""
        rows: tuple[Mount, ...] = ()
        for key in (MOUNTS_KEY, AUTH_KEY):
            seen = self.opened.get(key)
            if seen is not None:
                rows += decode_mounts(seen.value)
        return rows

    def engine_of(self, mount: Mount) -> Engine:
        """The engine that runs a mount."""
        if mount.type in NODE_TYPES:
            return self._node_engine(mount.type)
        return engine_for(mount.type, mount.options)

    def system_ttls(self) -> tuple[int, int]:
        """The system's default and maximum TTL in seconds."""
        return self.config.default_lease_ttl_s, self.config.max_lease_ttl_s

    def ttls_of(self, path: str) -> Ttls:
        """The TTLs of the mount that answers for a request path."""
        found = self.router.match(path)
        return Ttls(*(self.system_ttls() if found is None else self.effective_ttls(found[0].mount)))

    def effective_ttls(self, mount: Mount) -> tuple[int, int]:
        """The mount's default and maximum TTL in seconds, or else the system's."""
        default_s, max_s = self.system_ttls()
        return mount.config.default_lease_ttl_s or default_s, mount.config.max_lease_ttl_s or max_s

    def prefix_of(self, mount: Mount) -> str:
        """Below which the writes of a mount's plans lie."""
        return "" if mount.type in NODE_TYPES else mount.storage_prefix

    def context(self, mounted: Mounted, caller: Caller) -> Context:
        """What the engine of this mount may know about one request."""
        mount = mounted.mount
        info = self._infos.get(mount.path)
        if info is None:
            default_s, max_s = self.effective_ttls(mount)
            info = MountInfo(
                path=mount.path,
                uuid=mount.uuid,
                accessor=mount.accessor,
                type=mount.type,
                options=mount.options,
                default_ttl_s=default_s,
                max_ttl_s=max_s,
            )
            self._infos[mount.path] = info
            self._views[mount.path] = MountView(self.opened, self.prefix_of(mount))
        return Context(view=self._views[mount.path], mount=info, caller=caller, sources=self.sources)

    async def identify(self, request: Request) -> Identified:
        """The sender, if its token is good now. Raises PermissionDenied, with one text for every reason."""
        tokens = self.tokens
        seen = await tokens.lookup(request.token)
        if seen is None:
            raise PermissionDenied
        entry = seen.entry
        tokens.usable(entry, self.sources.now_ms(), request.client_address)
        acl = self.policies.acl(entry.policies)
        caller = Caller(
            token_key=seen.key,
            accessor=entry.accessor,
            display_name=entry.display_name,
            entity_id=entry.entity_id,
            policies=entry.policies,
            client_address=request.client_address,
            is_root=acl.is_root,
        )
        return Identified(caller, acl, seen, tokens.use_writes(seen))

    def require(self, who: Identified, request: Request, operation: Operation, *, sudo: bool = False) -> None:
        """Raise PermissionDenied unless policy allows this operation on the request's path."""
        if who.acl.is_root:
            return
        decision = who.acl.check(operation, request.path, request.body, request.wrap_ttl_s or None, sudo_needed=sudo)
        if not decision.allowed:
            raise PermissionDenied

    def forget(self) -> None:
        """Drop every opened record: the node is sealing."""
        self.opened.forget()

    def _changed(self, keys: Collection[str]) -> None:
        if not keys or MOUNTS_KEY in keys or AUTH_KEY in keys:
            self._router = None
