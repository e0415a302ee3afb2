"""Bonds, a tile of columns at a time; see `bonds.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.shares import WORD, reciprocal
from davy.incentive.fixed_point import CELL_BITS, ONE, ONE_BITS, U16, Bool, Int64


@compiled
def standing_since(registered_at: Int64, self_column: Int64, stored_at: Int64, since: Int64) -> None:
    """Step 10, `bonds.standing`: row i's bonds stand in columns registered before since_i; 0 is before all.

    `stored_at` is of each row, or one for all.
    """
    for i in range(len(self_column)):
        own, stored = self_column[i], stored_at[i if len(stored_at) > 1 else 0]
        replaced = own >= 0 and registered_at[own // TILE, own % TILE] >= stored
        since[i] = 0 if replaced else stored


@compiled
def within(bonds: Int64, first: int, last: int, one: int) -> bool:
    """Whether all bonds of some tiles lie within 0 and `one`."""
    signs = 0
    for i in range(bonds.shape[0]):
        for t in range(first, last):
            for j in range(TILE):
                signs |= bonds[i, t, j] | (one - bonds[i, t, j])
    return signs >= 0


@compiled
def read(stored: int, u16: bool) -> int:
    return ((stored << ONE_BITS) + U16 - 1) // U16 if u16 else stored


@compiled
def store(bond: int, u16: bool) -> int:
    return ((bond + 4) * U16) >> ONE_BITS if u16 else bond


@compiled
def moving_average(bond: int, target: int, alpha: int) -> int:
    return min(((target - bond) * alpha >> ONE_BITS) + bond, ONE)


@compiled
def liquid_alpha(weight: int, bond: int, consensus: int, low: int, high: int, sigmoid: Int64) -> int:
    """`bonds.liquid_alpha` of a pair; `sigmoid` [3, cells] is `fixed_point.sigmoid_cells`."""
    x = max(weight - consensus, 0) if weight >= bond else bond - weight
    cell = x >> CELL_BITS
    offset = x - (cell << CELL_BITS) - (1 << (CELL_BITS - 1))
    slope = sigmoid[1, cell] + (sigmoid[2, cell] * offset >> ONE_BITS)
    return low + ((sigmoid[0, cell] + (slope * offset >> ONE_BITS)) * (high - low) >> ONE_BITS)


@compiled
def clear(tiles: Int64, first: int, last: int, u16: bool, permits: Bool, stored: Int64) -> None:
    """Step 13 from some tiles to rows: `bonds.store`, in u16 if so, then `bonds.clear`."""
    for i in range(stored.shape[0]):
        kept = permits[i]
        for t in range(first, last):
            for j in range(TILE):
                stored[i, t, j] = store(tiles[t, i, j], u16) if kept else 0


@compiled
def column_factors(held: Int64, factor: Int64) -> None:
    """The reciprocals of the columns' sums."""
    for j in range(held.shape[1]):
        factor[j] = 0
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            factor[j] += held[i, j]
    for j in range(held.shape[1]):
        factor[j] = reciprocal(factor[j])


@compiled
def bond_income(held: Int64, factor: Int64, incentive: Int64, income: Int64) -> None:
    """Step 12, adds Σ_j share_ij · I_j of a tile, in Q60: the shares are `column_normalise` of what is held."""
    for i in range(held.shape[0]):
        total = 0
        for j in range(held.shape[1]):
            total += ((((held[i, j] & WORD) * factor[j]) >> 32) & WORD) * (incentive[j] & WORD)
        income[i] += total
