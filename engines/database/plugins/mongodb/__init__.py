"""MongoDB, by pymongo's asyncio client (API documentation, "MongoDB database plugin")."""

from typing import Final

from engines.database.interface import Plugin
from engines.database.plugins.mongodb.database import open_mongodb

PLUGIN: Final = Plugin(
    names=("mongodb-database-plugin",),
    settings=(
        "connection_url",
        "username",
        "password",
        "write_concern",
        "tls_certificate_key",
        "tls_ca",
        "max_open_connections",
        "username_template",
        "disable_escaping",
    ),
    secret_settings=("password", "tls_certificate_key"),
    username_template=(
        '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 15) (.RoleName | truncate 15) (random 20) (unix_time)'
        ' | replace "." "-" | truncate 100 }}'
    ),
    open=open_mongodb,
)
