"""Bonds, a tile of columns at a time; see `bonds.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.arrays import Numbers
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.shares import reciprocal
from davy.incentive.fixed_point import CELL_BITS, ONE, ONE_BITS, U16, Bool, Int64


@compiled
def own_registration(registered_at: Int64, self_column: Int64, own_registered: Int64) -> None:
    """When each row's own column registered; −1 where it has none."""
    for i in range(len(self_column)):
        own_registered[i] = registered_at[self_column[i]] if self_column[i] >= 0 else -1


@compiled
def standing(
    bonds: Int64, registered_at: Int64, own_registered: Int64, stored_at: Int64, start: int, one: int, held: Int64
) -> bool:
    """Step 10, a tile of `bonds.standing`; whether all bonds, standing or not, lie within 0 and `one`.

    `registered_at` is that of the tile's columns; `stored_at` is of each row, or one for all.
    """
    width, signs = len(registered_at), 0
    for i in range(bonds.shape[0]):
        since = stored_at[i if len(stored_at) > 1 else 0]
        if own_registered[i] >= since:
            since = 0
        row = bonds[i, start : start + width]
        for j in range(width):
            signs |= row[j] | (one - row[j])
            held[i, j] = row[j] if registered_at[j] < since else 0
        for j in range(width, TILE):
            held[i, j] = 0
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
def buy(
    held: Int64, target: Int64, consensus: Int64, liquid: bool, p: Numbers, sigmoid: Int64, permits: Bool, start: int,
    stored: Int64,
) -> None:  # fmt: skip
    """Steps 11 and 13 of Yuma 3 of a tile: from stored bonds in `held` to the next ones, there in Q30 and in `stored`."""
    u16 = p.bond_one == U16
    for i in range(held.shape[0]):
        row, kept = stored[i, start : start + TILE], permits[i]
        if liquid:
            for j in range(held.shape[1]):
                bond = read(held[i, j], u16)
                alpha = liquid_alpha(target[i, j], bond, consensus[j], p.alpha_low, p.alpha_high, sigmoid)
                held[i, j] = moving_average(bond, target[i, j], alpha)
        elif u16:
            for j in range(held.shape[1]):
                held[i, j] = moving_average(read(held[i, j], True), target[i, j], p.alpha)
        else:
            for j in range(held.shape[1]):
                held[i, j] = moving_average(held[i, j], target[i, j], p.alpha)
        for j in range(len(row)):
            row[j] = store(held[i, j], u16) if kept else 0


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
            total += ((held[i, j] * factor[j]) >> 32) * incentive[j]
        income[i] += total
