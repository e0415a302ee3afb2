"""The number formats of the incentive and the divisions between them. Integers only.

| format  | one is     | used for |
|---------|------------|----------|
| u16     | 65535      | weights as committed, κ, β, liquid alpha's bounds, cuts and takes, bonds stored for conformance |
| Q30     | 2^30 `ONE` | shares: weights after row-normalisation, consensus, stake shares, bonds, α, incentive, dividends |
| Q45     | 2^45       | sums of products of shares, before they are normalised (15 guard bits) |
| ppm     | 1_000_000  | the moving average of bonds |

Bounds, for n ≤ 4096 = 2^12 rows and columns and a total stake ≤ 2.1·10^16 < 2^55 base units (checked where inputs enter):
share · share ≤ 2^60; a sum of products of two shares of which one sums to ONE ≤ 2^60; share · u16 < 2^46;
a column's sum of shares ≤ 2^42; share · 2^30 ≤ 2^60. All fit int64, whose largest value is 2^63 − 1.

Trap: numpy turns uint64 mixed with int64 into float64. Nothing here is ever unsigned.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

U16 = 65_535
PPM = 1_000_000
ONE_BITS = 30
ONE = 1 << ONE_BITS
GUARD_BITS = 15

MAX_N = 4096
MAX_TOTAL_STAKE = 21_000_000 * 10**9

INT64_BITS = 63


def multiply_divide(a: Int64, b: Int64 | int, d: Int64) -> tuple[Int64, Int64]:
    """floor(a·b / d) and its remainder, exact although a·b may need 117 bits.

    Long division in base 2^k, most significant digit of b first: the remainder r < d and the step r·2^k + a·digit < d·2^(k+1) must
    stay below 2^63, so k = 62 − bits(d). The result does not depend on k.

    Parameters
    ----------
    a, b, d : int64, broadcast together; 0 ≤ a ≤ d < 2^55, 0 ≤ b < 2^62. Where d is 0 the result is (0, 0).
    """
    divisor = np.maximum(d, 1)
    highest = int(np.max(b, initial=0)).bit_length()
    if int(a.max(initial=0)).bit_length() + highest <= INT64_BITS:
        quotient, remainder = np.divmod(a * b, divisor)
        return quotient, remainder
    digit_bits = INT64_BITS - 1 - int(divisor.max(initial=1)).bit_length()
    quotient = remainder = np.zeros_like(a)
    shift = -(-highest // digit_bits) * digit_bits
    while shift:
        shift -= digit_bits
        digit = (b >> shift) & ((1 << digit_bits) - 1)
        step, remainder = np.divmod((remainder << digit_bits) + a * digit, divisor)
        quotient = (quotient << digit_bits) + step
    return quotient, remainder


def apportion(total: Int64 | int, claims: Int64) -> Int64:
    """Split `total` in proportion to `claims`, to the last unit: largest remainder, ties to the lower index (Hamilton's method).

    Each part is floor(total·claim / Σclaims) or one more; the parts sum to `total`, or to 0 where all claims are 0.

    Parameters
    ----------
    total : int64 [...] or int, 0 ≤ total < 2^62.
    claims : int64 [..., N] ≥ 0, N ≤ 4097, Σ < 2^55 along the last axis.
    """
    whole = np.asarray(total, dtype=np.int64)
    claimed = claims.sum(axis=-1, keepdims=True)
    parts, remainder = multiply_divide(claims, whole[..., None] if whole.ndim else int(whole), claimed)
    missing = np.where(claimed[..., 0] > 0, whole, 0) - parts.sum(axis=-1)
    order = np.argsort(-remainder, axis=-1, kind="stable")
    extra = np.arange(claims.shape[-1]) < missing[..., None]
    bonus = np.zeros_like(parts)
    np.put_along_axis(bonus, order, np.broadcast_to(extra, order.shape).astype(np.int64), axis=-1)
    return parts + bonus


def row_normalise(w: Int64) -> Int64:
    """w_ij · ONE / Σ_j w_ij, rounded down: [..., V, M] → Q30; a zero row stays zero. w < 2^33."""
    return (w << ONE_BITS) // np.maximum(w.sum(axis=-1, keepdims=True), 1)


def column_normalise(b: Int64) -> Int64:
    """b_ij · ONE / Σ_i b_ij, rounded down: [..., V, M] → Q30; a zero column stays zero. b < 2^33."""
    return (b << ONE_BITS) // np.maximum(b.sum(axis=-2, keepdims=True), 1)


def column_normalise_wide(b: Int64) -> Int64:
    """`column_normalise` for b ≤ 2^45 whose columns sum below 2^55."""
    return multiply_divide(b, ONE, b.sum(axis=-2, keepdims=True))[0]


def scale(x: Int64, factor: Int64 | int) -> Int64:
    """x · factor / ONE rounded down; |x · factor| < 2^63, factor in Q30."""
    return (x * factor) >> ONE_BITS


def from_u16(x: int) -> int:
    """A u16 proportion as Q30, to the nearest unit (error ≤ 2^-31)."""
    return (2 * x * ONE + U16) // (2 * U16)


def from_ppm(x: int) -> int:
    """Parts per million as Q30, to the nearest unit (error ≤ 2^-31)."""
    return (2 * x * ONE + PPM) // (2 * PPM)


SIGMOID_CELL_BITS = 12
_HALF_CELL = 1 << (ONE_BITS - SIGMOID_CELL_BITS - 1)


@lru_cache(maxsize=16)
def _sigmoid_table(steepness: int) -> tuple[Int64, Int64, Int64]:
    """σ, kσ' and k²σ''/2 at the centre of each of 4096 cells of [0, 1], Q30.

    decimal.exp is correctly rounded by its specification, so the table is the same on every platform.
    """
    rows: list[tuple[int, int, int]] = []
    with localcontext(Context(prec=40)):
        for cell in range((1 << SIGMOID_CELL_BITS) + 1):
            x = Decimal(2 * cell + 1) / Decimal(2 << SIGMOID_CELL_BITS)
            s = 1 / (1 + (-steepness * (x - Decimal("0.5"))).exp())
            slope = steepness * s * (1 - s)
            curve = steepness * slope * (1 - 2 * s) / 2
            rows.append((round(s * ONE), round(slope * ONE), round(curve * ONE)))
    value, slope_column, curve_column = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return value, slope_column, curve_column


def sigmoid(x: Int64, steepness: int) -> Int64:
    """1 / (1 + e^(−k(x − ½))) for x in [0, 1], Q30 → Q30, by a table of 4096 cells and its second-order expansion.

    |error| ≤ 3·2^-30 + k³·4·10^-14: 2.9·10^-9 for k = 10, 4.3·10^-8 for k = 100 (the third derivative of σ is at most k³/8, half a
    cell 2^-13; a test measures it). `steepness` is k, 1 to 100.
    """
    value, slope, curve = _sigmoid_table(steepness)
    cell = x >> (ONE_BITS - SIGMOID_CELL_BITS)
    offset = x - ((cell << (ONE_BITS - SIGMOID_CELL_BITS)) + _HALF_CELL)
    return value[cell] + scale(slope[cell] + scale(curve[cell], offset), offset)
