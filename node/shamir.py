"""Shamir's secret sharing over GF(2^8) with the polynomial 0x11b.

Multiplication is bitwise and inversion is a power: no table is indexed and no branch is taken by a secret, because the
cache and the clock would tell it (CVE-2023-25000). A share is its value bytes, then one byte of x-coordinate.

Source: Shamir, "How to Share a Secret", CACM 22(11), 1979.
"""

from collections.abc import Callable, Sequence

from node.errors import InvalidShares
from node.limits import KEY_SHARES_MAX


def split(secret: bytes, shares: int, threshold: int, random: Callable[[int], bytes]) -> list[bytes]:
    """Shares of which any `threshold` rebuild the secret and fewer say nothing about it.

    Args:
        secret: At least one byte.
        shares: How many to make, 1 to 255.
        threshold: How many rebuild the secret: 2 to `shares`, or 1 when there is one share.
        random: Gives unpredictable bytes.

    Raises:
        InvalidShares: The numbers do not go together.
    """
    check_numbers(shares, threshold)
    if not secret:
        raise InvalidShares("there is no secret to share")
    # One polynomial per byte of the secret: coefficients[0] is the secret, the others are random.
    coefficients = [secret, *(random(len(secret)) for _ in range(threshold - 1))]
    return [_evaluate(coefficients, x) + bytes([x]) for x in range(1, shares + 1)]


def combine(shares: Sequence[bytes]) -> bytes:
    """The secret of these shares. With fewer than the threshold, or foreign ones, it is noise: check the result.

    Raises:
        InvalidShares: None or too many, unequal or impossible lengths, or an x-coordinate that is 0 or repeated.
    """
    if not 1 <= len(shares) <= KEY_SHARES_MAX:
        raise InvalidShares(f"expected 1 to {KEY_SHARES_MAX} key shares")
    size = len(shares[0]) - 1
    if size < 1 or any(len(share) != size + 1 for share in shares):
        raise InvalidShares("the key shares are not all of the same, possible length")
    xs = [share[-1] for share in shares]
    if 0 in xs:
        raise InvalidShares("a key share is not valid")
    if len(set(xs)) != len(xs):
        raise InvalidShares("a key share was given twice")
    secret = [0] * size
    for share, weight in zip(shares, _weights_at_zero(xs), strict=True):
        secret = [total ^ _multiply(value, weight) for total, value in zip(secret, share[:-1], strict=True)]
    return bytes(secret)


def check_numbers(shares: int, threshold: int) -> None:
    """Raises InvalidShares unless so many shares with this threshold can be made."""
    if not 1 <= shares <= KEY_SHARES_MAX:
        raise InvalidShares(f"the number of shares must be from 1 to {KEY_SHARES_MAX}")
    if not 1 <= threshold <= shares:
        raise InvalidShares("the threshold must be from 1 to the number of shares")
    if threshold == 1 and shares > 1:
        raise InvalidShares("the threshold must be at least 2 when there is more than one share")


def _evaluate(coefficients: Sequence[bytes], x: int) -> bytes:
    """All the polynomials at x, by Horner's rule."""
    values = [0] * len(coefficients[0])
    for coefficient in reversed(coefficients):
        values = [_multiply(value, x) ^ term for value, term in zip(values, coefficient, strict=True)]
    return bytes(values)


def _weights_at_zero(xs: Sequence[int]) -> list[int]:
    """Lagrange's weights: the secret is the sum of each share's value times its weight. The x are no secret."""
    weights = []
    for x in xs:
        above = below = 1
        for other in xs:
            if other != x:
                above = _multiply(above, other)
                below = _multiply(below, other ^ x)  # subtraction is exclusive or
        weights.append(_multiply(above, _inverse(below)))
    return weights


def _multiply(left: int, right: int) -> int:
    """The product in the field, in the same eight steps whatever the factors are."""
    product = 0
    for _ in range(8):
        product ^= -(right & 1) & left
        left = (left << 1) ^ (-(left >> 7) & 0x11B)
        right >>= 1
    return product


def _inverse(value: int) -> int:
    """1/value, which is value**254: every element but 0 has the order 255 or a divisor of it."""
    result, power = 1, value
    for _ in range(7):
        power = _multiply(power, power)
        result = _multiply(result, power)
    return result
