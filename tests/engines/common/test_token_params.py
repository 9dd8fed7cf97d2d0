"""engines/common/token_params.py"""

from dataclasses import dataclass

import msgpack
import pytest

from engines.common.context import MountInfo
from engines.common.errors import InvalidRequest
from engines.common.token_params import (
    NO_PARAMS,
    TokenFields,
    TokenParams,
    changed_params,
    grant_of,
    policy_list,
    warnings_of,
)

ALIASES = {"policies": "token_policies", "ttl": "token_ttl"}
MOUNT = MountInfo(
    path="auth/team/approle/",
    uuid="u",
    accessor="a",
    type="approle",
    options={},
    default_ttl_s=3600,
    max_ttl_s=7200,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields(TokenFields):
    """A request of a method that takes `ttl` as well."""

    ttl: int | None = None


EVERYTHING = Fields(
    token_ttl=60,
    token_max_ttl=600,
    token_policies=("Beta", "alpha", " alpha "),
    token_bound_cidrs=("127.0.0.1/32",),
    token_explicit_max_ttl=900,
    token_no_default_policy=True,
    token_num_uses=3,
    token_period=30,
    token_type="service",
)


def test_every_parameter_reaches_record_reading_and_token() -> None:
    """What was written is what is stored, shown and granted."""
    params = changed_params(NO_PARAMS, EVERYTHING, ALIASES)
    stored = msgpack.unpackb(msgpack.packb(params.record()), use_list=False)
    assert TokenParams.of_record(stored) == params
    assert params.reading(ALIASES) == {
        "token_bound_cidrs": ["127.0.0.1"],
        "token_explicit_max_ttl": 900,
        "token_max_ttl": 600,
        "token_no_default_policy": True,
        "token_num_uses": 3,
        "token_period": 30,
        "token_policies": ["alpha", "beta"],
        "token_ttl": 60,
        "token_type": "service",
    }
    grant = grant_of(params, MOUNT, alias_name="bob", display_name="bob", metadata={"k": "v"}, internal=b"i")
    assert (grant.ttl_s, grant.max_ttl_s, grant.explicit_max_ttl_s, grant.period_s) == (60, 600, 900, 30)
    assert (grant.num_uses, grant.policies, grant.no_default_policy) == (3, ("alpha", "beta"), True)
    assert (grant.bound_cidrs, grant.token_type, grant.alias_name) == (("127.0.0.1",), "service", "bob")
    assert (grant.display_name, grant.metadata, grant.internal) == ("team-approle-bob", {"k": "v"}, b"i")


def test_what_is_left_out_stays() -> None:
    """An update changes only what it names."""
    params = changed_params(NO_PARAMS, EVERYTHING, ALIASES)
    assert changed_params(params, Fields(), ALIASES) == params
    assert changed_params(params, Fields(token_ttl=5), ALIASES).ttl_s == 5


def test_deprecated_spellings() -> None:
    """They work, are shown while they were written last, and lose against the new spelling."""
    old = changed_params(NO_PARAMS, Fields(policies=("a",), ttl=5), ALIASES)
    assert (old.policies, old.ttl_s) == (("a",), 5)
    assert {"policies": ["a"], "ttl": 5}.items() <= old.reading(ALIASES).items()
    both = changed_params(old, Fields(policies=("b",), token_policies=("c",)), ALIASES)
    assert both.policies == ("c",)
    assert "policies" not in both.reading(ALIASES)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Fields(token_ttl=-1), "'token_ttl' cannot be negative"),
        (Fields(token_num_uses=-1), "'token_num_uses' cannot be negative"),
        (Fields(token_ttl=2, token_max_ttl=1), "'token_ttl' cannot be greater than 'token_max_ttl'"),
        (Fields(token_type="canary"), "invalid 'token_type' value"),
        (Fields(token_type="batch", token_num_uses=1), "'token_type' cannot be 'batch'"),
        (Fields(token_type="default-batch", token_period=1), "'token_type' cannot be 'batch'"),
        (Fields(token_bound_cidrs=("canary",)), "a bound CIDR"),
    ],
)
def test_refusals_name_the_field_and_no_value(given: Fields, says: str) -> None:
    """Values that contradict themselves are refused when they are written."""
    with pytest.raises(InvalidRequest) as refused:
        changed_params(NO_PARAMS, given, ALIASES)
    assert says in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("name", ["root", "ROOT", " Root ", "root\t"])
def test_cve_2025_64761_no_spelling_of_root(name: str) -> None:
    """A role or user cannot be given the root policy."""
    with pytest.raises(InvalidRequest, match="auth methods cannot create root tokens"):
        policy_list(("a", name))


def test_durations_beyond_the_mounts_are_warned_of() -> None:
    """They are kept, because the mount may be tuned, and the operator hears of it."""
    params = changed_params(NO_PARAMS, Fields(token_max_ttl=7201), ALIASES)
    assert warnings_of(params, MOUNT)[0].startswith("token_max_ttl is greater than the backend mount's maximum")
    assert warnings_of(changed_params(NO_PARAMS, Fields(token_max_ttl=7200), ALIASES), MOUNT) == ()
