"""node/tokens/logic.py: ends, policy names and addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.common.cidrs import is_within, networks
from engines.common.errors import InvalidRequest
from node.tokens.logic import base62_id, display_name, end_of, least_max, left_s, policy_names
from node.tokens.model import Ttls

NOW = 1_795_291_200_000
SECONDS = st.integers(min_value=0, max_value=10**9)
POSITIVE = st.integers(min_value=1, max_value=10**9)


@given(
    age_ms=st.integers(0, 10**13), wanted=SECONDS, default=POSITIVE, maximum=POSITIVE, period=SECONDS, explicit=SECONDS
)
def test_an_end_lies_ahead_and_within_every_maximum(
    age_ms: int, wanted: int, default: int, maximum: int, period: int, explicit: int
) -> None:
    """Whatever is asked at whatever age: an end after now and within the maxima, or a refusal; never "no end"."""
    issued = NOW - age_ms
    limits = Ttls(default, maximum)
    try:
        end = end_of(
            now_ms=NOW,
            issued_at_ms=issued,
            wanted_s=wanted,
            limits=limits,
            period_s=period,
            explicit_max_s=explicit,
        )
    except InvalidRequest:
        passed = not period and age_ms >= maximum * 1000
        assert passed or (explicit and age_ms >= explicit * 1000)
        return
    assert end.at_ms > NOW
    assert left_s(end.at_ms, NOW) >= 1
    assert end.at_ms <= NOW + maximum * 1000
    if explicit:
        assert end.at_ms <= issued + explicit * 1000
    if not period:
        assert end.at_ms <= issued + maximum * 1000


@pytest.mark.parametrize("age_ms", [3_599_000, 3_599_001, 3_599_999])
def test_a_renewal_just_before_the_maximum_gets_what_is_left(age_ms: int) -> None:
    """CVE-2021-32923: a renewal in the last second never becomes 0, which would read as "never expires"."""
    end = end_of(now_ms=NOW, issued_at_ms=NOW - age_ms, wanted_s=600, limits=Ttls(60, 3600))
    assert end.at_ms == NOW - age_ms + 3_600_000
    assert left_s(end.at_ms, NOW) == 1


@pytest.mark.parametrize("age_ms", [3_600_000, 3_600_001, 3_601_000])
@pytest.mark.parametrize("wanted_s", [0, 1, 600])
def test_a_renewal_at_or_past_the_maximum_is_refused(age_ms: int, wanted_s: int) -> None:
    """CVE-2021-32923: at the maximum and after it there is nothing to grant."""
    with pytest.raises(InvalidRequest, match="past the max TTL"):
        end_of(now_ms=NOW, issued_at_ms=NOW - age_ms, wanted_s=wanted_s, limits=Ttls(60, 3600))


def test_a_request_over_the_maximum_is_capped_with_a_warning() -> None:
    """The documented warning names both durations."""
    end = end_of(now_ms=NOW, issued_at_ms=NOW, wanted_s=7200, limits=Ttls(60, 3600))
    assert end.at_ms == NOW + 3_600_000
    assert end.warnings == (
        'TTL of "2h0m0s" exceeded the effective max_ttl of "1h0m0s"; TTL value is capped accordingly',
    )


def test_the_least_maximum_that_is_set_wins() -> None:
    """0 is "unset"; the default never exceeds the maximum."""
    assert least_max(Ttls(100, 1000), 0, 50, 70) == Ttls(50, 50)
    assert least_max(Ttls(100, 1000), 0) == Ttls(100, 1000)


@pytest.mark.parametrize("spelling", ["root", "ROOT", " root", "root\n ", "ｒｏｏｔ", " Root ", "ＲＯＯＴ"])
def test_every_spelling_of_root_is_root(spelling: str) -> None:
    """CVE-2025-5999: the name is folded before any check sees it, and root stands alone."""
    try:
        assert policy_names((spelling, "other")) == ("root",)
    except InvalidRequest:
        assert "\n" in spelling  # a name with a control character is refused altogether


@pytest.mark.parametrize("name", ["../root", "a/../b", ".", "..", "a//b", "ro\u200bot", "response-wrapping"])
def test_names_that_are_no_policy_are_refused(name: str) -> None:
    """CVE-2026-105820: path steps and invisible characters never reach a token."""
    with pytest.raises(InvalidRequest):
        policy_names((name,))


def test_policies_are_sorted_without_repeats_and_default_is_added() -> None:
    """The API's order."""
    assert policy_names(("web", "Web", "app", ""), add_default=True) == ("app", "default", "web")


@pytest.mark.parametrize(
    ("address", "cidrs", "within"),
    [
        ("10.0.0.1", ("10.0.0.0/8",), True),
        ("11.0.0.1", ("10.0.0.0/8",), False),
        ("::ffff:10.0.0.1", ("10.0.0.0/8",), True),
        ("2001:db8::1", ("10.0.0.0/8", "2001:db8::/32"), True),
        ("10.0.0.1", ("10.0.0.1",), True),
        ("", ("0.0.0.0/0",), False),
        ("nonsense", ("0.0.0.0/0",), False),
    ],
)
def test_addresses_and_blocks(address: str, cidrs: tuple[str, ...], within: bool) -> None:
    """A client without an address lies in no block, and a mapped IPv4 address is an IPv4 address."""
    assert is_within(address, cidrs) is within


def test_a_block_that_is_none_is_refused() -> None:
    """At the write, not at the use."""
    with pytest.raises(InvalidRequest):
        networks(("10.0.0.0/99",))


@given(st.binary(min_size=24, max_size=24))
def test_ids_have_the_documented_shape(random: bytes) -> None:
    """24 characters of letters and digits."""
    assert len(base62_id(random)) == 24
    assert base62_id(random).isalnum()


def test_display_names_are_made_plain() -> None:
    """ "token", or "token-" and the name without anything special."""
    assert [display_name(n) for n in ("", "ci", "a b/c", "x!")] == ["token", "token-ci", "token-a-b-c", "token-x"]
