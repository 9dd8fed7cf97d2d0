"""sys/rekey and sys/rekey-recovery-key (API documentation of the same names), and the backups of both."""

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from engines.common.context import Caller, Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan
from node.ceremonies import Rekey, Target, rekeying
from node.ceremonies.authority import seal_config
from node.ceremonies.desk import at_the_desk, may
from node.ceremonies.rekey import Finished, Verification, Wanted, check_wanted, decode_backup
from node.core import Core
from node.pgp import read_keys
from node.root_key import RECOVERY_BACKUP_KEY, UNSEAL_BACKUP_KEY

_BASE: Final = {Target.UNSEAL: "rekey", Target.RECOVERY: "rekey-recovery-key"}
_BACKUP_PATH: Final = {Target.UNSEAL: "rekey/backup", Target.RECOVERY: "rekey/recovery-key-backup"}
_BACKUP_KEY: Final = {Target.UNSEAL: UNSEAL_BACKUP_KEY, Target.RECOVERY: RECOVERY_BACKUP_KEY}
_UNCERTAIN: Final = (
    "it could not be found out whether these key shares are in force already or the old ones still are: keep both, "
    "and look at the next unseal, rekey or generate-root which of them are taken"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """What new shares are wanted."""

    secret_shares: int = body_param(Kind.INT, "How many shares to make.", default=0)
    secret_threshold: int = body_param(Kind.INT, "How many of them are needed.", default=0)
    stored_shares: int | None = body_param(Kind.INT, "Accepted for compatibility.")
    pgp_keys: tuple[str, ...] = body_param(Kind.STRINGS, "Public PGP keys, one for each share, base64.", default=())
    backup: bool = body_param(Kind.BOOL, "Keep the encrypted shares in the storage as well.", default=False)
    require_verification: bool = body_param(Kind.BOOL, "Take effect only once the new shares are given.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One key share."""

    key: str = body_param(Kind.STRING, "One key share, hexadecimal or base64.", default="", secret=True)
    nonce: str = body_param(Kind.STRING, "The nonce of the ceremony it is meant for.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What to end."""

    nonce: str = body_param(Kind.STRING, "Its nonce, which those without a right to it need.", default="")


@dataclass(frozen=True, slots=True)
class _Rekeys:
    core: Core
    target: Target

    def _may(self, caller: Caller, operation: Operation, end: str) -> bool:
        return may(self.core, caller, operation, f"sys/{_BASE[self.target]}/{end}")

    async def status(self, request: Nothing, ctx: Context) -> Plan:
        async with at_the_desk(self.core) as ceremonies:
            rekeying.require_target(self.core, self.target)
            return Plan(Answer(bare=self._shown(ceremonies.rekeys.get(self.target))))

    async def begin(self, request: Begin, ctx: Context) -> Plan:
        is_authorised = self._may(ctx.caller, Operation.UPDATE, "init")
        check_wanted(request.secret_shares, request.secret_threshold, len(request.pgp_keys), has_backup=request.backup)
        async with at_the_desk(self.core):
            rekeying.require_free(self.core, self.target, may=is_authorised)
            # In a thread, and one request at a time: 255 keys of strangers take a while to check.
            keys = await asyncio.to_thread(read_keys, request.pgp_keys, ctx.sources.now_ms() / 1000)
            wanted = Wanted(
                shares=request.secret_shares,
                threshold=request.secret_threshold,
                keys=keys,
                has_backup=request.backup,
                needs_verification=request.require_verification,
            )
            rekey = rekeying.begin(self.core, self.target, wanted, may=is_authorised)
            return Plan(Answer(bare=self._shown(rekey)))

    async def cancel(self, request: End, ctx: Context) -> Plan:
        is_authorised = self._may(ctx.caller, Operation.DELETE, "init")
        async with at_the_desk(self.core):
            rekeying.cancel(self.core, self.target, request.nonce, may=is_authorised)
        return Plan()

    async def give(self, request: Share, ctx: Context) -> Plan:
        result = await self.core.ceremonies.to_its_end(self._give(request))
        if isinstance(result, Rekey):
            return Plan(Answer(bare=self._shown(result)))
        body: dict[str, object] = {
            "nonce": result.nonce,
            "complete": True,
            **result.out.answer(),
            "pgp_fingerprints": result.wanted.fingerprints or None,
            "backup": result.wanted.has_backup,
            "verification_required": result.wanted.needs_verification,
        }
        if result.verification_nonce:
            body["verification_nonce"] = result.verification_nonce
        if not result.is_certain:
            body["warnings"] = [_UNCERTAIN]
        return Plan(Answer(bare=body), is_committed=not result.verification_nonce)

    async def _give(self, request: Share) -> Rekey | Finished:
        async with at_the_desk(self.core):
            return await rekeying.give(self.core, self.target, request.key, request.nonce)

    async def _verify(self, request: Share) -> Verification | None:
        async with at_the_desk(self.core):
            return await rekeying.verify(self.core, self.target, request.key, request.nonce)

    async def verification(self, request: Nothing, ctx: Context) -> Plan:
        async with at_the_desk(self.core) as ceremonies:
            verification = rekeying.verification_of(ceremonies.rekey(self.target))
            return Plan(Answer(bare=_verification(verification)))

    async def verify(self, request: Share, ctx: Context) -> Plan:
        verification = await self.core.ceremonies.to_its_end(self._verify(request))
        if verification is not None:
            return Plan(Answer(bare=_verification(verification)))
        return Plan(Answer(bare={"nonce": request.nonce, "complete": True}), is_committed=True)

    async def reset_verification(self, request: End, ctx: Context) -> Plan:
        is_authorised = self._may(ctx.caller, Operation.DELETE, "verify")
        async with at_the_desk(self.core):
            fresh = rekeying.reset_verification(self.core, self.target, request.nonce, may=is_authorised)
            return Plan(Answer(bare=_verification(fresh)))

    async def read_backup(self, request: Nothing, ctx: Context) -> Plan:
        record = await ctx.view.get(_BACKUP_KEY[self.target])
        if record is None:
            raise InvalidRequest("no backed-up keys found")
        nonce, by_key = decode_backup(record.value)
        data = {
            "nonce": nonce,
            "keys": {key: [item.hex() for item in items] for key, items in by_key.items()},
            "keys_base64": {key: [b64encode(item).decode() for item in items] for key, items in by_key.items()},
        }
        return Plan(Answer(data=data, repeat_data=True))

    async def delete_backup(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(writes=(Delete(_BACKUP_KEY[self.target]),))

    def _shown(self, rekey: Rekey | None) -> dict[str, object]:
        required = seal_config(self.core).threshold
        if rekey is None:
            return {
                "nonce": "",
                "started": False,
                "t": 0,
                "n": 0,
                "progress": 0,
                "required": required,
                "pgp_fingerprints": None,
                "backup": False,
                "verification_required": False,
            }
        wanted = rekey.wanted
        shown: dict[str, object] = {
            "nonce": rekey.nonce,
            "started": True,
            "t": wanted.threshold,
            "n": wanted.shares,
            "progress": rekey.quorum.progress,
            "required": rekey.quorum.required,
            "pgp_fingerprints": wanted.fingerprints or None,
            "backup": wanted.has_backup,
            "verification_required": wanted.needs_verification,
        }
        if rekey.verification is not None:
            shown["verification_nonce"] = rekey.verification.nonce
        return shown


def _verification(verification: Verification) -> dict[str, object]:
    return {
        "nonce": verification.nonce,
        "started": True,
        "t": verification.new.threshold,
        "n": verification.new.shares,
        "progress": verification.quorum.progress,
    }


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of both kinds of rekey."""
    return (*_routes(_Rekeys(core, Target.UNSEAL)), *_routes(_Rekeys(core, Target.RECOVERY)))


def _routes(own: _Rekeys) -> tuple[Route, ...]:
    base, backup = _BASE[own.target], _BACKUP_PATH[own.target]
    kind = "unseal" if own.target is Target.UNSEAL else "recovery"
    return (
        Route(
            pattern=f"{base}/init",
            operation=Operation.READ,
            request=Nothing,
            handler=own.status,
            unauthenticated=True,
            summary=f"How far the rekey of the {kind} keys is.",
        ),
        Route(
            pattern=f"{base}/init",
            operation=Operation.UPDATE,
            request=Begin,
            handler=own.begin,
            unauthenticated=True,
            summary=f"Begin a rekey of the {kind} keys.",
        ),
        Route(
            pattern=f"{base}/init",
            operation=Operation.DELETE,
            request=End,
            handler=own.cancel,
            unauthenticated=True,
            summary="Cancel it; the old shares stay valid.",
        ),
        Route(
            pattern=f"{base}/update",
            operation=Operation.UPDATE,
            request=Share,
            handler=own.give,
            unauthenticated=True,
            summary="Give one of the shares in force; the last one needed gets the new ones.",
        ),
        Route(
            pattern=f"{base}/verify",
            operation=Operation.READ,
            request=Nothing,
            handler=own.verification,
            unauthenticated=True,
            summary="How far the verification of the new shares is.",
        ),
        Route(
            pattern=f"{base}/verify",
            operation=Operation.UPDATE,
            request=Share,
            handler=own.verify,
            unauthenticated=True,
            summary="Give one of the new shares; with the last one needed they take effect.",
        ),
        Route(
            pattern=f"{base}/verify",
            operation=Operation.DELETE,
            request=End,
            handler=own.reset_verification,
            unauthenticated=True,
            summary="Begin the verification anew, under another nonce.",
        ),
        Route(
            pattern=backup,
            operation=Operation.READ,
            request=Nothing,
            handler=own.read_backup,
            summary=f"The kept copies of the encrypted {kind} key shares.",
        ),
        Route(
            pattern=backup,
            operation=Operation.DELETE,
            request=Nothing,
            handler=own.delete_backup,
            summary="Delete them.",
        ),
    )
