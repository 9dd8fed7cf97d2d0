"""Userpass: people who log in with a name and a password (API documentation, "Userpass auth method")."""

from typing import Final

from engines.common.frame import Engine
from engines.userpass.logic import fold_name, fold_path
from engines.userpass.paths import TABLE, renew

ENGINE: Final = Engine(
    type="userpass",
    is_auth=True,
    description="Log in with a user name and a password.",
    help="Keeps users under users/, with the policies and lifetimes of their tokens. login/ takes a password.",
    table=TABLE,
    renew=renew,
    fold=fold_path,
    fold_alias=fold_name,
)
