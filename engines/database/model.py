"""Requests and stored records of the database engine. Times are Unix milliseconds, durations seconds, 0 means unset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.common.fields import Kind, body_param, path_param, whole_body

_STATEMENTS = " A list, a text with statements divided by semicolons, a JSON list, or one of the last two in base64."


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A LIST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A connection, role or static role by its name."""

    name: str = path_param("Its name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPlugin:
    """POST reload/:plugin_name."""

    plugin_name: str = path_param("Name of the plugin whose connections to open anew.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigWrite:
    """POST config/:name: what is left out stays."""

    name: str = path_param("Name of the connection.")
    plugin_name: str | None = body_param(Kind.STRING, "The kind of database, such as postgresql-database-plugin.")
    plugin_version: str | None = body_param(Kind.STRING, "Accepted for compatibility.")
    verify_connection: bool = body_param(Kind.BOOL, "If false, the connection is stored unchecked.", default=True)
    allowed_roles: tuple[str, ...] | None = body_param(
        Kind.STRINGS, "Roles that may use the connection, with * for any rest of a name. Empty: none."
    )
    root_rotation_statements: object = body_param(Kind.ANY, "How rotate-root sets the password." + _STATEMENTS)
    password_policy: str | None = body_param(Kind.STRING, "Password policy by which passwords are made.")
    connection_url: str | None = body_param(Kind.STRING, "URL with {{username}} and {{password}} in their places.")
    username: str | None = body_param(Kind.STRING, "The user that makes and drops users.")
    password: str | None = body_param(Kind.STRING, "Its password; never shown.", secret=True)
    username_template: str | None = body_param(Kind.STRING, "Template of the names of new users.")
    disable_escaping: bool | None = body_param(Kind.BOOL, "Put username and password into the URL as they are.")
    max_open_connections: int | None = body_param(Kind.INT, "Most connections at a time; 0 is 4.")
    max_idle_connections: int | None = body_param(Kind.INT, "Most idle connections; 0 is all, negative is none.")
    max_connection_lifetime: int | None = body_param(Kind.DURATION, "Age at which a connection is closed; 0 is any.")
    password_authentication: str | None = body_param(
        Kind.STRING, "PostgreSQL: password, or scram-sha-256 to send the server a verifier instead of the password."
    )
    tls_ca: str | None = body_param(Kind.STRING, "Certificates (PEM) that the server's must come from.")
    tls_certificate: str | None = body_param(Kind.STRING, "PostgreSQL: the client's certificate (PEM).")
    private_key: str | None = body_param(Kind.STRING, "PostgreSQL: the client's private key (PEM).", secret=True)
    tls_certificate_key: str | None = body_param(
        Kind.STRING, "MySQL, MongoDB: the client's certificate and private key (PEM).", secret=True
    )
    tls_skip_verify: bool | None = body_param(Kind.BOOL, "MySQL: trust any certificate. For tests only.")
    host: str | None = body_param(Kind.STRING, "Redis: the host.")
    port: int | None = body_param(Kind.INT, "Redis: the port.")
    tls: bool | None = body_param(Kind.BOOL, "Redis: speak TLS.")
    insecure_tls: bool | None = body_param(Kind.BOOL, "Redis: trust any certificate. For tests only.")
    ca_cert: str | None = body_param(Kind.STRING, "Redis: certificates (PEM) that the server's must come from.")
    write_concern: str | None = body_param(Kind.STRING, "MongoDB: a JSON object with w or wmode, wtimeout and j.")
    # Decoding takes null for absent and drops nothing: a plugin picks its own settings.
    body: Mapping[str, object] = whole_body("Settings of the plugin.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleWrite:
    """POST roles/:name: what is left out stays."""

    name: str = path_param("Name of the role.")
    db_name: str | None = body_param(Kind.STRING, "Name of the connection.")
    creation_statements: object = body_param(Kind.ANY, "How a user is made." + _STATEMENTS)
    revocation_statements: object = body_param(Kind.ANY, "How a user is dropped." + _STATEMENTS)
    rollback_statements: object = body_param(Kind.ANY, "What to do when making a user failed half-way." + _STATEMENTS)
    renew_statements: object = body_param(Kind.ANY, "How a user is let in for longer." + _STATEMENTS)
    default_ttl: int | None = body_param(Kind.DURATION, "Lifetime of a user; 0 takes the mount's.")
    max_ttl: int | None = body_param(Kind.DURATION, "Longest lifetime with renewals; 0 takes the mount's.")
    credential_type: str | None = body_param(Kind.STRING, "password, or rsa_private_key.")
    credential_config: Mapping[str, str] | None = body_param(
        Kind.STRING_MAP, "password_policy of this role; of a key key_bits (2048, 3072, 4096) and format (pkcs8)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoleWrite:
    """POST static-roles/:name: what is left out stays."""

    name: str = path_param("Name of the static role.")
    username: str | None = body_param(Kind.STRING, "The user in the database; cannot be changed.")
    db_name: str | None = body_param(Kind.STRING, "Name of the connection.")
    rotation_period: int | None = body_param(Kind.DURATION, "Time between rotations, at least 5 s.")
    rotation_schedule: str | None = body_param(Kind.STRING, "Times of rotation, as cron writes them, in UTC.")
    rotation_window: int | None = body_param(
        Kind.DURATION, "How long after its scheduled time a rotation may begin, at least 1 h; 0 is any time."
    )
    rotation_statements: object = body_param(Kind.ANY, "How the password is set." + _STATEMENTS)
    credential_type: str | None = body_param(Kind.STRING, "password, or rsa_private_key.")
    credential_config: Mapping[str, str] | None = body_param(
        Kind.STRING_MAP, "password_policy of this role; of a key key_bits (2048, 3072, 4096) and format (pkcs8)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A connection. `settings` holds the plugin's own, the password among them."""

    plugin_name: str
    plugin_version: str = ""
    allowed_roles: tuple[str, ...] = ()
    root_rotation: tuple[str, ...] = ()
    password_policy: str = ""
    settings: Mapping[str, str | int | bool] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What users are made like. Statements as they were given."""

    db_name: str
    creation: tuple[str, ...] = ()
    revocation: tuple[str, ...] = ()
    rollback: tuple[str, ...] = ()
    renewal: tuple[str, ...] = ()
    default_ttl_s: int = 0
    max_ttl_s: int = 0
    credential_type: str = "password"
    credential_config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRole:
    """A user of the database whose password is rotated, by period or schedule. `due_at_ms`: when it is next.

    `password` is the private key, of a role of that type, and `public_key` its other half.
    """

    db_name: str
    username: str
    password: str = field(default="", repr=False)
    public_key: str = ""
    period_s: int = 0
    schedule: str = ""
    window_s: int = 0
    rotation: tuple[str, ...] = ()
    credential_type: str = "password"
    credential_config: Mapping[str, str] = field(default_factory=dict)
    rotated_at_ms: int = 0
    due_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A user that is being made, committed before the database is asked; deleted by the entry that holds its lease.

    `owner` is the stay of the mount (Held.owner) that acts. `is_condemned`: there will be no lease, the user is to be
    dropped. `next_at_ms`: not before then. `settled_at_ms`: from then on nobody acts on it any more, so that once the
    user is dropped the intent may go.
    """

    owner: str
    begun_at_ms: int
    db_name: str
    username: str
    revocation: tuple[str, ...] = ()
    is_condemned: bool = False
    next_at_ms: int = 0
    settled_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A password that is being set for a static role; `role` is the record as it will be then."""

    owner: str
    begun_at_ms: int
    role: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRotation:
    """A password that is being set for a connection's own user.

    `old_seen_at_ms`: when the old password was first seen to be good still, after the outcome was unknown.
    """

    owner: str
    begun_at_ms: int
    password: str = field(repr=False)
    is_unknown: bool = False
    old_seen_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedUser:
    """What a lease keeps: the user it stands for. The statements serve when the role is gone."""

    role: str
    db_name: str
    username: str
    revocation: tuple[str, ...] = ()
