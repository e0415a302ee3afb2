"""Bonds, some tiles of columns at a time; see `bonds.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import of_run
from davy.incentive.compiled.arrays import Inputs
from davy.incentive.compiled.jit import compiled, inner
from davy.incentive.compiled.lanes import BLOCK, ROW, TILE, U
from davy.incentive.compiled.shares import WORD, reciprocal
from davy.incentive.fixed_point import CELL_BITS, ONE, ONE_BITS, U16, Int32, Int64

UNSIGNED = (1 << (64 - ONE_BITS)) - 1
"""A mask that changes nothing after a shift by as many bits as ONE has: what was shifted need not have had a sign."""
SUMS, KEPT, ALPHA = U(BLOCK * TILE), U(2 * BLOCK * TILE), U(2 * BLOCK * TILE + TILE)
"""Where they begin in `Room.lanes`, after a mask of the row at work: sums of columns, and 1 − α and α once a lane.

Out of memory a number of 32 bits is known to be one, out of a register it is multiplied as one of 64."""


@inner
def standing_since(run: int, x: Inputs, first: int, since: Int64) -> None:
    """Step 10, `bonds.standing`: row i's bonds stand in columns registered before since_i; 0 is before all.

    The run's registrations begin at `first`.
    """
    own, stored = of_run(run, x.rows, len(x.self_column)), of_run(run, x.rows if x.each else 1, len(x.stored_at))
    for i in range(x.rows):
        column, at = x.self_column[own + i], x.stored_at[stored + (i if x.each else 0)]
        since[i] = 0 if column >= 0 and x.registered_at[first + max(column, 0)] >= at else at


@compiled
def read_u16(stored: int) -> int:
    """`bonds.read` of u16: ceil(b·2^30 / 65535) = b·2^14 + ceil(b·2^14 / 65535), and y // 65535 without a division."""
    y = (stored << 14) + U16 - 1
    return (stored << 14) + ((y + 1 + (y >> 16)) >> 16)


@inner
def store_u16(bond: int) -> int:
    return ((bond + 4) * U16) >> ONE_BITS


@inner
def moving_average(bond: int, target: int, alpha: int) -> int:
    """`bonds.moving_average` for an α that may exceed ONE by a rounding."""
    return min(((target - bond) * alpha >> ONE_BITS) + bond, ONE)


@inner
def mixed(bond: int, target: int, kept: int, alpha: int) -> int:
    """The same for α ≤ ONE, kept = ONE − α: nothing is negative, and no sum of shares of two numbers exceeds both."""
    return (((bond & WORD) * (kept & WORD) + (target & WORD) * (alpha & WORD)) >> ONE_BITS) & UNSIGNED


@inner
def liquid_alpha(weight: int, bond: int, consensus: int, low: int, high: int, sigmoid: Int64) -> int:
    """`bonds.liquid_alpha` of a pair; `sigmoid` [3, cells] is `fixed_point.sigmoid_cells`."""
    x = max(weight - consensus, 0) if weight >= bond else bond - weight
    cell = x >> CELL_BITS
    offset = x - (cell << CELL_BITS) - (1 << (CELL_BITS - 1))
    slope = sigmoid[1, cell] + (sigmoid[2, cell] * offset >> ONE_BITS)
    return max(low + ((sigmoid[0, cell] + (slope * offset >> ONE_BITS)) * (high - low) >> ONE_BITS), 0)


@inner
def open_block(alpha: int, lanes: Int64) -> None:
    """Sums of 0; KEPT and ALPHA."""
    for j in range(BLOCK * TILE):
        lanes[SUMS + U(j)] = 0
    for j in range(TILE):
        lanes[KEPT + U(j)] = ONE - alpha
        lanes[ALPHA + U(j)] = alpha


@inner
def stands(registered_at: Int64, since: int, before: int, first: int, last: int, lanes: Int64) -> None:
    """Step 10, the mask of a row: −1 in columns registered before `before`, in which its bonds stand, else 0."""
    for j in range((last - first) * TILE):
        lanes[U(j)] = -1 if registered_at[U(since) + U(first) * ROW + U(j)] < before else 0


@inner
def close_block(lanes: Int64, first: int, last: int, factor: Int64) -> None:
    """The reciprocals of the sums of columns."""
    for j in range((last - first) * TILE):
        factor[U(first) * ROW + U(j)] = reciprocal(lanes[SUMS + U(j)])


@inner
def column_factors(held: Int64, n: int, factor: Int64, first: int) -> None:
    """The reciprocals of a tile's sums of columns, from `first` on."""
    columns = U(first)
    for j in range(TILE):
        factor[columns + U(j)] = 0
    for k in range(n):
        row = U(k) * ROW
        for j in range(TILE):
            factor[columns + U(j)] += held[row + U(j)]
    for j in range(TILE):
        factor[columns + U(j)] = reciprocal(factor[columns + U(j)])


@inner
def store_row(tiles: Int32, at: U, one: int, permitted: bool, stored: Int64, to: U) -> None:
    """Step 13, a row of a tile: `bonds.store`, then `bonds.clear`."""
    if not permitted:
        for j in range(TILE):
            stored[to + U(j)] = 0
    elif one == U16:
        for j in range(TILE):
            stored[to + U(j)] = store_u16(tiles[at + U(j)])
    else:
        for j in range(TILE):
            stored[to + U(j)] = tiles[at + U(j)]


@inner
def column_share(bond: int, factor: int) -> int:
    """A bond of 32 bits times its column's reciprocal, of up to 62, and floor(product / 2^32)."""
    return (bond & WORD) * ((factor >> 32) & WORD) + (((bond & WORD) * (factor & WORD)) >> 32)


@inner
def bond_income(tiles: Int32, base: int, factor: Int64, incentive: Int64, first: int, income: Int64) -> None:
    """Step 12, adds Σ_j share_ij · I_j of a tile, in Q60: the shares are `column_normalise` of what is held."""
    columns, n = U(first), len(income)
    for k in range(0, n - 3, 4):
        row, t0, t1, t2, t3 = U(base) + U(k) * ROW, 0, 0, 0, 0
        for j in range(TILE):
            at, f, paid = row + U(j), factor[columns + U(j)], incentive[columns + U(j)] & WORD
            t0 += (column_share(tiles[at], f) & WORD) * paid
            t1 += (column_share(tiles[at + ROW], f) & WORD) * paid
            t2 += (column_share(tiles[at + U(2) * ROW], f) & WORD) * paid
            t3 += (column_share(tiles[at + U(3) * ROW], f) & WORD) * paid
        income[k] += t0
        income[k + 1] += t1
        income[k + 2] += t2
        income[k + 3] += t3
    for k in range(n & ~3, n):
        row, t0 = U(base) + U(k) * ROW, 0
        for j in range(TILE):
            t0 += (column_share(tiles[row + U(j)], factor[columns + U(j)]) & WORD) * (incentive[columns + U(j)] & WORD)
        income[k] += t0
