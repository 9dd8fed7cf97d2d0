"""What each login method sends, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from node.cli.command import Call
from node.cli.errors import CliError, UsageError
from node.cli.secret import Secret


class LoginMethod(Protocol):
    """One way to log in."""

    @property
    def help(self) -> str: ...

    def log_in(self, call: Call, mount: str, given: Mapping[str, str]) -> Secret: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLogin:
    """A login that is one write to auth/MOUNT/login.

    `needed` must be given; `hidden` is typed without echo when it is missing; `in_path` is the one of them that
    follows login/ instead of being sent in the body.
    """

    help: str
    needed: tuple[str, ...]
    hidden: str = ""
    in_path: str = ""

    def log_in(self, call: Call, mount: str, given: Mapping[str, str]) -> Secret:
        """Log in. Raises UsageError for what is missing and RemoteError when refused."""
        fields = {key: value for key, value in given.items() if key != "mount"}
        for name in self.needed:
            if not fields.get(name):
                raise UsageError(f"'{name}' must be specified")
        if self.hidden and not fields.get(self.hidden):
            fields[self.hidden] = call.ask_hidden(self.hidden.replace("_", " ").capitalize())
        path = f"auth/{given.get('mount') or mount}/login"
        if self.in_path:
            path += "/" + fields.pop(self.in_path)
        return _answer(call.client.write(path, fields))


class TokenLogin:
    """A login with a token that somebody has already: it is looked up, so that a wrong one is not stored."""

    help = "strongroom login TOKEN looks the token up and stores it."

    def log_in(self, call: Call, mount: str, given: Mapping[str, str]) -> Secret:
        """Look the token up and answer as a login would."""
        call.client.use_token(given["token"])
        call.client.stop_wrapping()
        data = _answer(call.client.read("auth/token/lookup-self")).data or {}
        policies = data.get("policies") or []
        identity = data.get("identity_policies") or []
        auth = {
            "client_token": data.get("id") or given["token"],
            "accessor": data.get("accessor", ""),
            "policies": sorted({*policies, *identity}),
            "token_policies": policies,
            "identity_policies": identity,
            "metadata": data.get("meta"),
            "orphan": data.get("orphan"),
            "entity_id": data.get("entity_id", ""),
            "lease_duration": data.get("ttl", 0),
            "renewable": data.get("renewable") is True,
        }
        return Secret.of({"auth": auth, "data": None})


def _answer(secret: Secret | None) -> Secret:
    if secret is None:
        raise CliError("the server's answer to the login is empty", 2)
    return secret


def _with_password(method: str) -> WrittenLogin:
    return WrittenLogin(
        help=f"strongroom login -method={method} username=NAME [password=PASSWORD] asks for what is missing.",
        needed=("username",),
        hidden="password",
        in_path="username",
    )


METHODS: Final[dict[str, LoginMethod]] = {
    "approle": WrittenLogin(
        help="strongroom login -method=approle role_id=ID [secret_id=ID]",
        needed=("role_id",),
    ),
    "jwt": WrittenLogin(
        help="strongroom login -method=jwt role=ROLE jwt=TOKEN",
        needed=("jwt",),
    ),
    "ldap": _with_password("ldap"),
    "token": TokenLogin(),
    "userpass": _with_password("userpass"),
}
