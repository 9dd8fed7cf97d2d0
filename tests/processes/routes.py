"""Every route of a running server with the fields of its body, from what the server says of itself."""

from collections.abc import Iterator
from typing import Final

from tests.processes.cluster import Node

# They do what they say, whatever their fields hold; sys/monitor answers for as long as somebody listens.
FINAL_PATHS: Final = frozenset({"/sys/seal", "/sys/step-down", "/auth/token/revoke-self", "/sys/monitor"})


def walk(node: Node) -> Iterator[tuple[str, str, list[str]]]:
    """Every documented path with a method and the fields of its body."""
    specification = node.call("GET", "sys/internal/specs/openapi", token="root").json
    schemas_by_ref = {f"#/components/schemas/{k}": v for k, v in specification["components"]["schemas"].items()}
    assert len(specification["paths"]) > 40
    for path, operations in specification["paths"].items():
        if path in FINAL_PATHS:
            continue
        for method in set(operations) & {"post", "patch", "get", "delete"}:
            content = operations[method].get("requestBody", {}).get("content", {})
            schemas = [schemas_by_ref.get(m["schema"].get("$ref"), m["schema"]) for m in content.values()]
            yield path, method.upper(), [name for schema in schemas for name in schema.get("properties", {})]
    yield "/sys/init", "POST", ["secret_shares", "secret_threshold", "pgp_keys", "recovery_shares", "stored_shares"]
    yield "/sys/unseal", "POST", ["key", "reset", "migrate"]
    yield "/sys/storage/raft/join", "POST", ["leader_api_addr", "retry", "leader_ca_cert", "auto_join", "non_voter"]
