"""The seal `azurekeyvault`: an RSA key of Azure Key Vault or a managed HSM, through Microsoft's client.

It wraps with RSA-OAEP-256, so the key needs the operations wrapKey and unwrapKey, and the identity the permissions get,
wrapKey and unwrapKey. The client is an extra of the distribution, `strongroom[azurekeyvault]`.
"""

from typing import TYPE_CHECKING, Any, Final

from node.barrier import Random
from node.config.seals import SealStanza
from node.errors import NodeError
from node.seal.envelope import DataKey, refusal
from node.seal.kms import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    Env,
    Kms,
    KmsSeal,
    denied,
    require_client,
    unavailable,
)

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_SERVICE: Final = "Azure Key Vault"
# Environment -> where tokens come from, and the DNS suffix of key vaults.
_ENVIRONMENTS: Final = {
    "AZUREPUBLICCLOUD": ("login.microsoftonline.com", "vault.azure.net"),
    "AZUREUSGOVERNMENTCLOUD": ("login.microsoftonline.us", "vault.usgovcloudapi.net"),
    "AZURECHINACLOUD": ("login.chinacloudapi.cn", "vault.azure.cn"),
}
_ADVICE: Final = {
    401: "the identity is not accepted",
    403: "the key is disabled, or the identity may not use it; it needs get, wrapKey and unwrapKey",
    404: "there is no such key",
}


def azurekeyvault_seal(stanza: SealStanza, env: Env, random: Random) -> KmsSeal:
    """The seal of a stanza `azurekeyvault`. Raises ConfigError."""
    require_client(stanza, "azure.keyvault.keys", "azurekeyvault")
    require_client(stanza, "azure.identity", "azurekeyvault")
    environment = stanza.text("environment") or "AZUREPUBLICCLOUD"
    if environment.upper() not in _ENVIRONMENTS:
        raise stanza.error("environment", f"expected one of {', '.join(_ENVIRONMENTS)}")
    authority, suffix = _ENVIRONMENTS[environment.upper()]
    vault_url = f"https://{stanza.required('vault_name')}.{stanza.text('resource') or suffix}"
    key_name = stanza.required("key_name")
    tenant, client, secret = (stanza.text(name) for name in ("tenant_id", "client_id", "client_secret"))
    if secret and not (tenant and client):
        raise stanza.error("client_secret", "needs tenant_id and client_id")
    return KmsSeal(
        "azurekeyvault",
        lambda: AzureKms(vault_url, key_name, _credential(authority, tenant, client, secret)),
        random,
    )


def _credential(authority: str, tenant: str, client: str, secret: str) -> "TokenCredential":
    from azure.identity import ClientSecretCredential, ManagedIdentityCredential

    if secret:
        return ClientSecretCredential(tenant, client, secret, authority=authority, **_limits())
    return ManagedIdentityCredential(client_id=client or None, **_limits())


def _limits() -> dict[str, Any]:
    # One attempt: who asks tries again by itself, and says so in the log.
    return {"retry_total": 0, "connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}


class AzureKms(Kms):
    """The key of this name; the newest version wraps. `options` go to the clients."""

    def __init__(self, vault_url: str, key_name: str, credential: "TokenCredential", **options: Any) -> None:
        from azure.keyvault.keys import KeyClient

        self._options = {**_limits(), **options}
        self._credential = credential
        self._keys = KeyClient(vault_url, credential, **self._options)
        self._vault_url = vault_url
        self._key_name = key_name

    def wrap(self, data_key: bytes) -> DataKey:
        from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

        try:
            key = self._keys.get_key(self._key_name)  # asked each time, as it may have been rotated
            with CryptographyClient(key, self._credential, **self._options) as client:
                answer = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, data_key)
        except Exception as error:
            raise _known(error) from None
        return DataKey(key_id=key.id or "", wrapped=answer.encrypted_key)

    def unwrap(self, wrapped: DataKey) -> bytes:
        from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

        if not wrapped.key_id.startswith(f"{self._vault_url}/keys/"):
            raise refusal()  # the name is not verified yet: no token is sent anywhere else
        try:
            with CryptographyClient(wrapped.key_id, self._credential, **self._options) as client:
                return client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.wrapped).key
        except Exception as error:
            raise _known(error) from None


def _known(error: Exception) -> NodeError:
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    if isinstance(error, HttpResponseError) and error.status_code:
        if error.status_code == 400:
            return refusal()
        advice = _ADVICE.get(error.status_code)
        code = str(error.status_code)
        return denied(_SERVICE, code, advice) if advice else unavailable(_SERVICE, code)
    if isinstance(error, ClientAuthenticationError):
        return denied(_SERVICE, type(error).__name__, "the identity is not accepted")
    if isinstance(error, ValueError):  # the client checks the dates of the key, and who asks for a token, by itself
        advice = "the key has expired, is not valid yet or is no RSA key, or what answers is no key vault"
        return denied(_SERVICE, type(error).__name__, advice)
    if isinstance(error, AzureError | OSError):
        return unavailable(_SERVICE, type(error).__name__)
    raise error
