"""sys/wrapping/*: wrap, look up, unwrap, rewrap (API documentation, "/sys/wrapping")."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, whole_body
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, RawAnswer, Write
from engines.common.timestamp import rfc3339
from node.core import Core
from node.policy.names import RESPONSE_WRAPPING_NAME
from node.response import JSON
from node.wrapping import NOT_VALID, Wrapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrap:
    """Anything at all: the body is what gets wrapped."""

    body: Mapping[str, object] = whole_body("What to wrap.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenToken:
    """A wrapping token; empty for the request's own."""

    token: str = body_param(Kind.STRING, "The wrapping token.", default="", secret=True)


@dataclass(frozen=True, slots=True)
class _Wrapping:
    core: Core

    def _wrapping(self) -> Wrapping:
        return self.core.require_unsealed().wrapping

    async def wrap(self, request: Wrap, ctx: Context) -> Plan:
        if not ctx.wrap_ttl_s:
            raise InvalidRequest("endpoint requires response wrapping to be used: send X-Vault-Wrap-TTL")
        return Plan(Answer(data=request.body))  # which the pipeline wraps, as it does any answer

    async def lookup(self, request: GivenToken, ctx: Context) -> Plan:
        wrapping = self._wrapping()
        seen = await wrapping.wrapping_token(request.token or ctx.caller.token)
        data = {
            "creation_path": seen.entry.path,
            "creation_time": rfc3339(seen.entry.created_at_ms),
            "creation_ttl": seen.entry.ttl_s,
        }
        return Plan(Answer(data=data))

    async def unwrap(self, request: GivenToken, ctx: Context) -> Plan:
        wrapping = self._wrapping()
        if not request.token or request.token == ctx.caller.token:
            return _as_it_was(wrapping.body(_own_key(ctx)))
        seen = await wrapping.wrapping_token(request.token)
        return _as_it_was(wrapping.body(seen.key), wrapping.ended(seen))

    async def rewrap(self, request: GivenToken, ctx: Context) -> Plan:
        wrapping = self._wrapping()
        if not request.token or request.token == ctx.caller.token:
            seen = await wrapping.tokens.lookup_key(_own_key(ctx))
            if seen is None:
                raise InvalidRequest(NOT_VALID)
            ended: tuple[Write, ...] = ()
        else:
            seen = await wrapping.wrapping_token(request.token)
            ended = wrapping.ended(seen)
        again = wrapping.wrap(orjson.loads(wrapping.body(seen.key)), seen.entry.ttl_s, seen.entry.path)
        return Plan(Answer(wrap_info=again.info), (*again.writes, *ended))


def _own_key(ctx: Context) -> str:
    """The caller's own wrapping token, whose only use was committed before the handler was called."""
    if ctx.caller.policies != (RESPONSE_WRAPPING_NAME,):
        raise InvalidRequest(NOT_VALID)
    return ctx.caller.token_key


def _as_it_was(body: bytes, writes: tuple[Write, ...] = ()) -> Plan:
    return Plan(Answer(raw=RawAnswer(body=body, content_type=JSON)), writes)


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of response wrapping."""
    own = _Wrapping(core)
    update = Operation.UPDATE
    return (
        Route(pattern="wrapping/wrap", operation=update, request=Wrap, handler=own.wrap, summary="Wrap a value."),
        Route(
            pattern="wrapping/lookup",
            operation=update,
            request=GivenToken,
            handler=own.lookup,
            summary="What a wrapping token is for.",
            unauthenticated=True,
        ),
        Route(
            pattern="wrapping/lookup",
            operation=Operation.READ,
            request=GivenToken,
            handler=own.lookup,
            summary="What the request's wrapping token is for.",
            unauthenticated=True,
        ),
        Route(pattern="wrapping/unwrap", operation=update, request=GivenToken, handler=own.unwrap, summary="Unwrap."),
        Route(
            pattern="wrapping/rewrap",
            operation=update,
            request=GivenToken,
            handler=own.rewrap,
            summary="Move a wrapped value to a new token.",
        ),
    )
