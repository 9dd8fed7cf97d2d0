"""A stand-in for MongoDB, as no package of Debian or of a Python index brings a server.

It speaks the wire protocol (OP_MSG and SCRAM-SHA-256) for the commands that the plugin uses and a login needs, with the
numbers of MongoDB's own errors. What it cannot show is whether a real server does the same with them.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bson

ADMIN, PASSWORD = "admin", "admin123"
CREATION = '{"db": "admin", "roles": [{"role": "readWrite", "db": "shop"}, {"role": "read"}]}'
_ROUNDS = 4096
_OP_MSG = 2013
_FREE = {"hello", "ismaster", "isMaster", "saslStart", "saslContinue", "ping", "endSessions"}


class Refusal(Exception):
    """An error that a command is answered with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Conversation:
    """One connection: who it is, and how far its login is."""

    user: tuple[str, str] | None = None
    login: tuple[str, str] | None = None
    first: str = ""
    nonce: str = ""


@dataclass
class MongodbStandIn:
    """`users` by database and name: the password and the roles. `commands` are those it was sent, without passwords."""

    port: int = 0
    accounts: dict[tuple[str, str], tuple[str, list[Any]]] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)
    is_hanging: bool = False

    @property
    def template(self) -> str:
        """The connection_url of a configuration."""
        return f"mongodb://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{self.port}/admin?directConnection=true"

    def users(self) -> set[str]:
        """Every user but for the administrator."""
        return {name for _, name in self.accounts} - {ADMIN}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        conversation = Conversation()
        try:
            while True:
                head = await reader.readexactly(16)
                size, request_id, _, opcode = struct.unpack("<iiii", head)
                body = await reader.readexactly(size - 16)
                assert opcode == _OP_MSG, opcode
                command = bson.decode(body[5 : 5 + struct.unpack("<i", body[5:9])[0]])
                while self.is_hanging:
                    await asyncio.sleep(0.05)
                answer = b"\0\0\0\0\0" + bson.encode(self.answer(command, conversation))
                writer.write(struct.pack("<iiii", 16 + len(answer), 0, request_id, _OP_MSG) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, command: dict[str, Any], who: Conversation) -> dict[str, Any]:
        """What a server says to the command."""
        name, db = next(iter(command)), command["$db"]
        hidden = {"lsid", "$db", "$readPreference", "payload", "pwd", "speculativeAuthenticate"}
        self.commands.append({key: value for key, value in command.items() if key not in hidden} | {"db": db})
        try:
            if name not in _FREE and who.user != (ADMIN, ADMIN):
                raise Refusal(13, f"command {name} requires authentication")
            return {**self._do(name, db, command, who), "ok": 1.0}
        except Refusal as error:
            return {"ok": 0.0, "errmsg": str(error), "code": error.code}

    def _do(self, name: str, db: str, command: dict[str, Any], who: Conversation) -> dict[str, Any]:
        if name in ("hello", "ismaster", "isMaster"):
            sizes = {"maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 48 << 20, "maxWriteBatchSize": 1000}
            versions = {"isWritablePrimary": True, "helloOk": True, "minWireVersion": 8, "maxWireVersion": 21}
            return {**versions, **sizes, "saslSupportedMechs": ["SCRAM-SHA-256"]}
        if name == "saslStart":
            return self._sasl_first(db, bytes(command["payload"]).decode(), who)
        if name == "saslContinue":
            return self._sasl_final(bytes(command["payload"]).decode(), who)
        if name in ("ping", "endSessions"):
            return {}
        if name == "usersInfo":
            wanted = command["filter"]["user"]
            return {"users": [{"user": user, "db": home} for home, user in self.accounts if user == wanted]}
        return self._change(name, (db, command[name]), command)

    def _change(self, name: str, key: tuple[str, str], command: dict[str, Any]) -> dict[str, Any]:
        if name == "createUser":
            if key in self.accounts:
                raise Refusal(51003, f'User "{key[1]}@{key[0]}" already exists')
            for role in command["roles"]:
                if role == "nonsense" or (isinstance(role, dict) and role["role"] == "nonsense"):
                    raise Refusal(31, "Could not find role: nonsense@admin")
            self.accounts[key] = (command["pwd"], command["roles"])
            return {}
        if key not in self.accounts:
            raise Refusal(11, f"User '{key[1]}@{key[0]}' not found")
        if name == "updateUser":
            self.accounts[key] = (command["pwd"], self.accounts[key][1])
        elif name == "dropUser":
            del self.accounts[key]
        else:
            raise Refusal(59, f"no such command: '{name}'")
        return {}

    def _sasl_first(self, db: str, said: str, who: Conversation) -> dict[str, Any]:
        who.first = said.removeprefix("n,,")
        fields = dict(part.split("=", 1) for part in who.first.split(","))
        who.login = (db, fields["n"].replace("=2C", ",").replace("=3D", "="))
        who.nonce = fields["r"] + base64.b64encode(os.urandom(18)).decode()
        answer = f"r={who.nonce},s={base64.b64encode(_salt(who.login)).decode()},i={_ROUNDS}"
        who.first += "," + answer
        return {"conversationId": 1, "done": False, "payload": answer.encode()}

    def _sasl_final(self, said: str, who: Conversation) -> dict[str, Any]:
        without, _, proof = said.rpartition(",p=")
        assert who.login is not None
        password = self.accounts.get(who.login, ("", []))[0]
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), _salt(who.login), _ROUNDS)
        key = hmac.digest(salted, b"Client Key", "sha256")
        said_all = f"{who.first},{without}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), said_all, "sha256")
        expected = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        if who.login not in self.accounts or base64.b64decode(proof) != expected:
            raise Refusal(18, "Authentication failed.")
        who.user = who.login
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said_all, "sha256")
        return {"conversationId": 1, "done": True, "payload": b"v=" + base64.b64encode(server)}


def _salt(login: tuple[str, str]) -> bytes:
    return hashlib.sha256(repr(login).encode()).digest()[:28]


@contextmanager
def mongodb() -> Iterator[MongodbStandIn]:
    """A running stand-in with the user `admin`."""
    made = MongodbStandIn(accounts={(ADMIN, ADMIN): (PASSWORD, ["root"])})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(made.serve, "127.0.0.1", 0)

    async def stop() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
