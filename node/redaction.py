"""What a listener leaves out of the answers that need no token (documentation, "listener tcp": `redact_addresses`)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from node.config.listeners import Listener
from node.response import Response

_PATHS: Final = frozenset(("sys/health", "sys/leader", "sys/seal-status", "sys/unseal"))
_ADDRESSES: Final = ("leader_address", "leader_cluster_address")
_CLUSTER: Final = ("cluster_name",)
_VERSION: Final = ("version", "build_date")


def redacted(listener: Listener, path: str, response: Response) -> Response:
    """The answer with what this listener redacts emptied; its members stay, so that clients find what they look for."""
    if path not in _PATHS:
        return response
    hidden = (
        *(_ADDRESSES if listener.redact_addresses else ()),
        *(_CLUSTER if listener.redact_cluster_name else ()),
        *(_VERSION if listener.redact_version else ()),
    )
    if not hidden or not response.body:
        return response
    members: Mapping[str, object] = orjson.loads(response.body)
    emptied = {name: "" if name in hidden else value for name, value in members.items()}
    return replace(response, body=orjson.dumps(emptied) + b"\n")
