"""The blocks about the world around the node: `telemetry`, `service_registration`, `user_lockout`."""

from collections.abc import Iterable
from dataclasses import dataclass

from engines.common.hcl import Literal, Value
from node.config.addresses import host_port
from node.config.bind import Stanza, setting
from node.config.read import Wrong, choice, duration, flag, text, texts, whole


def _gauge_period(value: Value) -> int:
    """Seconds; "none" is 0, and 0 means never."""
    return 0 if isinstance(value, Literal) and value.value == "none" else duration(value)


def _prefix_filter(value: Value) -> tuple[str, ...]:
    rules = texts(value)
    if any(rule[:1] not in ("+", "-") for rule in rules):
        raise Wrong("each rule begins with + (allow) or - (block)")
    return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry(Stanza):
    """`telemetry`. Spans of 0 switch the thing off."""

    usage_gauge_period_s: int = setting(600, _gauge_period, key="usage_gauge_period")
    gauge_cardinality_max: int = setting(500, whole(1), key="maximum_gauge_cardinality")
    disable_hostname: bool = setting(False, flag)
    enable_hostname_label: bool = setting(False, flag)
    metrics_prefix: str = setting("vault", text)
    lease_metrics_epsilon_s: int = setting(3600, duration, key="lease_metrics_epsilon")
    num_lease_metrics_buckets: int = setting(168, whole(1, 10_000))
    add_lease_metrics_namespace_labels: bool = setting(False, flag)
    add_mount_point_rollback_metrics: bool = setting(False, flag)
    filter_default: bool = setting(True, flag)
    prefix_filter: tuple[str, ...] = setting((), _prefix_filter)
    prometheus_retention_time_s: int = setting(86_400, duration, key="prometheus_retention_time")
    statsite_address: str = setting("", host_port)
    statsd_address: str = setting("", host_port)
    dogstatsd_addr: str = setting("", text)
    dogstatsd_tags: tuple[str, ...] = setting((), texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulRegistration(Stanza):
    """`service_registration "consul"`."""

    address: str = setting("127.0.0.1:8500", text, env="CONSUL_HTTP_ADDR")
    check_timeout_s: int = setting(5, duration, key="check_timeout")
    disable_registration: bool = setting(False, flag)
    scheme: str = setting("http", choice("http", "https"))
    service: str = setting("vault", text)
    service_tags: tuple[str, ...] = setting((), texts)
    service_address: str | None = setting(None, text)
    token: str = setting("", text, env="CONSUL_HTTP_TOKEN", secret=True)
    tls_ca_file: str = setting("", text, env="CONSUL_CACERT")
    tls_cert_file: str = setting("", text, env="CONSUL_CLIENT_CERT")
    tls_key_file: str = setting("", text, env="CONSUL_CLIENT_KEY")
    tls_min_version: str = setting("tls12", choice("tls10", "tls11", "tls12", "tls13"))
    tls_skip_verify: bool = setting(False, flag)

    def faults(self) -> Iterable[tuple[str, str]]:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            yield "tls_cert_file", "needs tls_key_file, and the reverse"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesRegistration(Stanza):
    """`service_registration "kubernetes"`: labels on the node's own pod."""

    namespace: str = setting("", text, env="VAULT_K8S_NAMESPACE")
    pod_name: str = setting("", text, env="VAULT_K8S_POD_NAME")


ServiceRegistration = ConsulRegistration | KubernetesRegistration
REGISTRATIONS: dict[str, type[ConsulRegistration] | type[KubernetesRegistration]] = {
    "consul": ConsulRegistration,
    "kubernetes": KubernetesRegistration,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLockout(Stanza):
    """`user_lockout "all"`, or one login method. A method's own block beats "all", setting by setting."""

    method: str
    lockout_threshold: int = setting(5, whole(1))
    lockout_duration_s: int = setting(900, duration, key="lockout_duration")
    lockout_counter_reset_s: int = setting(900, duration, key="lockout_counter_reset")
    disable_lockout: bool = setting(False, flag)


LOCKOUT_METHODS = ("userpass", "ldap", "approle")
