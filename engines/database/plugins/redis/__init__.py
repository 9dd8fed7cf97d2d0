"""Redis, by redis-py (API documentation, "Redis database plugin"): users are entries of its access control list."""

from typing import Final

from engines.database.interface import Plugin
from engines.database.plugins.redis.database import open_redis

PLUGIN: Final = Plugin(
    names=("redis-database-plugin",),
    settings=(
        "host",
        "port",
        "username",
        "password",
        "tls",
        "insecure_tls",
        "ca_cert",
        "max_open_connections",
        "username_template",
    ),
    required=("host", "port", "username", "password"),
    username_template=(
        '{{ printf "V_%s_%s_%s_%s" (.DisplayName | uppercase | truncate 64) (.RoleName | uppercase | truncate 64)'
        " (random 20 | uppercase) (unix_time) | truncate 128 }}"
    ),
    default_creation=True,
    open=open_redis,
)
