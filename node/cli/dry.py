"""-output-curl-string and -output-policy: what a command would send, instead of sending it."""

import re
import shlex
from typing import Final, Never

from node.cli.errors import DryRun
from node.cli.transport import Exchange

_CAPABILITIES: Final = {
    "GET": ("read",),
    "PUT": ("create", "update"),
    "POST": ("create", "update"),
    "PATCH": ("patch",),
    "DELETE": ("delete",),
}
_SUDO: Final = re.compile(
    r"auth/token/(accessors|revoke-orphan)|pki/root/sign-self-issued|sys/(audit|auth/[^/]+(/tune)?|config/cors"
    r"|config/auditing/request-headers|config/ui/headers|internal/inspect/router|leases/lookup/|leases/revoke-force"
    r"|leases/revoke-prefix|plugins/catalog/[^/]+/|raw|remount|rotate|seal|step-down)(/|$)"
)
"""Paths that ask for sudo besides the capability of the method, from the documented list."""


def show_as_curl(exchange: Exchange) -> Never:
    """Raise a DryRun that holds one curl command; it reads the token when it is run and never holds it."""
    words = ["curl"]
    if exchange.method != "GET":
        words += ["-X", exchange.method]
    words += ["-H", '"X-Vault-Token: $(strongroom print token)"']
    for name, value in exchange.headers.items():
        words += ["-H", shlex.quote(f"{name}: {value}")]
    if exchange.body is not None:
        words += ["-d", shlex.quote(exchange.body.decode())]
    words.append(shlex.quote(exchange.url.geturl()))
    raise DryRun(" ".join(words))


def show_as_policy(exchange: Exchange) -> Never:
    """Raise a DryRun that holds a policy for just this request."""
    path = exchange.url.path.partition("/v1/")[2]
    listing = exchange.method == "GET" and "list=true" in exchange.url.query
    capabilities = ["list"] if listing else list(_CAPABILITIES[exchange.method])
    if _SUDO.match(path):
        capabilities.append("sudo")
    quoted = ", ".join(f'"{capability}"' for capability in capabilities)
    raise DryRun(f'path "{path}" {{\n  capabilities = [{quoted}]\n}}')
