"""sys/policies/password: how passwords for other systems are made (API documentation of the same name)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan, Put
from node.password_policies import FORMAT, PREFIX, stored_text
from node.policy.password import generate, parse_password_policy

_NAME: Final = re.compile(r"\w(?:[\w.-]{0,126}\w)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyName:
    """A password policy by its name."""

    name: str = path_param("The policy's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """A password policy's new text."""

    name: str = path_param("The policy's name.")
    policy: str = body_param(Kind.STRING, "The policy, as HCL or JSON, or either in base64.", required=True)


async def _list(request: Nothing, ctx: Context) -> Plan:
    names = await ctx.view.list(PREFIX)
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


async def password_policy_text(name: str, ctx: Context) -> str:
    """The stored text. Raises NotFound."""
    seen = await ctx.view.get(PREFIX + _checked(name))
    if seen is None:
        raise NotFound
    return stored_text(seen.value)


async def _read(request: PolicyName, ctx: Context) -> Plan:
    return Plan(Answer(data={"policy": await password_policy_text(request.name, ctx)}))


async def _write(request: WritePolicy, ctx: Context) -> Plan:
    name = _checked(request.name)
    if not request.policy.strip():
        raise InvalidRequest("missing policy")
    text = _unwrapped(request.policy)
    # As documented, one password is made before the policy is kept: rules that nothing meets are found out here.
    generate(parse_password_policy(text), ctx.sources.random)
    return Plan(writes=(Put(PREFIX + name, FORMAT + text.encode()),))


async def _delete(request: PolicyName, ctx: Context) -> Plan:
    return Plan(writes=(Delete(PREFIX + _checked(request.name)),))


async def _generate(request: PolicyName, ctx: Context) -> Plan:
    policy = parse_password_policy(await password_policy_text(request.name, ctx))
    return Plan(Answer(data={"password": generate(policy, ctx.sources.random)}))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest("invalid password policy name: use letters, digits, hyphens, underscores and periods")
    return name


def _unwrapped(text: str) -> str:
    """The text itself, which is never base64, for it holds quotes; or what was wrapped in it."""
    try:
        return b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def routes() -> tuple[Route, ...]:
    """The routes of password policies."""
    one = "policies/password/:name"
    return (
        Route(
            pattern="policies/password",
            operation=Operation.LIST,
            request=Nothing,
            handler=_list,
            summary="List the password policies.",
        ),
        Route(pattern=one, operation=Operation.READ, request=PolicyName, handler=_read, summary="Read one."),
        Route(pattern=one, operation=Operation.UPDATE, request=WritePolicy, handler=_write, summary="Write one."),
        Route(pattern=one, operation=Operation.DELETE, request=PolicyName, handler=_delete, summary="Delete one."),
        Route(
            pattern=f"{one}/generate",
            operation=Operation.READ,
            request=PolicyName,
            handler=_generate,
            summary="Make a password by a policy.",
        ),
    )
