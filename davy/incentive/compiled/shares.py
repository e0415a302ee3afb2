"""Shares of one run: the k largest, and parts that sum to ONE. See `fixed_point` and `permits`."""

from __future__ import annotations

from davy.incentive.compiled.jit import compiled, inner
from davy.incentive.fixed_point import NARROW_BITS, ONE, ONE_BITS, Bool, Int64

RECIPROCAL_BITS = 62
WORD = (1 << 32) - 1
"""A mask that changes no number it is used on: it tells the compiler that a product takes fewer multiplications."""


@compiled
def reciprocal(total: int) -> int:
    """ceil(2^62 / total), of 1 where the total is 0: what `fixed_point.share_of` multiplies with."""
    divisor = max(total, 1)
    return ((1 << RECIPROCAL_BITS) + divisor - 1) // divisor


@inner
def whole_share(a: int, d: int, factor: int) -> int:
    """floor(a·ONE / d) for a ≤ d < 2^33, with d's `reciprocal`: its product is less than 2 above, so correct twice."""
    quotient = min((a * factor) >> 32, ONE)
    quotient -= quotient * d > a << ONE_BITS
    quotient -= quotient * d > a << ONE_BITS
    return quotient


@inner
def mark_largest(values: Int64, n: int, k: int, last_first: bool, chosen: Bool) -> None:
    """`chosen`: the k largest of n `values` ≥ 0; among equals the lower index first, or the higher with `last_first`.

    Where to cut is found by halving: at least k values reach `low`, and fewer reach `high`.
    """
    low, high, reach = 0, 1, n
    for i in range(n):
        high = max(high, values[i] + 1)
    while high - low > 1 and reach != k:
        middle = (low + high) >> 1
        found = 0
        for i in range(n):
            found += values[i] >= middle
        if found >= k:
            low, reach = middle, found
        else:
            high = middle
    if reach == k:
        for i in range(n):
            chosen[i] = values[i] >= low
        return
    equals = k
    for i in range(n):
        equals -= values[i] > low
    for place in range(n):
        i = n - 1 - place if last_first else place
        chosen[i] = values[i] > low or (values[i] == low and equals > 0)
        equals -= values[i] == low


@inner
def normalise(x: Int64, shares: Int64, remainder: Int64, chosen: Bool) -> None:
    """`fixed_point.normalise`: `narrow`, then `apportion` ONE. The last two are room to work in.

    Zeros that fill a tile get nothing: units go to the largest remainders, and there are fewer units than remainders.
    """
    n, total = len(x), 0
    for i in range(n):
        total += x[i]
    drop = 0
    while total >> drop >= 1 << NARROW_BITS:
        drop += 1
    claimed = 0
    for i in range(n):
        shares[i] = x[i] >> drop
        claimed += shares[i]
    if claimed == 0:
        return
    factor, missing = reciprocal(claimed), ONE
    for i in range(n):
        share = whole_share(shares[i], claimed, factor)
        remainder[i] = (shares[i] << ONE_BITS) - share * claimed
        shares[i] = share
        missing -= share
    mark_largest(remainder, n, missing, False, chosen)
    for i in range(n):
        shares[i] += chosen[i]
