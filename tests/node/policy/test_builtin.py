"""node/policy/builtin.py: what exists before anyone writes a policy."""

import pytest

from engines.common.frame import Operation
from node.policy.acl import Acl
from node.policy.builtin import DEFAULT_POLICY_TEXT, RESPONSE_WRAPPING_POLICY, ROOT_POLICY, UNSTORED_POLICIES
from node.policy.errors import PolicyNameRefused
from node.policy.model import Capability, Subject
from node.policy.parse import parse_policy


def test_default_rights() -> None:
    """The documented rights of `default` and no others; its entity paths hold for the token's own entity only."""
    acl = Acl.of([parse_policy("default", DEFAULT_POLICY_TEXT)], Subject(entity_id="e-1", entity_name="alice"))
    exact, globs = acl.rules()
    read, update = Capability.READ, Capability.UPDATE
    assert exact == {
        "auth/token/lookup-self": read,
        "auth/token/renew-self": update,
        "auth/token/revoke-self": update,
        "sys/capabilities-self": update,
        "sys/internal/ui/resultant-acl": read,
        "identity/entity/id/e-1": read,
        "identity/entity/name/alice": read,
        "sys/renew": update,
        "sys/leases/renew": update,
        "sys/leases/lookup": update,
        "sys/wrapping/wrap": update,
        "sys/wrapping/lookup": update,
        "sys/wrapping/unwrap": update,
        "sys/tools/hash": update,
        "sys/control-group/request": update,
    }
    assert globs == {
        "cubbyhole/": Capability.CREATE | read | update | Capability.DELETE | Capability.LIST,
        "sys/tools/hash/": update,
        "identity/oidc/provider/+/authorize": read | update,
    }
    assert not acl.is_root


def test_root_may_do_anything() -> None:
    """Root passes sudo and every operation, also beside a denial."""
    acl = Acl.of([parse_policy("p", 'path "*" { capabilities = ["deny"] }'), ROOT_POLICY])
    for operation in Operation:
        decision = acl.check(operation, "sys/raw/core", {"a": 1}, None, sudo_needed=True)
        assert (decision.allowed, decision.root, decision.sudo) == (True, True, True)
    assert acl.capability_names("sys/raw/core") == ["root"]
    assert Capability.SUDO in acl.capabilities("a") and Capability.DENY not in acl.capabilities("a")
    assert acl.may_touch_below("secret/")


def test_response_wrapping_only_unwraps() -> None:
    """A wrapping token fetches what it wraps and can do nothing else."""
    exact, globs = Acl.of([RESPONSE_WRAPPING_POLICY]).rules()
    assert exact == {"sys/wrapping/unwrap": Capability.UPDATE, "cubbyhole/response": Capability.READ}
    assert not globs


def test_unstored_policies_cannot_be_written() -> None:
    """Each policy that is not stored has a name under which none can be stored."""
    assert set(UNSTORED_POLICIES) == {"root", "response-wrapping"}
    for name in UNSTORED_POLICIES:
        with pytest.raises(PolicyNameRefused):
            parse_policy(name, "")
