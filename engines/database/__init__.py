"""Database credentials made on demand and dropped at their end (API documentation, "Database secrets engine").

What is made in a database is preceded by a committed intent (docs/decisions/0012), so a crash at any moment leaves
either a user with a lease, or an intent by which the active node drops the user.
"""

from typing import Final

from engines.common.frame import Engine
from engines.database.paths import TABLE
from engines.database.tending import close, tend
from engines.database.users import renew, revoke

ENGINE: Final = Engine(
    type="database",
    is_auth=False,
    description="Credentials of databases, made on demand.",
    help=(
        "config/ holds connections to databases and roles/ what users they make: a read of creds/ makes one, which is "
        "dropped when its lease ends. static-roles/ rotate the password of users that are there already."
    ),
    table=TABLE,
    revoke=revoke,
    renew=renew,
    tend=tend,
    close=close,
)
