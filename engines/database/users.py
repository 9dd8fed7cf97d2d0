"""Users with a lease: made, let in for longer, dropped. What happens when a step is the last one is in tending.py."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.plan import Answer, Delete, LeaseGrant, Plan
from engines.database import connections, logic, store
from engines.database.credential import new_credential
from engines.database.errors import DatabaseUnreachable
from engines.database.interface import Database, NewUser
from engines.database.model import Intent, LeasedUser, Named, Role
from engines.database.plugins import plugin_of
from engines.database.statements import unwrapped
from engines.database.username import parse_template

ACT_MS_MAX: Final = 60_000  # no request works on an intent for longer; every use of a database ends within 10 s
_INTENT_BYTES: Final = 12
_logger = logging.getLogger(__name__)


async def create(request: Named, ctx: Context) -> Plan:
    """creds/:name: intent, act, result (docs/decisions/0012)."""
    found = await store.read(Role, store.ROLES + request.name, ctx.view)
    if found is None:
        raise InvalidRequest(f"unknown role: {request.name}")
    role = found.record
    config = await connections.require_config(role.db_name, ctx)
    logic.require_allowed(config.record, request.name)
    plugin = plugin_of(config.record.plugin_name)
    if not unwrapped(role.creation) and not plugin.default_creation:
        raise InvalidRequest("empty creation statements")
    if role.credential_type not in plugin.credential_types:
        raise InvalidRequest(f"{config.record.plugin_name} has no credential_type {role.credential_type}")
    database = connections.opened(role.db_name, config, ctx)
    template = parse_template(str(config.record.settings.get("username_template") or plugin.username_template))
    names = {"DisplayName": ctx.caller.display_name, "RoleName": request.name}
    now_ms = ctx.sources.now_ms()
    lifetime_s = logic.lifetime_s(role, ctx.mount.default_ttl_s, ctx.mount.max_ttl_s)
    credential = await new_credential(role.credential_type, role.credential_config, config.record.password_policy, ctx)
    user = NewUser(
        username=template.render(names, ctx.sources),
        credential=credential,
        expire_at_ms=now_ms + lifetime_s * 1000 + logic.EXPIRY_GRACE_MS,
        creation=role.creation,
        rollback=role.rollback,
    )
    began = await _begin(user, role, ctx)
    try:
        await database.create_user(user)
    except Exception as error:
        await began.condemn(is_settled=not isinstance(error, DatabaseUnreachable))
        raise
    leased = LeasedUser(role=request.name, db_name=role.db_name, username=user.username, revocation=role.revocation)
    return Plan(
        Answer(
            data={credential.type: credential.secret, "username": user.username},
            lease=LeaseGrant(ttl_s=lifetime_s, max_ttl_s=role.max_ttl_s, internal=store.encode(leased)),
        ),
        # Naming the index: an intent that somebody has condemned meanwhile never becomes a lease.
        (Delete(began.key, began.index),),
        undo=began.undo(database),
    )


@dataclass(frozen=True, slots=True)
class _Begun:
    """An intent that was committed."""

    key: str
    index: int
    intent: Intent
    ctx: Context

    async def condemn(self, *, is_settled: bool) -> None:
        """Leave the user to be dropped. Never raises: an intent that nobody answers for any more is condemned too."""
        now_ms = self.ctx.sources.now_ms()
        settled_at_ms = now_ms if is_settled else self.intent.begun_at_ms + ACT_MS_MAX
        condemned = replace(self.intent, is_condemned=True, settled_at_ms=settled_at_ms)
        try:
            await self.ctx.out.commit((store.put(self.key, condemned, self.index),))
        except Exception as error:
            # Of whatever kind: this node leads no more, or the next leader was faster. Engines do not know the kinds.
            _logger.warning("a user without a lease is left to the next leader: %s", type(error).__name__)

    def undo(self, database: Database) -> Undo:
        """What takes the user back when its lease will never be."""
        return Undo(self, database)


@dataclass(frozen=True, slots=True)
class Undo:
    """Drops a user whose lease could not be registered.

    Condemning the intent is enough while this node leads. If it does not, the next leader may have worked the intent
    off while this node slept, and only this node knows that the user was made after that: so it drops it itself.
    """

    begun: _Begun
    database: Database

    async def __call__(self) -> None:
        """Never raises."""
        async with self.begun.ctx.out.held.alone(self.begun.key):
            await self.begun.condemn(is_settled=True)
            try:
                await self.database.drop_user(self.begun.intent.username, self.begun.intent.revocation)
            except Exception as error:
                _logger.warning("a user without a lease is left to its intent: %s", type(error).__name__)


async def _begin(user: NewUser, role: Role, ctx: Context) -> _Begun:
    intent = Intent(
        owner=ctx.out.held.owner,
        begun_at_ms=ctx.sources.now_ms(),
        db_name=role.db_name,
        username=user.username,
        revocation=role.revocation,
    )
    key = store.INTENTS + ctx.sources.random(_INTENT_BYTES).hex()
    return _Begun(key, await ctx.out.commit((store.put(key, intent),)), intent, ctx)


async def revoke(internal: bytes, ctx: Context) -> Plan:
    """Drop the user of a lease, as its role says now, or said when the role is gone."""
    leased = store.decode(LeasedUser, internal)
    role = await store.read(Role, store.ROLES + leased.role, ctx.view)
    database = await connections.database_of(leased.db_name, ctx)
    await database.drop_user(leased.username, leased.revocation if role is None else role.record.revocation)
    return Plan()


async def renew(internal: bytes, ctx: Context) -> Plan:
    """Let the user of a lease in until its new end. Raises InvalidRequest when its role is gone."""
    leased = store.decode(LeasedUser, internal)
    found = await store.read(Role, store.ROLES + leased.role, ctx.view)
    if found is None:
        raise InvalidRequest(f'could not find role with name "{leased.role}"')
    role = found.record
    database = await connections.database_of(leased.db_name, ctx)

    async def extend(expire_at_ms: int) -> None:
        await database.renew_user(leased.username, expire_at_ms + logic.EXPIRY_GRACE_MS, role.renewal)

    return Plan(Answer(lease=LeaseGrant(ttl_s=role.default_ttl_s, max_ttl_s=role.max_ttl_s, extend=extend)))
