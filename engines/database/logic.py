"""What the database engine decides without asking anybody: names, lifetimes, moments of rotation."""

from __future__ import annotations

import re
from typing import Final

from engines.common.errors import InvalidRequest
from engines.database.model import Config, Role, StaticRole
from engines.database.schedule import parse_schedule

EXPIRY_GRACE_MS: Final = 5_000  # the database lets a user in a little longer than its lease holds, as documented
PERIOD_S_MIN: Final = 5
WINDOW_S_MIN: Final = 3600
RETRY_MS: Final = 10_000  # before a failed rotation is tried again
_NAME: Final = re.compile(r"\w(?:[\w.@-]*\w)?")
_NAME_CHARS_MAX: Final = 256


def require_name(name: str) -> str:
    """The name, if it may be one. Raises InvalidRequest."""
    if len(name) > _NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise InvalidRequest("a name is made of letters, digits, '_', '-', '.' and '@'")
    return name


def require_allowed(config: Config, role: str) -> None:
    """Raise InvalidRequest unless the connection may be used by this role."""
    for allowed in config.allowed_roles:
        pattern = ".*".join(map(re.escape, allowed.split("*")))
        if re.fullmatch(pattern, role):
            return
    raise InvalidRequest(f'"{role}" is not an allowed role')


def lifetime_s(role: Role, mount_default_s: int, mount_max_s: int) -> int:
    """How long a new user's lease will hold, before the token's own limits."""
    limits = [limit for limit in (role.max_ttl_s, mount_max_s) if limit]
    return min(role.default_ttl_s or mount_default_s, *limits)


def require_lifetimes(role: Role) -> None:
    """Raise InvalidRequest for lifetimes that contradict each other."""
    if role.default_ttl_s < 0 or role.max_ttl_s < 0:
        raise InvalidRequest("default_ttl and max_ttl may not be negative")
    if role.max_ttl_s and role.default_ttl_s > role.max_ttl_s:
        raise InvalidRequest("default_ttl is greater than max_ttl")


def require_rotation(role: StaticRole) -> None:
    """Raise InvalidRequest unless the role is rotated either by a period or by a schedule, within the bounds."""
    if bool(role.period_s) == bool(role.schedule):
        raise InvalidRequest("exactly one of rotation_period and rotation_schedule must be given")
    if role.period_s and role.period_s < PERIOD_S_MIN:
        raise InvalidRequest(f"rotation_period must be {PERIOD_S_MIN} seconds or more")
    if role.window_s and not role.schedule:
        raise InvalidRequest("rotation_window is only for a rotation_schedule")
    if role.window_s and role.window_s < WINDOW_S_MIN:
        raise InvalidRequest(f"rotation_window must be {WINDOW_S_MIN} seconds or more")
    if role.schedule:
        parse_schedule(role.schedule)


def next_rotation_ms(role: StaticRole, after_ms: int) -> int:
    """When the role is next rotated after this moment."""
    if role.period_s:
        return after_ms + role.period_s * 1000
    return parse_schedule(role.schedule).next_after_s(after_ms // 1000) * 1000


def is_in_window(role: StaticRole, now_ms: int) -> bool:
    """Whether a rotation that was due may still begin."""
    if not role.window_s:
        return True
    planned_ms = parse_schedule(role.schedule).last_before_s(now_ms // 1000) * 1000
    return now_ms - planned_ms <= role.window_s * 1000
