"""sys/tools and other small reads (API documentation of the same names)."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan

RANDOM_BYTES_MAX: Final = 131_072  # 128 KiB: enough for any key, too little to be a load

_ALGORITHMS: Final[Mapping[str, str]] = {
    "sha2-224": "sha224",
    "sha2-256": "sha256",
    "sha2-384": "sha384",
    "sha2-512": "sha512",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """How many bytes, and how to write them."""

    size: str = path_param("How many bytes, when given in the path.")
    source: str = path_param("Accepted for compatibility: every source is the system's.")
    bytes: int | None = body_param(Kind.INT, "How many bytes.")
    format: str = body_param(Kind.STRING, "base64 or hex.", default="base64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """What to hash, and how."""

    name: str = path_param("The algorithm, when given in the path.")
    algorithm: str = body_param(Kind.STRING, "The algorithm.", default="")
    input: str = body_param(Kind.STRING, "What to hash, base64.", required=True, secret=True)
    format: str = body_param(Kind.STRING, "base64 or hex.", default="hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsystem:
    """What to reload."""

    subsystem: str = path_param("license.")


def _written(raw: bytes, form: str) -> str:
    if form == "base64":
        return b64encode(raw).decode()
    if form == "hex":
        return raw.hex()
    raise InvalidRequest('unsupported encoding format; must be "hex" or "base64"')


async def _random(request: Random, ctx: Context) -> Plan:
    size = 32 if request.bytes is None else request.bytes
    if request.size:
        if not request.size.isdecimal():
            raise InvalidRequest("field validation failed: bytes must be a number")
        size = int(request.size[:9])
    if not 1 <= size <= RANDOM_BYTES_MAX:
        raise InvalidRequest(f'"bytes" should be between 1 and {RANDOM_BYTES_MAX}')
    return Plan(Answer(data={"random_bytes": _written(ctx.sources.random(size), request.format)}))


async def _reload(request: Subsystem, ctx: Context) -> Plan:
    if request.subsystem != "license":
        raise InvalidRequest("only the license subsystem can be reloaded; SIGHUP reloads what the configuration says")
    return Plan()  # there is no license here


async def _hash(request: Hash, ctx: Context) -> Plan:
    algorithm = _ALGORITHMS.get(request.name or request.algorithm or "sha2-256")
    if algorithm is None:
        raise InvalidRequest("unsupported algorithm")
    try:
        raw = b64decode(request.input, validate=True)
    except ValueError:
        raise InvalidRequest("unable to decode input as base64") from None
    return Plan(Answer(data={"sum": _written(hashlib.new(algorithm, raw).digest(), request.format)}))


async def _experiments(request: Nothing, ctx: Context) -> Plan:
    return Plan(Answer(data={"available": [], "enabled": []}))  # those of the configuration are accepted only


def routes() -> tuple[Route, ...]:
    """The routes of tools, and of what is there for compatibility."""
    return (
        *(
            Route(pattern=pattern, operation=Operation.UPDATE, request=Random, handler=_random, summary="Random bytes.")
            for pattern in ("tools/random", "tools/random/:size", "tools/random/:source/:size")
        ),
        *(
            Route(pattern=pattern, operation=Operation.UPDATE, request=Hash, handler=_hash, summary="Hash a value.")
            for pattern in ("tools/hash", "tools/hash/:name")
        ),
        Route(
            pattern="config/reload/:subsystem",
            operation=Operation.UPDATE,
            request=Subsystem,
            handler=_reload,
            summary="Accepted for compatibility: license is the only subsystem.",
        ),
        Route(
            pattern="experiments",
            operation=Operation.READ,
            request=Nothing,
            handler=_experiments,
            unauthenticated=True,
            summary="The experiments of this node: none.",
        ),
    )
