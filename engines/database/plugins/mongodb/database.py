"""Users of a MongoDB server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from engines.common.errors import InvalidRequest
from engines.database.connection_url import filled, int_of, text_of
from engines.database.credential import Credential
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.interface import NewUser, Settings
from engines.database.pem_file import PemFile
from engines.database.plugins.mongodb.statements import creation_of, revocation_db, write_concern_of
from engines.database.pool import OPERATION_S_MAX, PoolLimits

_ADMIN: Final = "admin"
# Those that send the credentials of the configuration. The others would send those of this machine, such as its cloud
# identity or its Kubernetes token, to whatever host a configuration names.
_MECHANISMS: Final = frozenset({"DEFAULT", "SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN", "MONGODB-X509"})
_MECHANISM: Final = re.compile(r"authmechanism=([^&;]*)", re.I)
_UNAUTHORIZED: Final = 13
_USER_NOT_FOUND: Final = 11


def driver() -> Any:
    """The module pymongo, loaded when first needed. Raises InvalidRequest when it is not installed."""
    try:
        import pymongo
        import pymongo.errors
    except ImportError:
        raise InvalidRequest("the driver for MongoDB is not installed: add the package pymongo") from None
    return pymongo


def open_mongodb(settings: Settings) -> MongodbDatabase:
    """Raises InvalidRequest for settings that cannot be."""
    pymongo, url = driver(), filled(settings)
    parameters = {name.lower(): value for name, value in parse_qsl(url.partition("?")[2])}
    if any(parameters.get(name, "true") not in ("true", "false") for name in ("tls", "ssl")):
        raise InvalidRequest("tls must be true or false")  # the driver takes anything else for false
    if not set(_MECHANISM.findall(unquote(url.partition("?")[2]))) <= _MECHANISMS:
        raise InvalidRequest(f"authMechanism must be one of {', '.join(sorted(_MECHANISMS))}")
    files = {
        name: PemFile(text)
        for setting, name in (("tls_ca", "tlsCAFile"), ("tls_certificate_key", "tlsCertificateKeyFile"))
        if (text := text_of(settings, setting))
    }
    options: dict[str, Any] = {name: file.path for name, file in files.items()}
    if files:
        options["tls"] = True
    limits = PoolLimits.of(int_of(settings, "max_open_connections"), 0, 0)
    milliseconds = int(OPERATION_S_MAX * 1000)
    try:
        client = pymongo.AsyncMongoClient(
            url,
            **options,
            appname="strongroom",
            connect=False,
            maxPoolSize=limits.open_max,
            serverSelectionTimeoutMS=milliseconds,
            timeoutMS=milliseconds,
            retryWrites=False,
        )
        home = parameters.get("authsource") or client.get_default_database(_ADMIN).name
    except (pymongo.errors.PyMongoError, OSError, ValueError, TypeError):
        # The driver's text may quote the URL, with the password in it.
        for file in files.values():
            file.close()
        raise InvalidRequest("connection_url or the certificates are not what MongoDB takes") from None
    concern = write_concern_of(text_of(settings, "write_concern"))
    return MongodbDatabase(client, home, concern, tuple(files.values()), text_of(settings, "password"))


class MongodbDatabase:
    """Makes and drops users; each is one command, so wholly or not at all. MongoDB knows no end of a user.

    `home` is the database in which users are that log in as the configured one does.
    """

    def __init__(
        self, client: Any, home: str, concern: Mapping[str, Any], files: tuple[PemFile, ...], secret: str
    ) -> None:
        self._client = client
        self._home = home
        self._concern = {"writeConcern": dict(concern)} if concern else {}
        self._files = files
        self._secret = secret

    async def verify(self) -> None:
        """Log in and ask something harmless."""
        await self._run(_ADMIN, {"ping": 1})

    async def create_user(self, user: NewUser) -> None:
        """Make the user with the roles of the statements."""
        creation, password = creation_of(user.creation), user.credential.secret
        command = {"createUser": user.username, "pwd": password, "roles": list(creation.roles), **self._concern}
        await self._run(creation.db, command, password)

    async def renew_user(self, username: str, expire_at_ms: int, statements: tuple[str, ...]) -> None:
        """Nothing: its lease alone ends a user."""

    async def drop_user(self, username: str, statements: tuple[str, ...]) -> None:
        """Drop the user from the database of the statements, or from each that has it; its sessions lose their rights.

        Without statements a user would else have to be in `admin`, and any other would stay.
        """
        db = revocation_db(statements)
        for one in [db] if db else await self._homes_of(username):
            try:
                await self._run(one, {"dropUser": username, **self._concern})
            except MongodbRefused as error:
                if error.code != _USER_NOT_FOUND:
                    raise

    async def _homes_of(self, username: str) -> list[str]:
        try:
            found = await self._run(_ADMIN, {"usersInfo": {"forAllDBs": True}, "filter": {"user": username}})
        except MongodbRefused as error:
            if error.code != _UNAUTHORIZED:
                raise
            return [_ADMIN]
        return [str(user["db"]) for user in found["users"]]

    async def set_credential(self, username: str, credential: Credential, statements: tuple[str, ...]) -> None:
        """Give the user another password. The statements may name its database."""
        command = {"updateUser": username, "pwd": credential.secret, **self._concern}
        await self._run(revocation_db(statements) or self._home, command, credential.secret)

    async def close(self) -> None:
        """Close the connections."""
        try:
            async with asyncio.timeout(1.0):
                await self._client.close()
        except (driver().errors.PyMongoError, OSError, TimeoutError):
            pass  # the server has gone first
        for file in self._files:
            file.close()

    async def _run(self, db: str, command: Mapping[str, Any], secret: str = "") -> Any:
        """Raises MongodbRefused and DatabaseUnreachable."""
        errors = driver().errors
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                return await self._client[db].command(dict(command))
        except errors.WTimeoutError:
            raise DatabaseUnreachable("the members did not acknowledge the write in time") from None
        except errors.OperationFailure as error:
            said = (error.details or {}).get("errmsg") or type(error).__name__
            raise MongodbRefused(_without(str(said), secret, self._secret), error.code or 0) from None
        except (TimeoutError, errors.ServerSelectionTimeoutError) as error:
            said = _without(str(error).split(", Timeout:")[0], secret, self._secret)
            text = f"the database did not answer within {OPERATION_S_MAX:.0f} s"
            raise DatabaseUnreachable(f"{text}: {said}" if said else text) from None
        except (errors.PyMongoError, OSError, ValueError) as error:
            said = _without(str(error), secret, self._secret)
            raise DatabaseUnreachable(f"the connection to the database was lost: {said}") from None


class MongodbRefused(DatabaseRefused):
    """A refusal with MongoDB's number for it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


def _without(text: str, *secrets: str) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.split())
