"""sys/config/state, sys/version-history: how the server was configured, and which versions there were."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Final

from engines.common.context import Context
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.config.listeners import Listener
from node.config.model import Config
from node.core import Core
from node.system.cluster import rfc3339
from node.version import BUILD_DATE, VERSION
from node.version_history import Installed, installed

# Of the configuration's own keys: numbers, booleans and names that hold no secret. Whatever is added to it stays out of
# this answer until it is listed here.
_TOP: Final[Mapping[str, str]] = {
    "api_addr": "api_addr",
    "cache_size": "cache_size",
    "cluster_addr": "cluster_addr",
    "cluster_name": "cluster_name",
    "default_lease_ttl": "default_lease_ttl_s",
    "default_max_request_duration": "default_max_request_duration_s",
    "disable_cache": "disable_cache",
    "disable_clustering": "disable_clustering",
    "disable_mlock": "disable_mlock",
    "enable_response_header_hostname": "enable_response_header_hostname",
    "enable_response_header_raft_node_id": "enable_response_header_raft_node_id",
    "enable_ui": "ui",
    "introspection_endpoint": "introspection_endpoint",
    "log_format": "log_format",
    "log_level": "log_level",
    "log_requests_level": "log_requests_level",
    "max_lease_ttl": "max_lease_ttl_s",
    "pid_file": "pid_file",
    "plugin_directory": "plugin_directory",
    "raw_storage_endpoint": "raw_storage_endpoint",
}
_LISTENER: Final = (
    "address",
    "cluster_address",
    "tls_disable",
    "tls_cert_file",
    "tls_key_file",
    "tls_min_version",
    "tls_max_version",
    "tls_cipher_suites",
    "tls_client_ca_file",
    "tls_require_and_verify_client_cert",
    "tls_disable_client_certs",
    "proxy_protocol_behavior",
    "x_forwarded_for_hop_skips",
    "x_forwarded_for_reject_not_authorized",
    "x_forwarded_for_reject_not_present",
    "socket_mode",
    "socket_user",
    "socket_group",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True)
class _State:
    core: Core

    async def sanitized(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(data=sanitized(self.core), repeat_data=True))

    async def history(self, request: Nothing, ctx: Context) -> Plan:
        own = Installed(version=VERSION, build_date=BUILD_DATE, at_ms=self.core.identity.started_at_ms)
        found = installed(self.core.require_unsealed().opened) or [own]
        info: dict[str, object] = {}
        before: str | None = None
        for one in found:
            info[one.version] = {
                "build_date": one.build_date,
                "previous_version": before,
                "timestamp_installed": rfc3339(one.at_ms),
            }
            before = one.version
        return Plan(Answer(data={"keys": [one.version for one in found], "key_info": info}))


def sanitized(core: Core) -> dict[str, object]:
    """The configuration without what may be secret: of storage and seals only the kind."""
    config = core.config
    shown: dict[str, object] = {key: getattr(config, name) for key, name in _TOP.items()}
    shown |= {
        "disable_indexing": False,
        "disable_performance_standby": True,
        "disable_printable_check": False,
        "disable_sealwrap": True,
        "listeners": [{"type": listener.type, "config": _listener(listener)} for listener in config.listeners],
        "seals": [{"type": seal.type, "disabled": seal.disabled} for seal in config.seals]
        or [{"type": config.seal.type, "disabled": False}],
        "storage": {
            "type": core.storage.kind,
            "redirect_addr": core.identity.api_address,
            "cluster_addr": core.identity.cluster_address,
            "disable_clustering": config.disable_clustering,
        },
        "telemetry": _telemetry(config),
    }
    if config.service_registration is not None:
        shown["service_registration"] = {
            "type": type(config.service_registration).__name__.removesuffix("Registration").lower()
        }
    return shown


def _listener(listener: Listener) -> dict[str, object]:
    """What was set, and the address."""
    defaults = {each.name: each.default for each in fields(Listener) if each.default is not MISSING}
    return {
        name: getattr(listener, name)
        for name in _LISTENER
        if name == "address" or getattr(listener, name) != defaults.get(name)
    }


def _telemetry(config: Config) -> dict[str, object]:
    telemetry = config.telemetry
    return {
        "usage_gauge_period": telemetry.usage_gauge_period_s,
        "maximum_gauge_cardinality": telemetry.gauge_cardinality_max,
        "disable_hostname": telemetry.disable_hostname,
        "enable_hostname_label": telemetry.enable_hostname_label,
        "metrics_prefix": telemetry.metrics_prefix,
        "lease_metrics_epsilon": telemetry.lease_metrics_epsilon_s,
        "num_lease_metrics_buckets": telemetry.num_lease_metrics_buckets,
        "add_lease_metrics_namespace_labels": telemetry.add_lease_metrics_namespace_labels,
        "add_mount_point_rollback_metrics": telemetry.add_mount_point_rollback_metrics,
        "filter_default": telemetry.filter_default,
        "prefix_filter": list(telemetry.prefix_filter),
        "prometheus_retention_time": telemetry.prometheus_retention_time_s,
        "statsd_address": telemetry.statsd_address,
        "statsite_address": telemetry.statsite_address,
        "dogstatsd_addr": telemetry.dogstatsd_addr,
        "dogstatsd_tags": list(telemetry.dogstatsd_tags),
    }


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of configuration and versions."""
    own = _State(core)
    return (
        Route(
            pattern="config/state/sanitized",
            operation=Operation.READ,
            request=Nothing,
            handler=own.sanitized,
            summary="The configuration, without what may be secret.",
        ),
        Route(
            pattern="version-history",
            operation=Operation.LIST,
            request=Nothing,
            handler=own.history,
            summary="The versions that ran here.",
        ),
    )
