"""Stored password policies, by which engines make passwords for other systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engines.common.errors import InvalidRequest
from node.policy.password import DEFAULT_PASSWORD_POLICY, generate, parse_password_policy
from node.view import OpenedStore

PREFIX: Final = "sys/password-policy/"
FORMAT: Final = b"\x01"


def stored_text(record: bytes) -> str:
    """The text of a stored policy. Raises ValueError for another format."""
    if record[:1] != FORMAT:
        raise ValueError("unknown format of a password policy; was it written by a newer version?")
    return record[1:].decode()


def new_password(opened: OpenedStore, name: str, random: Callable[[int], bytes]) -> str:
    """A password by the policy of this name, by the default one for "". Raises InvalidRequest, PasswordPolicyError."""
    if not name:
        return generate(DEFAULT_PASSWORD_POLICY, random)
    seen = opened.get(PREFIX + name)
    if seen is None:
        raise InvalidRequest(f"password policy {name!r} does not exist")
    return generate(parse_password_policy(stored_text(seen.value)), random)
