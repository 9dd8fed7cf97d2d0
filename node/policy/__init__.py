"""Policies: what a token may do. Texts become rules (`parse`), the rules of a token one Acl, and that answers.

Everything here is pure: policies are read from the store and cached by the caller, which compiles an Acl anew when one
of them changes. Public API described in the Vault documentation, "Policies" and "Password policies".
"""

from node.policy.acl import Acl
from node.policy.errors import PasswordPolicyError, PolicyError, PolicyNameRefused
from node.policy.model import (
    Capability,
    Decision,
    PathRule,
    Policy,
    Subject,
    SubjectAlias,
    SubjectGroup,
    capability_names,
)
from node.policy.names import canonical_policy_name, may_be_attached
from node.policy.parse import parse_policy

__all__ = [
    "Acl",
    "Capability",
    "Decision",
    "PasswordPolicyError",
    "PathRule",
    "Policy",
    "PolicyError",
    "PolicyNameRefused",
    "Subject",
    "SubjectAlias",
    "SubjectGroup",
    "canonical_policy_name",
    "capability_names",
    "may_be_attached",
    "parse_policy",
]
