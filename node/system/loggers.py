"""sys/loggers: the level of each part's log lines on the active node (API documentation of the same name)."""

import logging
from dataclasses import dataclass

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.logs import LEVELS, LOGGING, PARTS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAll:
    """The level of all parts."""

    level: str = body_param(Kind.STRING, "trace, debug, info, warn or error.", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part."""

    name: str = path_param("The part, such as core, audit or expiration.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPart:
    """The level of one part."""

    name: str = path_param("The part, such as core, audit or expiration.")
    level: str = body_param(Kind.STRING, "trace, debug, info, warn or error.", required=True)


def _level(given: str) -> str:
    if given.lower() not in LEVELS:
        raise InvalidRequest(f"invalid level provided: {given[:20]!r}")
    return given.lower()


def _part(name: str) -> str:
    if name not in PARTS:
        raise NotFound
    return name


async def _read_all(request: Nothing, ctx: Context) -> Plan:
    return Plan(Answer(data={part: LOGGING.levels.of(part) for part in PARTS}))


async def _set_all(request: SetAll, ctx: Context) -> Plan:
    level = _level(request.level)
    LOGGING.levels.change(dict.fromkeys(PARTS, level))
    LOGGING.apply()
    logger.info("the level of all loggers is %s", level)
    return Plan()


async def _revert_all(request: Nothing, ctx: Context) -> Plan:
    LOGGING.levels.revert()
    LOGGING.apply()
    return Plan()


async def _read(request: Part, ctx: Context) -> Plan:
    part = _part(request.name)
    return Plan(Answer(data={part: LOGGING.levels.of(part)}))


async def _set(request: SetPart, ctx: Context) -> Plan:
    part, level = _part(request.name), _level(request.level)
    LOGGING.levels.change({part: level})
    LOGGING.apply()
    logger.info("the level of the logger %s is %s", part, level)
    return Plan()


async def _revert(request: Part, ctx: Context) -> Plan:
    LOGGING.levels.revert(_part(request.name))
    LOGGING.apply()
    return Plan()


def routes() -> tuple[Route, ...]:
    """The routes of log levels."""
    of_all, of_one = "loggers", "loggers/:name"
    read, update, delete = Operation.READ, Operation.UPDATE, Operation.DELETE
    return (
        Route(pattern=of_all, operation=read, request=Nothing, handler=_read_all, summary="The levels of all loggers."),
        Route(pattern=of_all, operation=update, request=SetAll, handler=_set_all, summary="Set the level of all."),
        Route(pattern=of_all, operation=delete, request=Nothing, handler=_revert_all, summary="Revert all levels."),
        Route(pattern=of_one, operation=read, request=Part, handler=_read, summary="The level of one logger."),
        Route(pattern=of_one, operation=update, request=SetPart, handler=_set, summary="Set the level of one."),
        Route(pattern=of_one, operation=delete, request=Part, handler=_revert, summary="Revert the level of one."),
    )
