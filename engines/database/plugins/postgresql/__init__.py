"""PostgreSQL, by psycopg 3 (API documentation, "PostgreSQL database plugin")."""

from typing import Final

from engines.database.credential import PASSWORD, RSA
from engines.database.interface import Plugin
from engines.database.plugins.postgresql.database import open_postgresql

PLUGIN: Final = Plugin(
    names=("postgresql-database-plugin",),
    settings=(
        "connection_url",
        "username",
        "password",
        "max_open_connections",
        "max_idle_connections",
        "max_connection_lifetime",
        "username_template",
        "disable_escaping",
        "password_authentication",
        "tls_ca",
        "tls_certificate",
        "private_key",
    ),
    secret_settings=("password", "private_key"),
    username_template=(
        '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time)'
        " | truncate 63 }}"
    ),
    credential_types=(PASSWORD, RSA),
    open=open_postgresql,
)
