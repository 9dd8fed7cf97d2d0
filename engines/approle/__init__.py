"""AppRole: machines that log in with a role id and a secret id (API documentation, "AppRole auth method")."""

from typing import Final

from engines.approle.paths import TABLE, login_role, renew
from engines.common.frame import Engine

ENGINE: Final = Engine(
    type="approle",
    is_auth=True,
    description="Log in with a role id and a secret id.",
    help=(
        "Keeps roles under role/, each with a role id and any number of secret ids, and with the policies and "
        "lifetimes of its tokens. login takes a role id and a secret id."
    ),
    table=TABLE,
    renew=renew,
    login_role=login_role,
)
