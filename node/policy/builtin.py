"""The policies that exist before anyone writes one.

`default` is an ordinary policy: its text is stored when a cluster is initialised and belongs to the operator from then
on. `root` and `response-wrapping` are never stored, so nothing that writes to the store can change them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from node.policy.model import Policy
from node.policy.names import RESPONSE_WRAPPING_NAME, ROOT_NAME
from node.policy.parse import policy_of_text

# Its name is its right: see Acl.of. No text and no rule leads to it.
ROOT_POLICY: Final = Policy(ROOT_NAME, rules=(), templated=False)

# All that a wrapping token may do is to fetch what it wraps, once. The second path is for clients that still read the
# response where it was kept before there was an endpoint to unwrap it.
RESPONSE_WRAPPING_POLICY: Final = policy_of_text(
    RESPONSE_WRAPPING_NAME,
    """
    path "sys/wrapping/unwrap" { capabilities = ["update"] }
    path "cubbyhole/response"  { capabilities = ["read"] }
    """,
)

# What a name means whatever the store holds.
UNSTORED_POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {policy.name: policy for policy in (ROOT_POLICY, RESPONSE_WRAPPING_POLICY)}
)

DEFAULT_POLICY_TEXT: Final = """\
# A token knows, renews and ends itself.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# It may ask what it is allowed to do, on given paths or, for user interfaces, altogether.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# It may read the entity it belongs to.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Leases: whoever holds a lease id may ask about it and renew it. The first path is the old name of the second.
path "sys/renew" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# Every token has a cubbyhole of its own, which ends with it.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Response wrapping: wrap any value, ask when a wrapping token was made, unwrap.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Hashing touches no secret.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# The state of an authorisation that waits for others, for who holds its accessor.
path "sys/control-group/request" {
  capabilities = ["update"]
}

# Signing in to an application through this server: the provider's own rules decide for whom.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
"""
