"""How to reach the server: flags beat variables, variables beat defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from node.cli import flags
from node.cli.durations import NANOS, parse_duration, wire_duration
from node.cli.errors import UsageError
from node.cli.flags import Flag, Values

DEFAULT_ADDRESS: Final = "https://127.0.0.1:8200"
DEFAULT_TIMEOUT_S: Final = 60
DEFAULT_RETRIES: Final = 2

HTTP_FLAGS: Final[tuple[Flag, ...]] = (
    flags.text("address", "Address of the server.", DEFAULT_ADDRESS, env="VAULT_ADDR"),
    flags.text("agent-address", "Address of an agent to use instead of the server.", env="VAULT_AGENT_ADDR"),
    flags.text("ca-cert", "PEM file of the CA that signs the server's certificate.", env="VAULT_CACERT"),
    flags.text("ca-path", "Folder of such PEM files; -ca-cert beats it.", env="VAULT_CAPATH"),
    flags.text("client-cert", "PEM file of a certificate to show to the server.", env="VAULT_CLIENT_CERT"),
    flags.text("client-key", "PEM file of that certificate's key.", env="VAULT_CLIENT_KEY"),
    flags.switch("disable-redirects", "Do not follow redirects.", env="VAULT_DISABLE_REDIRECTS"),
    flags.items("header", "KEY=VALUE to send as an HTTP header; may be repeated."),
    flags.items("mfa", "Credential for single-phase MFA, METHOD[:PASSCODE]; may be repeated.", env="VAULT_MFA"),
    flags.text("namespace", "Namespace of the request.", aliases=("ns",), env="VAULT_NAMESPACE"),
    flags.switch("non-interactive", "Never ask for anything on the terminal."),
    flags.switch("output-curl-string", "Print a curl command instead of sending the request."),
    flags.switch("output-policy", "Print the policy the request needs instead of sending it."),
    flags.switch("policy-override", "Override a soft-mandatory policy."),
    flags.text("tls-server-name", "Name to expect in the server's certificate.", env="VAULT_TLS_SERVER_NAME"),
    flags.switch("tls-skip-verify", "Do not verify the server's certificate.", env="VAULT_SKIP_VERIFY"),
    flags.text("unlock-key", "Key that unlocks a locked namespace."),
    flags.duration("wrap-ttl", "Wrap the answer in a token that lives this long.", env="VAULT_WRAP_TTL"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """What to trust and what to show."""

    ca_file: str
    ca_folder: str
    ca_pem: str
    certificate: str
    key: str
    server_name: str
    skip_verify: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Everything the HTTP client needs besides the token."""

    address: SplitResult
    tls: TlsSettings
    headers: Mapping[str, str] = field(repr=False)
    mfa: tuple[str, ...] = field(repr=False)
    timeout_s: float
    retries: int
    follow_redirects: bool
    proxy: SplitResult | None = field(repr=False)


def client_settings(values: Values, environ: Mapping[str, str]) -> ClientSettings:
    """Settings of one command. Raises UsageError for what cannot be used."""
    address = values.text("agent-address") or values.text("address")
    proxy = environ.get("VAULT_PROXY_ADDR") or environ.get("VAULT_HTTP_PROXY")
    return ClientSettings(
        address=_address(address),
        tls=TlsSettings(
            ca_file=values.text("ca-cert"),
            ca_folder=values.text("ca-path"),
            ca_pem=environ.get("VAULT_CACERT_BYTES", ""),
            certificate=values.text("client-cert"),
            key=values.text("client-key"),
            server_name=values.text("tls-server-name"),
            skip_verify=values.switch("tls-skip-verify"),
        ),
        headers=_headers(values),
        mfa=values.items("mfa"),
        timeout_s=_timeout_s(environ.get("VAULT_CLIENT_TIMEOUT", "")),
        retries=_retries(environ.get("VAULT_MAX_RETRIES", "")),
        follow_redirects=not values.switch("disable-redirects"),
        proxy=_proxy(proxy) if proxy else None,
    )


def _address(text: str) -> SplitResult:
    try:
        address = urlsplit(text.strip())
        _ = address.port
    except ValueError:
        raise UsageError("the address of the server is not a URL") from None
    if address.scheme == "unix" and address.path:
        return address
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UsageError("the address of the server must start with http://, https:// or unix://")
    return address


def _proxy(text: str) -> SplitResult:
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise UsageError("VAULT_HTTP_PROXY and VAULT_PROXY_ADDR must be an http:// address")
    return proxy


def _headers(values: Values) -> dict[str, str]:
    headers = {"X-Vault-Request": "true"}
    namespace = values.text("namespace").strip("/")
    if namespace:
        headers["X-Vault-Namespace"] = namespace + "/"
    if values.given("wrap-ttl") and values.number("wrap-ttl") > 0:
        headers["X-Vault-Wrap-TTL"] = wire_duration(values.number("wrap-ttl"))
    if values.switch("policy-override"):
        headers["X-Vault-Policy-Override"] = "true"
    for name, value in values.pairs("header").items():
        if name.lower().startswith("x-vault-"):
            raise UsageError("-header cannot set a header that starts with X-Vault-")
        if any(ord(character) < 32 for character in name + value) or " " in name:
            raise UsageError("-header holds a character that no header may have")
        headers[name] = value
    return headers


def _timeout_s(text: str) -> float:
    if not text:
        return DEFAULT_TIMEOUT_S
    try:
        seconds = parse_duration(text) / NANOS["s"]
    except ValueError:
        raise UsageError("VAULT_CLIENT_TIMEOUT is neither a duration nor a number of seconds") from None
    return seconds if seconds > 0 else DEFAULT_TIMEOUT_S


def _retries(text: str) -> int:
    if not text:
        return DEFAULT_RETRIES
    try:
        return max(0, int(text))
    except ValueError:
        raise UsageError("VAULT_MAX_RETRIES is not a whole number") from None
