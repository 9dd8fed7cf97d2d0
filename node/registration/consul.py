"""`service_registration "consul"`: a service with a check that the node keeps alive (Consul API, "agent")."""

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp

from node.config.services import ConsulRegistration
from node.errors import ConfigError
from node.listener_tls import TLS_VERSIONS
from node.registration.registry import NodeState, NotTold, ask
from node.storage import split_address

TIMEOUT_S: Final = 5.0
# The check turns critical by itself when the node has not been heard of for `check_timeout`; half of it leaves room for
# one lost report.
REPORTS_PER_TIMEOUT: Final = 2
PERIOD_S_MIN: Final = 0.5


class Consul:
    """The agent of the stanza. One service per node, named after its API address."""

    name = "consul"

    def __init__(self, stanza: ConsulRegistration, api_address: str) -> None:
        """Raises ConfigError when the TLS files or the address cannot be used."""
        self._stanza = stanza
        self._base, self._socket_path = _base(stanza)
        self._tls = _tls(stanza) if self._base.startswith("https:") else None
        try:
            self._host, self._port = split_address(api_address)
        except ValueError:
            raise ConfigError('service_registration "consul": set api_addr, which is what is registered') from None
        self._service_id = f"{stanza.service}:{self._host}:{self._port}"
        self._check_id = f"{self._service_id}:vault-sealed-check"
        self._registered: tuple[str, ...] | None = None  # the tags that the agent has
        self.period_s = max(PERIOD_S_MIN, stanza.check_timeout_s / REPORTS_PER_TIMEOUT)

    async def tell(self, state: NodeState) -> None:
        """Register with the tags of this state if they changed, then report the check."""
        tags = self._tags(state)
        if self._registered != tags:
            await self._put("/v1/agent/service/register", self._service(state, tags))
            self._registered = tags
        try:
            status = "critical" if state.is_sealed else "passing"
            output = "Vault Sealed" if state.is_sealed else "Vault Unsealed"
            await self._put(
                f"/v1/agent/check/update/{quote(self._check_id, safe=':')}", {"Status": status, "Output": output}
            )
        except NotTold:
            self._registered = None  # an agent that restarted has forgotten the service
            raise

    async def leave(self) -> None:
        """Take the service out of the agent's list."""
        self._registered = None
        await self._put(f"/v1/agent/service/deregister/{quote(self._service_id, safe=':')}", None)

    def _tags(self, state: NodeState) -> tuple[str, ...]:
        role = "active" if state.is_active else "standby"
        initialized = ("initialized",) if state.is_initialized else ()
        return (*self._stanza.service_tags, role, *initialized)

    def _service(self, state: NodeState, tags: tuple[str, ...]) -> Mapping[str, object]:
        """ "external-source" is what Consul's own page shows the service with."""
        address = self._stanza.service_address
        return {
            "ID": self._service_id,
            "Name": self._stanza.service,
            "Tags": list(tags),
            "Port": self._port,
            "Address": self._host if address is None else address,
            "EnableTagOverride": False,
            "Meta": {"external-source": "vault"},
            "Check": {
                "CheckID": self._check_id,
                "Name": "Vault Sealed Status",
                "Notes": "Healthy while the server is unsealed and may become the active one",
                "TTL": f"{self._stanza.check_timeout_s}s",
                "Status": "critical" if state.is_sealed else "passing",
            },
        }

    async def _put(self, path: str, body: object) -> None:
        headers = {"X-Consul-Token": self._stanza.token} if self._stanza.token else {}
        status = await ask(self._session, "PUT", self._base + path, body, headers)
        if status != 200:
            hint = ". Does the token allow service:write?" if status == 403 else ""
            raise NotTold(f"the agent answered {status}{hint}")

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        if self._socket_path:
            return aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._socket_path), timeout=timeout)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls or True), timeout=timeout)


def _base(stanza: ConsulRegistration) -> tuple[str, str]:
    """The URL without a path, and the unix socket behind it, if it is one."""
    if stanza.address.startswith("unix://"):
        return "http://consul", stanza.address.removeprefix("unix://")
    address = stanza.address if "://" in stanza.address else f"{stanza.scheme}://{stanza.address}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            'service_registration "consul": address must be host:port, http(s)://host:port or unix:///path'
        )
    return f"{parts.scheme}://{parts.netloc}", ""


def _tls(stanza: ConsulRegistration) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=stanza.tls_ca_file or None)
        context.minimum_version = TLS_VERSIONS[stanza.tls_min_version]
        if stanza.tls_cert_file:
            context.load_cert_chain(stanza.tls_cert_file, stanza.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f'service_registration "consul": the TLS files cannot be used: {error.strerror or error}'
        ) from None
    if stanza.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
