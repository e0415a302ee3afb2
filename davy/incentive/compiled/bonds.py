"""Steps 10 to 13 of Yuma 3, of one run; see `bonds.py` and `yuma3.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import CONSENSUS, INCENTIVE, INCOME, OWN_REGISTERED, REMAINDER, of_run
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.shares import normalise, reciprocal
from davy.incentive.fixed_point import CELL_BITS, ONE, ONE_BITS, U16, Bool, Int64


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
    return signs >= 0


@compiled
def read_u16(held: Int64) -> None:
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            held[i, j] = ((held[i, j] << ONE_BITS) + U16 - 1) // U16


@compiled
def moving_average(held: Int64, target: Int64, alpha: int) -> None:
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            held[i, j] = min(((target[i, j] - held[i, j]) * alpha >> ONE_BITS) + held[i, j], ONE)


@compiled
def liquid_moving_average(held: Int64, target: Int64, consensus: Int64, p: Numbers, sigmoid: Int64) -> None:
    """`bonds.liquid_alpha`, then `moving_average`; `sigmoid` [3, cells] is `fixed_point.sigmoid_cells`."""
    span = p.alpha_high - p.alpha_low
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            b, w = held[i, j], target[i, j]
            x = max(w - consensus[j], 0) if w >= b else b - w
            cell = x >> CELL_BITS
            offset = x - (cell << CELL_BITS) - (1 << (CELL_BITS - 1))
            slope = sigmoid[1, cell] + (sigmoid[2, cell] * offset >> ONE_BITS)
            alpha = p.alpha_low + ((sigmoid[0, cell] + (slope * offset >> ONE_BITS)) * span >> ONE_BITS)
            held[i, j] = min(((w - b) * alpha >> ONE_BITS) + b, ONE)


@compiled
def store(held: Int64, u16: bool, permits: Bool, start: int, stored: Int64) -> None:
    """Step 13, a tile of `bonds.store`, then `bonds.clear`."""
    for i in range(held.shape[0]):
        row, kept = stored[i, start : start + TILE], permits[i]
        for j in range(len(row)):
            row[j] = (((held[i, j] + 4) * U16) >> ONE_BITS if u16 else held[i, j]) if kept else 0


@compiled
def bond_income(held: Int64, factor: Int64, incentive: Int64, income: Int64) -> None:
    """Step 12, adds Σ_j share_ij · I_j of a tile, in Q60; `factor` are the reciprocals of the columns' sums."""
    for j in range(held.shape[1]):
        factor[j] = 0
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            factor[j] += held[i, j]
    for j in range(held.shape[1]):
        factor[j] = reciprocal(factor[j])
    for i in range(held.shape[0]):
        total = 0
        for j in range(held.shape[1]):
            total += ((held[i, j] * factor[j]) >> 32) * incentive[j]
        income[i] += total


@compiled
def yuma3_bonds(run: int, x: Inputs, p: Numbers, sigmoid: Int64, liquid: bool, room: Room, out: Outputs) -> bool:
    """Steps 10 to 13: the stored bonds and the dividends, before `settle`; False for bonds out of their format."""
    bonds, stored_at = x.bonds[run], x.stored_at[of_run(run, len(x.stored_at))]
    registered_at = x.registered_at[of_run(run, len(x.registered_at))]
    self_column = x.self_column[of_run(run, len(x.self_column))]
    held, income, columns = room.held, room.rows[INCOME], room.columns
    permits, stored = out.permits[run], out.bonds[run]
    own_registered = room.rows[OWN_REGISTERED]
    for i in range(len(income)):
        income[i] = 0
        own_registered[i] = registered_at[self_column[i]] if self_column[i] >= 0 else -1
    for t in range(len(room.weights)):
        start, stop, target = t * TILE, t * TILE + TILE, room.weights[t]
        consensus, incentive = columns[CONSENSUS, start:stop], columns[INCENTIVE, start:stop]
        if not standing(bonds, registered_at[start:stop], own_registered, stored_at, start, p.bond_one, held):
            return False
        if p.bond_one == U16:
            read_u16(held)
        if liquid:
            liquid_moving_average(held, target, consensus, p, sigmoid)
        else:
            moving_average(held, target, p.alpha)
        store(held, p.bond_one == U16, permits, start, stored)
        bond_income(held, room.lane[0], incentive, income)
    for i in range(len(income)):
        income[i] = (income[i] >> ONE_BITS) * out.rows[3, run, i]
    normalise(income, len(income), out.rows[0, run], columns[REMAINDER], room.chosen)
    return True
