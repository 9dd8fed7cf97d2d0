"""sys/policies/acl, the older sys/policy, and sys/capabilities* (API documentation of the same names)."""

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan
from node.core import Core
from node.paths import canonical_path
from node.policies import policy_key, policy_put
from node.policy import Acl, canonical_policy_name, parse_policy
from node.policy.builtin import UNSTORED_POLICIES
from node.policy.errors import PolicyNameRefused
from node.tokens.model import SeenToken

_PATHS_MAX: Final = 1000  # of one capabilities request


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyName:
    """One policy."""

    name: str = path_param("The policy's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """A policy's new text."""

    name: str = path_param("The policy's name.")
    policy: str | None = body_param(Kind.STRING, "The policy, as HCL or JSON, or either in base64.")
    rules: str | None = body_param(Kind.STRING, "Older name of policy.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilitiesRequest:
    """Paths to judge, by a token, an accessor or the caller."""

    paths: tuple[str, ...] | None = body_param(Kind.STRINGS, "The paths.")
    path: tuple[str, ...] | None = body_param(Kind.STRINGS, "Older name of paths.")
    token: str = body_param(Kind.STRING, "The token to judge.", default="", secret=True)
    accessor: str = body_param(Kind.STRING, "The accessor of the token to judge.", default="")


@dataclass(frozen=True, slots=True)
class _Policies:
    core: Core

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        names = self.core.require_unsealed().policies.names()
        return Plan(Answer(data={"keys": names, "policies": names}, repeat_data=True))

    async def list_acl(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(data={"keys": self.core.require_unsealed().policies.names()}))

    def _text(self, given: str) -> tuple[str, str]:
        name = canonical_policy_name(given)
        text = "" if name in UNSTORED_POLICIES else self.core.require_unsealed().policies.text(name)
        if text is None:
            raise NotFound
        return name, text

    async def read(self, request: PolicyName, ctx: Context) -> Plan:
        name, text = self._text(request.name)
        return Plan(Answer(data={"name": name, "rules": text}, repeat_data=True))

    async def read_acl(self, request: PolicyName, ctx: Context) -> Plan:
        name, text = self._text(request.name)
        return Plan(Answer(data={"name": name, "policy": text}))

    async def write(self, request: WritePolicy, ctx: Context) -> Plan:
        name = canonical_policy_name(request.name)
        if name in UNSTORED_POLICIES:
            raise InvalidRequest(f'cannot update "{name}" policy')
        given = request.policy if request.policy is not None else request.rules
        if not given:
            raise InvalidRequest("'policy' parameter not supplied or empty")
        text = _unwrapped(given)
        parse_policy(name, text)
        return Plan(writes=(policy_put(name, text),))

    async def delete(self, request: PolicyName, ctx: Context) -> Plan:
        name = canonical_policy_name(request.name)
        if name in UNSTORED_POLICIES or name == "default":
            raise InvalidRequest(f'cannot delete "{name}" policy')
        return Plan(writes=(Delete(policy_key(name)),))

    # -- capabilities --

    async def of_caller(self, request: CapabilitiesRequest, ctx: Context) -> Plan:
        return self._judged(request, self.core.require_unsealed().acl_of(ctx.caller))

    async def of_token(self, request: CapabilitiesRequest, ctx: Context) -> Plan:
        seen = await self.core.require_unsealed().ledger.tokens.lookup(request.token) if request.token else None
        return self._judged(request, self._acl_of(seen, "invalid token"))

    async def of_accessor(self, request: CapabilitiesRequest, ctx: Context) -> Plan:
        seen = await self.core.require_unsealed().ledger.tokens.lookup_accessor(request.accessor)
        return self._judged(request, self._acl_of(seen, "invalid accessor"))

    def _acl_of(self, seen: SeenToken | None, refusal: str) -> Acl:
        if seen is None:
            raise InvalidRequest(refusal)
        self.core.require_unsealed().ledger.tokens.usable(seen.entry, self.core.sources.now_ms(), "")
        return self.core.require_unsealed().rights(seen.entry)[1]

    def _judged(self, request: CapabilitiesRequest, acl: Acl) -> Plan:
        paths = request.paths or request.path or ()
        if not paths:
            raise InvalidRequest("paths must be supplied")
        if len(paths) > _PATHS_MAX:
            raise InvalidRequest(f"at most {_PATHS_MAX} paths can be judged at once")
        judged: dict[str, object] = {path: acl.capability_names(_as_requested(path)) for path in paths}
        if len(paths) == 1:
            judged["capabilities"] = judged[paths[0]]
        return Plan(Answer(data=judged, repeat_data=True))


def fold_path(path: str) -> str:
    """A path below sys/ with a policy's name in its one spelling; the pipeline does this before policy."""
    for folder in ("policies/acl/", "policy/"):
        if path.startswith(folder):
            try:
                return folder + canonical_policy_name(path.removeprefix(folder))
            except PolicyNameRefused:
                return path  # the handler says what is wrong with it
    return path


def _as_requested(path: str) -> str:
    """The path as policy sees it in a request. Here it comes in JSON, where a percent sign is only that."""
    return canonical_path(quote(path.lstrip("/")))


def _unwrapped(text: str) -> str:
    """A policy may come in base64; a policy's own text never is base64, for it holds quotes or braces."""
    try:
        return b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of policies and capabilities."""
    own = _Policies(core)

    def of(area: str, listing: Operation) -> tuple[Route, ...]:
        is_acl = area != "policy"
        one = f"{area}/:name"
        return (
            Route(
                pattern=one,
                operation=Operation.READ,
                request=PolicyName,
                handler=own.read_acl if is_acl else own.read,
                summary="Read a policy.",
            ),
            Route(
                pattern=one,
                operation=Operation.UPDATE,
                request=WritePolicy,
                handler=own.write,
                summary="Write a policy.",
            ),
            Route(
                pattern=one,
                operation=Operation.DELETE,
                request=PolicyName,
                handler=own.delete,
                summary="Delete a policy.",
            ),
            Route(
                pattern=area,
                operation=listing,
                request=Nothing,
                handler=own.list_acl if is_acl else own.list,
                summary="List the policies.",
            ),
        )

    def judge(area: str, handler: object) -> Route:
        return Route(
            pattern=area,
            operation=Operation.UPDATE,
            request=CapabilitiesRequest,
            handler=handler,  # type: ignore[arg-type]
            summary="What a token may do on paths.",
        )

    return (
        *of("policies/acl", Operation.LIST),
        *of("policy", Operation.READ),
        Route(
            pattern="policy", operation=Operation.LIST, request=Nothing, handler=own.list, summary="List the policies."
        ),
        judge("capabilities", own.of_token),
        judge("capabilities-self", own.of_caller),
        judge("capabilities-accessor", own.of_accessor),
    )
