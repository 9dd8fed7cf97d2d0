"""`service_registration "kubernetes"`: labels on the node's own pod, for services that select by them.

The pod's service account needs the verb "patch" on pods of its namespace.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from node.config.services import KubernetesRegistration
from node.errors import ConfigError
from node.registration.registry import NodeState, NotTold, ask

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_S: Final = 5.0
PERIOD_S: Final = 30.0  # a label that somebody else has changed is put right this soon


class Kubernetes:
    """The pod of the stanza, or of the environment."""

    name = "kubernetes"
    period_s = PERIOD_S

    def __init__(
        self, stanza: KubernetesRegistration, env: Mapping[str, str], version: str, account: Path = ACCOUNT
    ) -> None:
        """Raises ConfigError outside of a pod, and when the stanza does not say which pod it is."""
        host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ConfigError('service_registration "kubernetes": this is not a pod (no KUBERNETES_SERVICE_HOST)')
        if not stanza.namespace or not stanza.pod_name:
            raise ConfigError(
                'service_registration "kubernetes": set namespace and pod_name, or VAULT_K8S_NAMESPACE and '
                "VAULT_K8S_POD_NAME by the downward API"
            )
        self._url = (
            f"https://{f'[{host}]' if ':' in host else host}:{port}"
            f"/api/v1/namespaces/{stanza.namespace}/pods/{stanza.pod_name}"
        )
        self._token_file = account / "token"
        # A label's value holds no "+".
        self._version = version.replace("+", "_")
        try:
            self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        except (OSError, ssl.SSLError):
            raise ConfigError(f'service_registration "kubernetes": {account / "ca.crt"} cannot be used') from None

    async def tell(self, state: NodeState) -> None:
        """Set the labels of this state."""
        await self._patch(state)

    async def leave(self) -> None:
        """Set the labels of a node that is gone."""
        await self._patch(NodeState(is_initialized=False, is_sealed=True, is_active=False))

    async def _patch(self, state: NodeState) -> None:
        labels = {
            "vault-active": _word(state.is_active),
            "vault-initialized": _word(state.is_initialized),
            "vault-perf-standby": "false",
            "vault-sealed": _word(state.is_sealed),
            "vault-version": self._version,
        }
        try:
            token = self._token_file.read_text().strip()  # each time: the kubelet replaces it
        except OSError as error:
            raise NotTold(f"the service account's token cannot be read: {error.strerror}") from None
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
        status = await ask(self._session, "PATCH", self._url, {"metadata": {"labels": labels}}, headers)
        if status != 200:
            hint = '. Give the service account the verb "patch" on pods' if status == 403 else ""
            raise NotTold(f"the API server answered {status}{hint}")

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        )


def _word(value: bool) -> str:
    return "true" if value else "false"
