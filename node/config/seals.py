"""The `seal` blocks: which keys each type knows, and the environment variables that beat them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engines.common.hcl import ListValue, Literal, Value
from node.config.bind import Found, Place, Scope, env_of
from node.config.read import Wrong, flag, text, texts
from node.errors import ConfigError

# Key -> environment variables, the first that is set wins.
SEAL_KEYS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "shamir": {},
    "aesgcm": {"keys": ()},
    "static": {"current_key_id": (), "current_key": (), "previous_key_id": (), "previous_key": ()},
    "awskms": {
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "access_key": ("AWS_ACCESS_KEY_ID",),
        "secret_key": ("AWS_SECRET_ACCESS_KEY",),
        "session_token": ("AWS_SESSION_TOKEN",),
        "kms_key_id": ("VAULT_AWSKMS_SEAL_KEY_ID",),
        "endpoint": ("AWS_KMS_ENDPOINT",),
    },
    "azurekeyvault": {
        "tenant_id": ("AZURE_TENANT_ID",),
        "client_id": ("AZURE_CLIENT_ID",),
        "client_secret": ("AZURE_CLIENT_SECRET",),
        "environment": ("AZURE_ENVIRONMENT",),
        "vault_name": ("VAULT_AZUREKEYVAULT_VAULT_NAME",),
        "key_name": ("VAULT_AZUREKEYVAULT_KEY_NAME",),
        "resource": ("AZURE_AD_RESOURCE",),
    },
    "gcpckms": {
        "credentials": ("GOOGLE_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"),
        "project": ("GOOGLE_PROJECT",),
        "region": ("GOOGLE_REGION",),
        "key_ring": ("VAULT_GCPCKMS_SEAL_KEY_RING",),
        "crypto_key": ("VAULT_GCPCKMS_SEAL_CRYPTO_KEY",),
    },
    "transit": {
        "address": ("VAULT_ADDR",),
        "token": ("VAULT_TOKEN",),
        "key_name": ("VAULT_TRANSIT_SEAL_KEY_NAME",),
        "mount_path": ("VAULT_TRANSIT_SEAL_MOUNT_PATH",),
        "namespace": ("VAULT_NAMESPACE",),
        "disable_renewal": ("VAULT_TRANSIT_SEAL_DISABLE_RENEWAL",),
        "tls_ca_cert": ("VAULT_CACERT",),
        "tls_client_cert": ("VAULT_CLIENT_CERT",),
        "tls_client_key": ("VAULT_CLIENT_KEY",),
        "tls_server_name": ("VAULT_TLS_SERVER_NAME",),
        "tls_skip_verify": ("VAULT_SKIP_VERIFY",),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealStanza:
    """One `seal` block with what the environment adds to it. `disabled` marks the old seal of a migration.

    A type that is not in SEAL_KEYS is kept with the settings it has: `node/seal/registry.py` refuses it by name.
    """

    type: str
    disabled: bool = False
    place: Place = Place("default", 0)  # noqa: RUF009  frozen
    settings: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    def text(self, name: str, default: str = "") -> str:
        """The setting as text. Raises ConfigError when it is a list."""
        value = self.settings.get(name, default)
        if not isinstance(value, str):
            raise self.error(name, "expected a string")
        return value

    def required(self, name: str) -> str:
        """The setting, which must be there and not empty. Raises ConfigError."""
        value = self.text(name)
        if not value:
            raise self.error(name, "required")
        return value

    def list_of(self, name: str) -> tuple[str, ...]:
        """The setting as a list; a text is a list of one."""
        value = self.settings.get(name, ())
        return (value,) if isinstance(value, str) else value

    def error(self, name: str, reason: str) -> ConfigError:
        """A fault in one setting ("" for the block), with file and line and without the value."""
        place = Place(self.place.file, self.lines.get(name, self.place.line))
        return ConfigError(f"{place}: {name}: {reason}" if name else f"{place}: {reason}")


def bind_seal(type_: str, items: Sequence[Found], place: Place, scope: Scope) -> SealStanza:
    """The stanza of this type from the items of its block and the environment. Raises ConfigError."""
    known = SEAL_KEYS.get(type_)
    settings: dict[str, str | tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    disabled = False
    for found in items:
        name, value = found.item.name, found.item.value
        try:
            if name == "disabled":
                disabled = flag(value)
                continue
            settings[name] = texts(value) if isinstance(value, ListValue) else _text_or_flag(value)
        except Wrong as wrong:
            raise found.error(wrong.reason) from None
        lines[name] = found.item.position.line
        if known is not None and name not in known:
            scope.warn(found, "unknown setting, ignored")
    for name, variables in (known or {}).items():
        if disabled and name in settings:
            continue  # the environment is that of the seal in use; the old one may be of the same type
        for variable in variables:
            if value_of_env := env_of(scope.env, variable)[1]:
                settings[name] = value_of_env
                break
    return SealStanza(type=type_, disabled=disabled, place=place, settings=settings, lines=lines)


def _text_or_flag(value: Value) -> str:
    """A setting as text; seals take booleans as text, so `true` and `"true"` are the same."""
    if isinstance(value, Literal) and isinstance(value.value, bool):
        return "true" if value.value else "false"
    return text(value)
