"""The number formats of the incentive, and the few ways in which it rounds. Integers only.

=======  =============  ========================================================================================
format   one is         used for
=======  =============  ========================================================================================
u16      65535          weights as committed, κ, β, liquid alpha's bounds, cuts, takes, bonds stored for conformance
Q30      2^30 (`ONE`)   shares: normalised weights, consensus, active stake, bonds, α, incentive, dividends
Q60      2^60           products of two shares, before they are normalised
ppm      1_000_000      the moving average of bonds
=======  =============  ========================================================================================

Bounds, for at most 4096 = 2^12 rows and columns, a total stake ≤ 2.1·10^16 < 2^55 base units and a row's weights
< 2^32 in total (all checked at the door): a share times a share ≤ 2^60, and so is a sum of such products when one of
the factors sums to ONE; a column's sum of shares ≤ 2^42. All fit int64, whose largest value is 2^63 − 1.

Trap: numpy turns uint64 mixed with int64 into float64. Nothing here is ever unsigned but weights as they come in, which
become int64 before they are added up.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Int16 = NDArray[np.int16]
UInt16 = NDArray[np.uint16]
Weights = NDArray[np.int64 | np.uint16]
Bool = NDArray[np.bool_]

U16 = 65_535
PPM = 1_000_000
ONE_BITS = 30
ONE = 1 << ONE_BITS

MAX_N = 4096
MAX_TOTAL_STAKE = 21_000_000 * 10**9
MAX_AMOUNT = 1 << 60

NARROW_BITS = 33
"""A sum below 2^33 may be multiplied by ONE."""
_PACKED = 1 << 50
"""`largest` has room for smaller remainders."""
_WIDTHS = np.array([1 << bits for bits in range(NARROW_BITS, 63)], dtype=np.int64)


class BondFormat(IntEnum):
    """How bonds are stored, by format id.

    U16 is subtensor's. It stalls: the floor eats every step below 1/65535, so a bond stays up to 1/α units short of its
    goal, and a small one never leaves 0. U32 keeps the Q30 number of the arithmetic in a 32-bit word, as it is.
    """

    U16 = 1
    U32 = 2

    @property
    def one(self) -> int:
        """What stands for a bond of 1."""
        return U16 if self is BondFormat.U16 else ONE


def multiply_divide(a: Int64, b: Int64 | int, d: Int64) -> tuple[Int64, Int64]:
    """floor(a·b / d) and its remainder, exact although a·b may need 117 bits; (0, 0) where d is 0.

    Long division with b's digits in base 2^k, the highest first: each step divides r·2^k + a·digit, which is below
    d·2^(k+1) because r < d and a ≤ d, so k = 62 − bits(d) keeps it below 2^63. The result does not depend on k.

    Parameters
    ----------
    a, b, d : broadcast together; 0 ≤ a ≤ d < 2^55, 0 ≤ b < 2^62.
    """
    divisor = np.maximum(d, 1)
    greatest = b if isinstance(b, int) else int(b.max())
    if int(a.max()) * greatest < 1 << 63:
        return np.divmod(a * b, divisor)
    digit_bits = 62 - int(divisor.max()).bit_length()
    shift = -(-greatest.bit_length() // digit_bits) * digit_bits
    quotient = remainder = np.zeros_like(a)
    while shift:
        shift -= digit_bits
        digit = (b >> shift) & ((1 << digit_bits) - 1)
        step, remainder = np.divmod((remainder << digit_bits) + a * digit, divisor)
        quotient = (quotient << digit_bits) + step
    return quotient, remainder


@lru_cache(maxsize=64)
def _downwards(last: int) -> Int64:
    numbers = np.arange(last, -1, -1, dtype=np.int64)
    numbers.flags.writeable = False
    return numbers


def largest(remainder: Int64, count: Int64) -> Bool:
    """The `count` [..., 1] largest of each row of remainders [..., N], ties to the lower index.

    Remainder and index are packed in one integer, so that no two are alike and one sort finds where to cut;
    0 ≤ count < N ≤ 8192, remainders are below 2^50.
    """
    last = remainder.shape[-1] - 1
    packed = remainder << 13
    packed |= _downwards(last)
    ordered = np.sort(packed, axis=-1)
    ends = np.arange(last, ordered.size, last + 1, dtype=np.int64).reshape(count.shape)
    return packed > ordered.take(ends - count)


def apportion(total: Int64 | int, claims: Int64) -> Int64:
    """Split `total` in proportion to `claims`, to the last unit: largest remainder, ties to the lower index (Hamilton).

    Each part is floor(total·claim / Σclaims) or one more; parts sum to `total`, or to 0 where all claims are 0.

    Parameters
    ----------
    total : int64 [...] or int, 0 ≤ total < 2^62.
    claims : int64 [..., N] ≥ 0, N ≤ 4097, with a sum below 2^55.
    """
    claimed = claims.sum(axis=-1, keepdims=True)
    each = total if isinstance(total, int) else total[..., None]
    parts, remainder = multiply_divide(claims, each, claimed)
    missing = (claimed > 0) * each - parts.sum(axis=-1, keepdims=True)
    if int(claimed.max()) <= _PACKED:  # remainders are smaller: one sort finds them
        return parts + largest(remainder, missing)
    place = np.argsort(np.argsort(-remainder, axis=-1, kind="stable"), axis=-1, kind="stable")
    return parts + (place < missing)


def narrow(x: Int64, total: Int64) -> Int64:
    """Numbers x whose `total` ≤ 2^60 is brought below 2^33 by dropping low bits, the same count for all of a total.

    Each loses less than 2^-32 of the total. The count is 0 where the total is below 2^33 already.
    """
    return x >> _WIDTHS.searchsorted(total, side="right")


def normalise(x: Int64) -> Int64:
    """Shares x / Σx, [..., N] in Q30, that sum to ONE exactly, or all 0; Σx ≤ 2^60.

    |error| ≤ 2^-30 + (1 + N·share)·2^-32: a unit for the remainder, and what `narrow` drops. It is `apportion` of ONE,
    where a product needs no more than 63 bits, nor a remainder more than 33.
    """
    narrowed = narrow(x, x.sum(axis=-1, keepdims=True))
    divisor = np.maximum(narrowed.sum(axis=-1, keepdims=True), 1)
    parts, remainder = np.divmod(narrowed << ONE_BITS, divisor)
    missing = remainder.sum(axis=-1, keepdims=True) // divisor  # Σ remainder = (ONE − Σ parts) · Σ claims
    parts += largest(remainder, missing)
    return parts


def share_of(x: Int64, total: Int64) -> Int64:
    """X / total in Q30 by the total's reciprocal: one division a total instead of one an element.

    (x · ceil(2^62 / total)) >> 32 is floor(x·ONE / total) or one above it, and exactly ONE for x = total; 0 where the
    total is 0. Bounds: x ≤ total ≤ 2^44 and x ≤ 2^32, so the product is at most 2^62 + x.
    """
    divisor = np.maximum(total, 1)
    shares = x * -(-(1 << 62) // divisor)
    shares >>= 32
    return shares


def row_normalise(w: Int64) -> Int64:
    """w_ij / Σ_j w_ij, [..., V, M] in Q30; a zero row stays zero. Rows sum below 2^32."""
    return share_of(w, w.sum(axis=-1, keepdims=True))


def column_normalise(b: Int64) -> Int64:
    """b_ij / Σ_i b_ij, [..., V, M] in Q30; a zero column stays zero. b ≤ ONE."""
    return share_of(b, b.sum(axis=-2, keepdims=True))


def column_normalise_products(b: Int64) -> Int64:
    """`column_normalise` of numbers in Q60 whose columns sum to 2^60 at most; |error| ≤ 2^-30 + (1 + V·share)·2^-32."""
    narrowed = narrow(b, b.sum(axis=-2, keepdims=True))
    return multiply_divide(narrowed, ONE, narrowed.sum(axis=-2, keepdims=True))[0]


def from_u16(x: int) -> int:
    """A u16 proportion in Q30, to the nearest unit."""
    return (2 * x * ONE + U16) // (2 * U16)


def from_ppm(x: int) -> int:
    """Parts per million in Q30, to the nearest unit."""
    return (2 * x * ONE + PPM) // (2 * PPM)


CELL_BITS = ONE_BITS - 12
"""The sigmoid's table has 2^12 cells of 2^18 units."""


@lru_cache(maxsize=100)
def sigmoid_cells(steepness: int) -> tuple[Int64, Int64, Int64]:
    """σ, dσ/dx and d²σ/dx² / 2 at the centre of each cell of [0, 1] (and of one beyond, for x = 1), Q30.

    Decimal's exp is correctly rounded by its specification, so the table is the same on every platform.
    """
    rows: list[tuple[int, int, int]] = []
    with localcontext(Context(prec=40)):
        for cell in range((1 << 12) + 1):
            distance = Decimal(2 * cell + 1) / (2 << 12) - Decimal("0.5")
            value = 1 / (1 + (-steepness * distance).exp())
            slope = steepness * value * (1 - value)
            bend = steepness * slope * (1 - 2 * value) / 2
            rows.append((round(value * ONE), round(slope * ONE), round(bend * ONE)))
    table = np.array(rows, dtype=np.int64).T.copy()
    table.flags.writeable = False
    return table[0], table[1], table[2]


def sigmoid(x: Int64, steepness: int) -> Int64:
    """1 / (1 + e^(−k(x − ½))) for x in [0, 1], Q30 to Q30, by a table of 4096 cells and its second-order expansion.

    |error| ≤ 3·2^-30 + k³·4·10^-14, for k = 10: 2.9·10^-9, for k = 100: 4.3·10^-8. The second term is the third
    derivative, at most k³/8, times the cube of half a cell, over 6. `steepness` is k, an integer of 1 to 100.
    """
    value, slope, bend = sigmoid_cells(steepness)
    cell = x >> CELL_BITS
    offset = x - (cell << CELL_BITS) - (1 << (CELL_BITS - 1))
    return value[cell] + ((slope[cell] + ((bend[cell] * offset) >> ONE_BITS)) * offset >> ONE_BITS)
