"""engines/common/cidrs.py"""

import pytest

from engines.common.cidrs import canonical, is_subset, is_within
from engines.common.errors import InvalidRequest


@pytest.mark.parametrize(
    ("inner", "outer", "is_inside"),
    [
        ((), (), True),
        (("10.1.0.0/16",), ("10.0.0.0/8",), True),
        (("10.0.0.0/8",), ("10.1.0.0/16",), False),
        (("10.1.2.3", "192.168.0.0/24"), ("10.0.0.0/8", "192.168.0.0/16"), True),
        (("10.1.2.3", "172.16.0.1"), ("10.0.0.0/8",), False),
        (("::1",), ("0.0.0.0/0",), False),
        (("fd00:1::/32",), ("fd00::/16",), True),
        (("10.0.0.1",), (), False),
    ],
)
def test_subset(inner: tuple[str, ...], outer: tuple[str, ...], is_inside: bool) -> None:
    """Each block must lie in one of the others, of its own IP version."""
    assert is_subset(inner, outer) is is_inside


def test_one_address_is_shown_without_its_mask() -> None:
    """As the API documentation's sample of a user shows it."""
    given = ("127.0.0.1/32", "128.252.0.0/16", "::1/128", "10.0.0.1")
    assert canonical(given) == ("127.0.0.1", "128.252.0.0/16", "::1", "10.0.0.1")
    with pytest.raises(InvalidRequest):
        canonical(("10.0.0.0/99",))


def test_an_address_that_is_none_lies_nowhere() -> None:
    """Without an address, as in a request that has none, no bound is met."""
    assert not is_within("", ("0.0.0.0/0", "::/0"))
