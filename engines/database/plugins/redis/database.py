"""Users of a Redis server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final

import orjson

from engines.common.errors import InvalidRequest
from engines.database.connection_url import int_of, text_of
from engines.database.credential import Credential
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.interface import NewUser, Settings
from engines.database.pool import OPERATION_S_MAX, PoolLimits
from engines.database.statements import unwrapped

_READ_ONLY: Final = ("~*", "+@read")  # what a role without creation statements gives, as documented
_RULE_CHARS_MAX: Final = 4096
_Word = str | bytes


def driver() -> Any:
    """The module redis.asyncio, loaded when first needed. Raises InvalidRequest when it is not installed."""
    try:
        import redis.asyncio
    except ImportError:
        raise InvalidRequest("the driver for Redis is not installed: add the package redis") from None
    return redis


def open_redis(settings: Settings) -> RedisDatabase:
    """Raises InvalidRequest for settings that cannot be."""
    redis, port = driver(), int_of(settings, "port")
    if not 0 < port < 65536:
        raise InvalidRequest("port must be a number from 1 to 65535")
    arguments: dict[str, Any] = {
        "host": text_of(settings, "host"),
        "port": port,
        "username": text_of(settings, "username"),
        "password": text_of(settings, "password"),
        "socket_connect_timeout": OPERATION_S_MAX,
        "client_name": "strongroom",
        "retry": None,
        "protocol": 2,
    }
    if settings.get("tls") in (True, "true"):
        arguments |= {"connection_class": redis.asyncio.SSLConnection, **_tls(settings)}
    limits = PoolLimits.of(int_of(settings, "max_open_connections"), 0, 0)
    pool = redis.asyncio.BlockingConnectionPool(max_connections=limits.open_max, timeout=OPERATION_S_MAX, **arguments)
    return RedisDatabase(redis.asyncio.Redis(connection_pool=pool), text_of(settings, "password"))


def _tls(settings: Settings) -> dict[str, Any]:
    authorities = text_of(settings, "ca_cert")
    if settings.get("insecure_tls") in (True, "true"):
        return {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    try:
        ssl.create_default_context(cadata=authorities or None)
    except (ssl.SSLError, ValueError):
        raise InvalidRequest("ca_cert is not what it should be: PEM") from None
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_data": authorities or None}


class RedisDatabase:
    """Makes and drops users; each is one command, so wholly or not at all. Redis knows no end of a user."""

    def __init__(self, client: Any, secret: str) -> None:
        self._client = client
        self._secret = secret

    async def verify(self) -> None:
        """Log in and ask something harmless."""
        await self._run("PING")

    async def create_user(self, user: NewUser) -> None:
        """Make the user with the rules of the role."""
        password, rules = user.credential.secret, _rules(user.creation)
        await self._run("ACL", "SETUSER", user.username, "reset", "on", f">{password}", *rules, secret=password)

    async def renew_user(self, username: str, expire_at_ms: int, statements: tuple[str, ...]) -> None:
        """Nothing: its lease alone ends a user."""

    async def drop_user(self, username: str, statements: tuple[str, ...]) -> None:
        """Drop the user; the server ends its sessions."""
        await self._run("ACL", "DELUSER", username)

    async def set_credential(self, username: str, credential: Credential, statements: tuple[str, ...]) -> None:
        """Give the user another password, and no other."""
        # Setting something of a user that is not there would make one.
        if await self._run("ACL", "GETUSER", username) is None:
            raise DatabaseRefused(f"there is no user {username!r} in Redis")
        secret = credential.secret
        await self._run("ACL", "SETUSER", username, "resetpass", f">{secret}", secret=secret)

    async def close(self) -> None:
        """Close the connections."""
        errors = driver().exceptions
        try:
            async with asyncio.timeout(1.0):
                await self._client.aclose()
                await self._client.connection_pool.disconnect()
        except (errors.RedisError, OSError, TimeoutError):
            return

    async def _run(self, *words: _Word, secret: str = "") -> Any:
        errors = driver().exceptions
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                return await self._client.execute_command(*words)
        except errors.ResponseError as error:
            raise DatabaseRefused(_without(str(error), secret, self._secret)) from None
        except TimeoutError:
            raise DatabaseUnreachable(f"the database did not answer within {OPERATION_S_MAX:.0f} s") from None
        except (errors.RedisError, OSError, ValueError) as error:
            raise DatabaseUnreachable(f"cannot reach Redis: {_without(str(error), secret, self._secret)}") from None


def _rules(statements: Sequence[str]) -> tuple[str, ...]:
    """The rules of a role: JSON lists of them. Raises InvalidRequest."""
    found: list[str] = []
    for text in statements:
        try:
            rules = orjson.loads(text)
        except ValueError:
            rules = None
        if rules is None:
            found += unwrapped((text,))  # in base64, or a rule by itself
        elif isinstance(rules, list) and all(isinstance(rule, str) for rule in rules):
            found += rules
        else:
            raise InvalidRequest("creation_statements of Redis must be a JSON list of ACL rules")
    if any(not rule or len(rule) > _RULE_CHARS_MAX or "\0" in rule for rule in found):
        raise InvalidRequest("creation_statements of Redis hold something that is no ACL rule")
    return tuple(found) or _READ_ONLY


def _without(text: str, *secrets: str) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.split())
