"""MySQL and MariaDB, by asyncmy (API documentation, "MySQL/MariaDB database plugin")."""

from typing import Final

from engines.database.credential import PASSWORD, RSA
from engines.database.interface import Plugin
from engines.database.plugins.mysql.database import open_mysql

_SETTINGS: Final = (
    "connection_url",
    "username",
    "password",
    "max_open_connections",
    "max_idle_connections",
    "max_connection_lifetime",
    "username_template",
    "tls_certificate_key",
    "tls_ca",
    "tls_skip_verify",
)
_SECRET: Final = ("password", "tls_certificate_key")

PLUGIN: Final = Plugin(
    names=("mysql-database-plugin",),
    settings=_SETTINGS,
    secret_settings=_SECRET,
    username_template=(
        '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time)'
        " | truncate 32 }}"
    ),
    credential_types=(PASSWORD, RSA),
    open=open_mysql,
)

LEGACY: Final = Plugin(
    names=("mysql-aurora-database-plugin", "mysql-rds-database-plugin", "mysql-legacy-database-plugin"),
    settings=_SETTINGS,
    secret_settings=_SECRET,
    # Their user names may have 16 characters.
    username_template='{{ printf "v-%s-%s" (.RoleName | truncate 4) (random 20) | truncate 16 }}',
    credential_types=(PASSWORD, RSA),
    open=open_mysql,
)
