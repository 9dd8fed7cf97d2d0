"""What a node works with while its keys are in memory. It is made at unseal and dropped whole at seal.

Everything here is in the store or derived from it: nothing is patched by hand, so a standby that becomes active, or a
node that has just restarted, serves the first request like the thousandth.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from cluster.meters import Sampled, clock
from cluster.store import Store
from engines.common.context import Caller, Context, MountInfo, Outside
from engines.common.errors import InvalidRequest, PermissionDenied
from engines.common.frame import Engine, Operation
from engines.common.held import Held
from engines.common.plan import Check, TokenGrant, Write
from engines.registry import engine_for
from node.activity import Activity
from node.audit.broker import Broker
from node.barrier import Barrier
from node.config.model import Config
from node.errors import NoRoute
from node.identify import Identified
from node.identity.binding import Bound, bind
from node.identity.directory import Directory
from node.leases.model import Lease, Renewal
from node.ledger import Ledger, open_ledger
from node.lockout import Lockout
from node.mounts import AUTH_KEY, MOUNTS_KEY, Mount, Mounted, Router, decode_mounts
from node.password_policies import new_password
from node.policies import Policies
from node.policy import Acl, Decision
from node.quotas.gate import Quotas
from node.request import Request
from node.sources import Sources
from node.telemetry.meters import NodeMeters
from node.tokens.model import TokenEntry, Ttls
from node.upload import Upload
from node.view import MountView, OpenedStore
from node.wrapping import Wrapping

SALT_KEY: Final = "sys/salt"

# Engines of the node itself: their records lie at absolute keys, below "sys/" and "core/".
NODE_TYPES: Final = frozenset({"system", "token", "identity"})

KNOWN_MAX: Final = 16_384  # tokens in use at a time; each costs about a kilobyte

_ROOT_DECISION: Final = Decision(allowed=True, root=True, sudo=True)


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
        meters: NodeMeters,
    ) -> None:
        self.meters = meters
        self.config = config
        self.store = store
        self.barrier = barrier
        self.sources = sources
        self.opened = OpenedStore(store, barrier, meters)
        self.policies = Policies(self.opened, store)
        self.activity = Activity(self.opened, sources, self._forget_known)
        self.audit = Broker(self.opened, store, sources, own_folders(config))
        self.quotas = Quotas(self.opened, store, sources, self._folded)
        self._node_engine = node_engine
        self._router: Router | None = None
        self._ledger: Ledger | None = None
        # What the last request of a token was found to be; good for as long as token and policies are the same objects.
        self._known: dict[str, Identified] = {}
        self._lockout: Lockout | None = None
        self._directory: Directory | None = None
        self._contexts: dict[str, tuple[MountView, MountInfo, Outside]] = {}
        self._held: dict[str, Held] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unwatch = store.watch(self._changed, (MOUNTS_KEY, AUTH_KEY))

    @property
    def router(self) -> Router:
        """The mount table as of now."""
        if self._router is None:
            self._contexts.clear()
            self._router = Router(
                Mounted(mount, self.engine_of(mount), self.prefix_of(mount)) for mount in self.mounts()
            )
        return self._router

    @property
    def ledger(self) -> Ledger:
        """Tokens and leases. Their salt is made at init and never changes."""
        if self._ledger is None:
            salt = self._salt()
            cubbyhole = next(mount for mount in self.mounts() if mount.type == "cubbyhole")
            self._ledger = open_ledger(
                self.opened,
                self.sources,
                salt,
                self.barrier,
                self.ttls_of,
                cubbyhole.storage_prefix,
                self._revoke_in_engine,
                self._renew_in_engine,
            )
        return self._ledger

    @property
    def wrapping(self) -> Wrapping:
        """Response wrapping."""
        return self.ledger.wrapping

    @property
    def lockout(self) -> Lockout:
        """Who is locked out after failed logins."""
        if self._lockout is None:
            self._lockout = Lockout(self.config, self.opened, self.sources, self._salt())
        return self._lockout

    @property
    def directory(self) -> Directory:
        """Entities, their aliases and groups."""
        if self._directory is None:
            self._directory = Directory(self.opened, self.sources, self._salt())
        return self._directory

    def _salt(self) -> bytes:
        salt = self.opened.get(SALT_KEY)
        if salt is None:
            raise LookupError("the token salt has not been replicated to this node yet")
        return salt.value

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

    def _folded(self, path: str) -> str:
        found = self.router.match(path)
        if found is None or found[0].engine.fold is None:
            return path
        return found[0].mount.path + found[0].engine.fold(found[1])

    async def login_role(self, path: str, body: Mapping[str, object]) -> str:
        """The role that a login asks for, "" for none; it says nothing about whether the login is right."""
        found = self.router.match(path)
        if found is None or found[0].engine.login_role is None:
            return ""
        return await found[0].engine.login_role(body, self.context(found[0], Caller()))

    def system_ttls(self) -> tuple[int, int]:
        """The system's default and maximum TTL in seconds."""
        return self.config.default_lease_ttl_s, self.config.max_lease_ttl_s

    def effective_ttls(self, mount: Mount) -> tuple[int, int]:
        """The mount's default and maximum TTL in seconds, or else the system's."""
        default_s, max_s = self.system_ttls()
        return mount.config.default_lease_ttl_s or default_s, mount.config.max_lease_ttl_s or max_s

    def ttls_of(self, path: str) -> Ttls:
        """The TTLs of the mount that answers for a request path."""
        found = self.router.match(path)
        return Ttls(*(self.system_ttls() if found is None else self.effective_ttls(found[0].mount)))

    def prefix_of(self, mount: Mount) -> str:
        """Below which the writes of a mount's plans lie."""
        return "" if mount.type in NODE_TYPES else mount.storage_prefix

    def context(self, mounted: Mounted, caller: Caller, wrap_ttl_s: int = 0, upload: Upload | None = None) -> Context:
        """What the engine of this mount may know about one request."""
        mount = mounted.mount
        known = self._contexts.get(mount.path)
        if known is None:
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
            view = MountView(self.opened, self.prefix_of(mount))
            known = self._contexts[mount.path] = (view, info, self._outside(mount))
        view, info, outside = known
        return Context(
            view=view,
            mount=info,
            caller=caller,
            sources=self.sources,
            wrap_ttl_s=wrap_ttl_s,
            upload=upload,
            outside=outside,
        )

    def _outside(self, mount: Mount) -> Outside:
        async def commit(writes: Sequence[Write]) -> int:
            return await self.opened.commit(self.prefix_of(mount), writes, (self.still_mounted(mount),))

        held = self._held.get(mount.uuid)
        if held is None:
            held = self._held[mount.uuid] = Held(self.sources.random(16).hex())
        return Outside(
            commit,
            held,
            lambda policy: new_password(self.opened, policy, self.sources.random),
            partial(self.meters.outside_call, mount.type),
        )

    def still_mounted(self, mount: Mount) -> Check:
        """What refuses a commit once this mount's table has changed. Raises NoRoute when the mount is gone already.

        Disabling a mount takes back what it made outside, so nothing may be made beside it.
        """
        check, _ = self._row(mount)
        return check

    def still_open(self, mount: Mount) -> Check:
        """As `still_mounted`, and NoRoute when the mount is closed: what it issues now would escape its end or move."""
        check, row = self._row(mount)
        if row.closed or row.path != mount.path:
            raise NoRoute(mount.path)
        return check

    def _row(self, mount: Mount) -> tuple[Check, Mount]:
        table = self.opened.get(AUTH_KEY if mount.is_auth else MOUNTS_KEY)
        rows = decode_mounts(table.value) if table is not None else ()
        row = next((row for row in rows if row.uuid == mount.uuid), None)
        if table is None or row is None:
            raise NoRoute(mount.path)
        return Check(table.key, table.index), row

    def release(self) -> None:
        """Close what the mounts hold open outside: from now on another node acts there."""
        held, self._held = self._held, {}
        self._contexts.clear()
        for one in held.values():
            closing = asyncio.get_running_loop().create_task(one.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def identify(self, request: Request) -> Identified:
        """The sender, if its token is good now. Raises PermissionDenied, with one text for every reason."""
        tokens = self.ledger.tokens
        began_s = clock() if self.meters.sampling.timed else 0.0
        seen = await tokens.lookup(request.token)
        if began_s:
            self.meters.token_lookup.add(clock() - began_s)
        if seen is None:
            raise PermissionDenied
        entry = seen.entry
        tokens.usable(entry, self.sources.now_ms(), request.client_address)
        policies, acl = self.rights(entry)
        if began_s:
            self.meters.fetch_acl_and_token.add(clock() - began_s)
            self.meters.check_token.add(clock() - began_s)
        known = self._known.get(request.token)
        if known is not None and known.is_still(seen, acl, request.client_address):
            return known
        if not acl.is_root:
            found = self.router.match(entry.path)
            self.activity.saw(entry, found[0].mount.accessor if found is not None else "")
        caller = Caller(
            token_key=seen.key,
            accessor=entry.accessor,
            display_name=entry.display_name,
            entity_id=entry.entity_id,
            policies=policies,
            client_address=request.client_address,
            is_root=acl.is_root,
            has_sudo=acl.is_root,
            token=request.token,
        )
        uses = tokens.use_writes(seen) if entry.num_uses else ()
        who = Identified(caller, acl, seen, uses, replace(caller, token=""))
        if not entry.num_uses:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[request.token] = who
        return who

    def new_timer(self, mounted: Mounted, operation: Operation) -> Sampled:
        """The meter of this operation of a mount, kept with it from now on."""
        timer = mounted.timers[operation] = self.meters.route(mounted.mount.path, operation)
        return timer

    def _forget_known(self) -> None:
        self._known.clear()

    def rights(self, entry: TokenEntry) -> tuple[tuple[str, ...], Acl]:
        """The policies that apply to a token, those of its entity among them, and what they allow together.

        Raises:
            PermissionDenied: Its entity is disabled or gone.
        """
        if not entry.entity_id:
            return entry.policies, self.policies.acl(entry.policies)
        profile = self.directory.usable_profile(entry.entity_id)
        names = tuple(sorted({*entry.policies, *profile.policies})) if profile.policies else entry.policies
        return names, self.policies.acl(names, profile.subject)

    def identity_policies(self, entity_id: str) -> tuple[str, ...]:
        """The policies that an entity brings to its tokens."""
        profile = self.directory.profile(entity_id) if entity_id else None
        return () if profile is None else profile.policies

    def acl_of(self, caller: Caller) -> Acl:
        """What the sender of a request may do."""
        profile = self.directory.profile(caller.entity_id) if caller.entity_id else None
        return self.policies.acl(caller.policies, profile.subject if profile is not None else None)

    def require(self, who: Identified, request: Request, operation: Operation, *, sudo: bool = False) -> Decision:
        """What policy says to this operation on the request's path. Raises PermissionDenied unless it allows it."""
        if who.acl.is_root:
            return _ROOT_DECISION
        decision = who.acl.check(operation, request.path, request.body, request.wrap_ttl_s or None, sudo_needed=sudo)
        if not decision.allowed:
            raise PermissionDenied
        return decision

    def close(self) -> None:
        """Drop every opened record and close the audit devices and connections, for good: the node is sealing."""
        self.release()
        self._unwatch()
        self.audit.end()
        self.policies.close()
        self.quotas.close()
        self.opened.close()
        self._known.clear()
        self._contexts.clear()
        self._router = None
        self._ledger = None
        self._lockout = None
        self._directory = None

    async def _revoke_in_engine(self, lease: Lease) -> None:
        mounted = self._mounted_by_uuid(lease.mount_uuid)
        if mounted is None or mounted.engine.revoke is None:
            return  # its mount is gone, and took with it what it stored
        plan = await mounted.engine.revoke(lease.internal, self.context(mounted, Caller()))
        if plan.writes:
            await self.opened.commit(self.prefix_of(mounted.mount), plan.writes)

    async def _renew_in_engine(self, lease: Lease, increment_s: int) -> Renewal:
        mounted = self._mounted_by_uuid(lease.mount_uuid)
        if mounted is None or mounted.engine.renew is None:
            raise InvalidRequest("lease is not renewable")
        plan = await mounted.engine.renew(lease.internal, self.context(mounted, Caller()))
        prefix = self.prefix_of(mounted.mount)
        writes = tuple(replace(write, key=prefix + write.key) for write in plan.writes)
        granted = plan.answer.lease
        if granted is None:
            return Renewal(writes=writes)
        return Renewal(
            ttl_s=granted.ttl_s,
            max_ttl_s=granted.max_ttl_s,
            internal=granted.internal or None,
            writes=writes,
            extend=granted.extend,
        )

    async def renew_login(self, entry: TokenEntry) -> TokenGrant:
        """What the auth method that made a token grants it today. Raises InvalidRequest when it must not be renewed."""
        found = self.router.match(entry.path)
        if found is None or not found[0].mount.is_auth:
            raise InvalidRequest("the auth method of this token is gone, not renewing")
        mounted, _ = found
        if mounted.engine.renew is None:
            raise InvalidRequest("lease is not renewable")
        caller = Caller(entity_id=entry.entity_id, policies=entry.policies)
        plan = await mounted.engine.renew(entry.internal, self.context(mounted, caller))
        grant = plan.answer.login
        if grant is None:
            raise InvalidRequest("lease is not renewable")
        if entry.entity_id and grant.group_names is not None:
            bound = self.bind(mounted.mount, grant)
            if bound.writes:
                await self.opened.commit("", bound.writes)
        return grant

    def bind(self, mount: Mount, grant: TokenGrant) -> Bound:
        """The entity that logs in. Raises PermissionDenied when it is disabled."""
        began_s = clock()
        bound = bind(
            self.directory,
            mount.accessor,
            grant.alias_name,
            metadata=grant.alias_metadata,
            group_names=grant.group_names,
        )
        took_s = clock() - began_s
        self.meters.create_or_fetch_entity.add(took_s)
        if grant.group_names is not None:
            self.meters.external_groups.add(took_s)
        return bound

    def _mounted_by_uuid(self, uuid: str) -> Mounted | None:
        return next((m for m in self.router.by_path.values() if m.mount.uuid == uuid), None)

    def _changed(self, keys: Collection[str]) -> None:
        if not keys or MOUNTS_KEY in keys or AUTH_KEY in keys:
            self._router = None


def own_folders(config: Config) -> list[Path]:
    """Where the server keeps its own files: no audit device may write there (CVE-2025-6000)."""
    folders = (getattr(config.storage, "path", ""), config.plugin_directory)
    return [Path(folder) for folder in folders if folder]
