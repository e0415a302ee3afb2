"""Yuma 3, of a range of runs; see `yuma3.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import CONSENSUS, INCENTIVE, INCOME, SINCE, agree, of_run
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.bonds import (
    bond_income,
    clear,
    column_factors,
    liquid_alpha,
    moving_average,
    read,
    standing_since,
    within,
)
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import BLOCK, TILE
from davy.incentive.compiled.settlement import settle
from davy.incentive.compiled.shares import normalise
from davy.incentive.fixed_point import ONE_BITS, U16, Int64


@compiled
def buy(bonds: Int64, registered_at: Int64, since: Int64, first: int, last: int, p: Numbers, tiles: Int64) -> None:
    """Steps 10 and 11 of some tiles: the next bonds, in place of the weights that buy them."""
    u16 = p.bond_one == U16
    for i in range(bonds.shape[0]):
        for t in range(first, last):
            if u16:
                for j in range(TILE):
                    bond = read(bonds[i, t, j], True) if registered_at[t, j] < since[i] else 0
                    tiles[t, i, j] = moving_average(bond, tiles[t, i, j], p.alpha)
            else:
                for j in range(TILE):
                    bond = bonds[i, t, j] if registered_at[t, j] < since[i] else 0
                    tiles[t, i, j] = moving_average(bond, tiles[t, i, j], p.alpha)


@compiled
def buy_liquid(
    bonds: Int64, registered_at: Int64, since: Int64, consensus: Int64, first: int, last: int, p: Numbers,
    sigmoid: Int64, tiles: Int64,
) -> None:  # fmt: skip
    """The same with α of each pair."""
    for i in range(bonds.shape[0]):
        for t in range(first, last):
            for j in range(TILE):
                bond = read(bonds[i, t, j], p.bond_one == U16) if registered_at[t, j] < since[i] else 0
                w = tiles[t, i, j]
                alpha = liquid_alpha(w, bond, consensus[t, j], p.alpha_low, p.alpha_high, sigmoid)
                tiles[t, i, j] = moving_average(bond, w, alpha)


@compiled
def yuma3_bonds(run: int, x: Inputs, p: Numbers, sigmoid: Int64, liquid: bool, room: Room, out: Outputs) -> bool:
    """Steps 10 to 13: the stored bonds and the dividends, before `settle`; False for bonds out of their format."""
    bonds, stored_at = x.bonds[run], x.stored_at[of_run(run, len(x.stored_at))]
    registered_at = x.registered_at[of_run(run, len(x.registered_at))]
    self_column = x.self_column[of_run(run, len(x.self_column))]
    tiles, income, columns, factor = room.weights, room.rows[INCOME], room.columns, room.factor
    since, consensus = room.rows[SINCE], columns[CONSENSUS]
    standing_since(registered_at, self_column, stored_at, since)
    for i in range(len(income)):
        income[i] = 0
    for first in range(0, len(tiles), BLOCK):
        last = min(first + BLOCK, len(tiles))
        if not within(bonds, first, last, p.bond_one):
            return False
        if liquid:
            buy_liquid(bonds, registered_at, since, consensus, first, last, p, sigmoid, tiles)
        else:
            buy(bonds, registered_at, since, first, last, p, tiles)
        for t in range(first, last):
            column_factors(tiles[t], factor)
            bond_income(tiles[t], factor, columns[INCENTIVE, t], income)
        clear(tiles, first, last, p.bond_one == U16, out.permits[run], out.bonds[run])
    for i in range(len(income)):
        income[i] = (income[i] >> ONE_BITS) * out.rows[3, run, i]
    normalise(income, out.rows[0, run], room.remainder, room.chosen)
    return True


@compiled
def yuma3(first: int, last: int, x: Inputs, p: Numbers, sigmoid: Int64, room: Room, out: Outputs) -> bool:
    """`yuma3.yuma3` of the runs from `first` to before `last`; False where stored bonds are out of their format."""
    for run in range(first, last):
        greatest = agree(run, x, p, room, out)
        if not yuma3_bonds(run, x, p, sigmoid, p.liquid and greatest > 0, room, out):
            return False
        settle(run, x, room, out)
    return True
