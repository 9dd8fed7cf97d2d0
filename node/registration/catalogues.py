"""From the `service_registration` stanza to the catalogue it means."""

from collections.abc import Mapping

from node.config.model import Config
from node.config.services import ConsulRegistration
from node.core import NodeIdentity
from node.registration.consul import Consul
from node.registration.kubernetes import Kubernetes
from node.registration.registry import Catalogue


def catalogue_of(config: Config, identity: NodeIdentity, env: Mapping[str, str]) -> Catalogue | None:
    """None without a stanza, or where it is switched off. Raises ConfigError."""
    stanza = config.service_registration
    if stanza is None:
        return None
    if isinstance(stanza, ConsulRegistration):
        return None if stanza.disable_registration else Consul(stanza, identity.api_address)
    return Kubernetes(stanza, env, identity.version)
