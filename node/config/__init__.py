"""The node's configuration: files in HCL or JSON, and the environment, as frozen dataclasses.

Every key is documented in docs/configuration.md. A wrong value is a ConfigError and an unknown key a warning, each with
file and line; neither ever holds a value.
"""

from node.config.addresses import HostPort, split_host_port
from node.config.listeners import Listener, ResponseHeaders
from node.config.load import load
from node.config.model import Config
from node.config.seals import SealStanza
from node.config.services import ConsulRegistration, KubernetesRegistration, ServiceRegistration, Telemetry, UserLockout
from node.config.storage import InmemStorage, RaftStorage, RetryJoin, Storage

__all__ = [
    "Config",
    "ConsulRegistration",
    "HostPort",
    "InmemStorage",
    "KubernetesRegistration",
    "Listener",
    "RaftStorage",
    "ResponseHeaders",
    "RetryJoin",
    "SealStanza",
    "ServiceRegistration",
    "Storage",
    "Telemetry",
    "UserLockout",
    "load",
    "split_host_port",
]
