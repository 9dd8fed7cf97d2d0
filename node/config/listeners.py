"""The `listener` blocks."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from engines.common.hcl import Body, HclError, Item, ListValue, Literal, Value, blocks_of
from node.cipher_suites import openssl_ciphers, unknown_suites
from node.config.addresses import HostPort, host_port, split_host_port
from node.config.bind import Stanza, nested, setting
from node.config.read import Network, Wrong, choice, duration, file_mode, flag, networks, text, texts, whole

REQUEST_BYTES_MAX: Final = 33_554_432
_TLS_VERSIONS: Final = ("tls10", "tls11", "tls12", "tls13")
_PROXY_BEHAVIOURS: Final = ("", "use_always", "allow_authorized", "deny_unauthorized")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # a token of RFC 9110
_OWN_HEADERS: Final = frozenset(("content-length", "content-type", "transfer-encoding", "connection", "date", "server"))
_DECODERS: Final = frozenset(("BASE64", "DER", "URL"))


def _request_size(value: Value) -> int:
    return whole(-(2**63))(value) or REQUEST_BYTES_MAX


def _decoders(value: Value) -> tuple[str, ...]:
    names = tuple(name.upper() for name in texts(value))
    if not _DECODERS.issuperset(names):
        raise Wrong("expected any of BASE64, DER, URL")
    return names


def _cipher_suites(value: Value) -> tuple[str, ...]:
    names = texts(value)
    if unknown_suites(names):
        raise Wrong("expected names of cipher suites such as TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
    return names


def _header_name(value: Value) -> str:
    name = text(value)
    if name and not _HEADER_NAME.fullmatch(name):
        raise Wrong("expected the name of a header")
    return name


def _response_headers(value: Value) -> "tuple[ResponseHeaders, ...]":
    bodies = value.items if isinstance(value, ListValue) else (value,)  # JSON may write a block as a list of one
    if not all(isinstance(body, Body) for body in bodies):
        raise Wrong('expected a block such as { "default" = { "X-Name" = ["value"] } }')
    return tuple(_headers_of(item) for body in bodies if isinstance(body, Body) for item in body.items)


def _headers_of(item: Item) -> "ResponseHeaders":
    status = item.name.lower()
    digits = status.removesuffix("xx")
    if status != "default" and not (digits.isdigit() and len(status) == 3 and status[0] in "12345"):
        raise Wrong('expected "default", a status such as "404", or a group such as "2xx"')
    try:
        bodies = [block.body for block in blocks_of(item, labels=0)]
    except HclError as error:
        raise Wrong(error.reason) from None
    headers = {each.name: _header_values(each.value) for body in bodies for each in body.items}
    if any(name.lower().startswith("x-vault-") or name.lower() in _OWN_HEADERS for name in headers):
        raise Wrong("names that begin with X-Vault-, and those that frame an answer, belong to the server")
    if not all(map(_HEADER_NAME.fullmatch, headers)):
        raise Wrong("expected header names such as X-Name")
    return ResponseHeaders(status, headers)


def _header_values(value: Value) -> tuple[str, ...]:
    """A list of strings, or one string as it is: header values may hold commas."""
    values = (text(value),) if isinstance(value, Literal) else texts(value)
    if any(letter in each for each in values for letter in "\r\n\0"):
        raise Wrong("a header value cannot hold line ends")
    return values


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """Headers to add for a status: "default", a group such as "2xx", or one status. The most specific wins."""

    status: str
    headers: Mapping[str, tuple[str, ...]]

    def sets(self, name: str) -> bool:
        """Whether the header of this name is among them, in any spelling."""
        return name.lower() in {own.lower() for own in self.headers}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTelemetry(Stanza):
    """`telemetry` in a listener."""

    unauthenticated_metrics_access: bool = setting(False, flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerProfiling(Stanza):
    """`profiling` in a listener. The documentation also shows the in-flight key here."""

    unauthenticated_pprof_access: bool = setting(False, flag)
    unauthenticated_in_flight_request_access: bool = setting(False, flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerInFlight(Stanza):
    """`inflight_requests_logging` in a listener."""

    unauthenticated_in_flight_requests_access: bool = setting(False, flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener(Stanza):
    """One `listener` block. For "unix", `address` is the path of the socket; the socket_ keys mean nothing to "tcp"."""

    IGNORED = frozenset(("chroot_namespace", "tls_prefer_server_cipher_suites"))

    type: str
    declared_at: str = ""  # file and line, for errors at start

    address: str = setting("", text)
    cluster_address: str = setting("", host_port)

    http_idle_timeout_s: int = setting(300, duration, key="http_idle_timeout")
    http_read_header_timeout_s: int = setting(10, duration, key="http_read_header_timeout")
    http_read_timeout_s: int = setting(30, duration, key="http_read_timeout")
    http_write_timeout_s: int = setting(0, duration, key="http_write_timeout")
    request_bytes_max: int = setting(REQUEST_BYTES_MAX, _request_size, key="max_request_size")
    request_duration_s_max: int = setting(0, duration, key="max_request_duration")

    tls_disable: bool = setting(False, flag)
    tls_cert_file: str = setting("", text)
    tls_key_file: str = setting("", text)
    tls_min_version: str = setting("tls12", choice(*_TLS_VERSIONS))
    tls_max_version: str = setting("tls13", choice(*_TLS_VERSIONS))
    tls_cipher_suites: tuple[str, ...] = setting((), _cipher_suites)
    tls_require_and_verify_client_cert: bool = setting(False, flag)
    tls_client_ca_file: str = setting("", text)
    tls_disable_client_certs: bool = setting(False, flag)

    x_forwarded_for_authorized_addrs: tuple[Network, ...] = setting((), networks)
    x_forwarded_for_hop_skips: int = setting(0, whole(0, 1000))
    x_forwarded_for_reject_not_authorized: bool = setting(True, flag)
    x_forwarded_for_reject_not_present: bool = setting(True, flag)
    x_forwarded_for_client_cert_header: str = setting("", _header_name)
    x_forwarded_for_client_cert_header_decoders: tuple[str, ...] = setting((), _decoders)
    proxy_protocol_behavior: str = setting("", choice(*_PROXY_BEHAVIOURS))
    proxy_protocol_authorized_addrs: tuple[Network, ...] = setting((), networks)

    redact_addresses: bool = setting(False, flag)
    redact_cluster_name: bool = setting(False, flag)
    redact_version: bool = setting(False, flag)
    disable_replication_status_endpoints: bool = setting(False, flag)
    custom_response_headers: tuple[ResponseHeaders, ...] = setting((), _response_headers)

    socket_mode: int | None = setting(None, file_mode)
    socket_user: str = setting("", text)
    socket_group: str = setting("", text)

    telemetry: ListenerTelemetry = nested(ListenerTelemetry)  # noqa: RUF009  a field, as setting() is
    profiling: ListenerProfiling = nested(ListenerProfiling)  # noqa: RUF009
    inflight_requests_logging: ListenerInFlight = nested(ListenerInFlight)  # noqa: RUF009

    @property
    def is_unix(self) -> bool:
        """Whether this listens on a socket file."""
        return self.type == "unix"

    @property
    def host_port(self) -> HostPort:
        """Where a "tcp" listener listens."""
        return split_host_port(self.address, 8200)

    @property
    def cluster_host_port(self) -> HostPort:
        """Where the cluster port of a "tcp" listener is: one above its own unless set."""
        own = self.host_port
        return split_host_port(self.cluster_address, 8201) if self.cluster_address else HostPort(own.host, own.port + 1)

    @property
    def redacts(self) -> bool:
        """Whether anything is left out of answers that need no token."""
        return self.redact_addresses or self.redact_cluster_name or self.redact_version

    @property
    def in_flight_requests_are_public(self) -> bool:
        """Whether in-flight requests may be read without a token: either documented spelling."""
        return (
            self.inflight_requests_logging.unauthenticated_in_flight_requests_access
            or self.profiling.unauthenticated_in_flight_request_access
        )

    def faults(self) -> Iterable[tuple[str, str]]:
        if not self.is_unix:
            try:
                split_host_port(self.address, 8200)
            except ValueError as error:
                yield "address", str(error)
        if not self.tls_disable and not self.is_unix:
            for key in ("tls_cert_file", "tls_key_file"):
                if not getattr(self, key):
                    yield key, "required unless tls_disable is true"
        if self.tls_min_version > self.tls_max_version:
            yield "tls_min_version", "is above tls_max_version"
        if self.tls_require_and_verify_client_cert and self.tls_disable_client_certs:
            yield "tls_disable_client_certs", "excludes tls_require_and_verify_client_cert"
        if self.tls_min_version != "tls13" and self.tls_cipher_suites and not openssl_ciphers(self.tls_cipher_suites):
            yield "tls_cipher_suites", "names no suite of TLS 1.2, so set tls_min_version to tls13"
        if self.proxy_protocol_behavior not in ("", "use_always") and not self.proxy_protocol_authorized_addrs:
            yield "proxy_protocol_authorized_addrs", "required for this proxy_protocol_behavior"


DEFAULT_ADDRESS: Final = {"tcp": "127.0.0.1:8200", "unix": "/run/vault.sock"}
