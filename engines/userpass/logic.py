"""The rules of names and passwords.

bcrypt takes 50 ms and more on purpose, so it runs on threads of its own, fewer than there are cores: a storm of logins
waits in their queue, and the event loop (with it the cluster's heartbeats) goes on.
"""

from __future__ import annotations

import asyncio
import os
import re
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import bcrypt

from engines.common.context import Sources
from engines.common.errors import InvalidRequest, UnsupportedPath

T = TypeVar("T")

COST: Final = 10  # log2 of bcrypt's rounds: the documented server's own
COST_MAX: Final = 14  # of a hash that is handed in: about a second, which each login attempt then costs this node
PASSWORD_BYTES_MAX: Final = 72  # bcrypt reads no further: two longer passwords with the same beginning would be one
SALT_BYTES: Final = 16

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.@+-]*[A-Za-z0-9_-])?")
_HASH: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_STANDARD: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_TO_BCRYPT: Final = str.maketrans(_STANDARD, _BCRYPT)

# What an unknown user's password is compared with: the same work as for a known one, and never equal, because no
# password of any length hashes to it in the time that there is (CVE-2025-6011).
DUMMY_HASH: Final = f"$2b${COST:02}$" + "." * 53

_THREADS: Final = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="bcrypt")


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def fold_name(name: str) -> str:
    """The one spelling of a user's name: users, logins and lockout all know it by this (CVE-2025-6004)."""
    return name.strip().lower()


def fold_path(path: str) -> str:
    """A path below the mount with the user's name in its one spelling; the pipeline does this before policy."""
    first, slash, rest = path.partition("/")
    if first not in ("users", "login") or not slash:
        return path
    name, slash, field = rest.partition("/")
    return f"{first}/{fold_name(name)}{slash}{field}"


def require_name(name: str) -> str:
    """The folded name. Raises UnsupportedPath for what can be no user's name."""
    folded = fold_name(name)
    if not _NAME.fullmatch(name.strip()):
        raise UnsupportedPath
    return folded


def new_salt(sources: Sources) -> bytes:
    """A salt in bcrypt's spelling, with the cost in front."""
    text = b64encode(sources.random(SALT_BYTES)).decode().rstrip("=").translate(_TO_BCRYPT)
    return f"$2b${COST:02}${text}".encode()


async def hash_password(password: str, sources: Sources) -> str:
    """The bcrypt hash of a new password. Raises InvalidRequest for one that bcrypt would cut."""
    octets = _octets(password)
    if len(octets) > PASSWORD_BYTES_MAX:
        raise InvalidRequest("password length exceeds 72 bytes")
    salt = new_salt(sources)
    return (await _in_thread(lambda: bcrypt.hashpw(octets, salt))).decode()


async def checked_hash(password_hash: str) -> str:
    """A bcrypt hash that was made elsewhere. Raises InvalidRequest if no login could use it."""
    found = _HASH.fullmatch(password_hash)
    if found is None or not 4 <= int(found[1]) <= COST_MAX:
        raise InvalidRequest(f"password_hash must be a bcrypt hash with a cost from 4 to {COST_MAX}")
    try:
        await _in_thread(lambda: bcrypt.checkpw(b"", password_hash.encode()))
    except ValueError:
        raise InvalidRequest("password_hash is not a valid bcrypt hash") from None
    return password_hash


async def is_password(password: str, password_hash: str) -> bool:
    """Whether the password belongs to the hash; a password that is too long costs the same and never does."""
    octets = _octets(password)
    cut = octets[:PASSWORD_BYTES_MAX]
    matches = await _in_thread(lambda: bcrypt.checkpw(cut, password_hash.encode()))
    return matches and len(octets) <= PASSWORD_BYTES_MAX


def _octets(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
