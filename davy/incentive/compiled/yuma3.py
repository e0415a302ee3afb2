"""Yuma 3, of a range of runs; see `yuma3.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import CONSENSUS, INCENTIVE, INCOME, OWN_REGISTERED, REMAINDER, agree, of_run
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.bonds import bond_income, buy, column_factors, own_registration, standing
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.settlement import settle
from davy.incentive.compiled.shares import normalise
from davy.incentive.fixed_point import ONE_BITS, Int64


@compiled
def yuma3_bonds(run: int, x: Inputs, p: Numbers, sigmoid: Int64, liquid: bool, room: Room, out: Outputs) -> bool:
    """Steps 10 to 13: the stored bonds and the dividends, before `settle`; False for bonds out of their format."""
    bonds, stored_at = x.bonds[run], x.stored_at[of_run(run, len(x.stored_at))]
    registered_at = x.registered_at[of_run(run, len(x.registered_at))]
    self_column = x.self_column[of_run(run, len(x.self_column))]
    held, income, columns = room.held, room.rows[INCOME], room.columns
    permits, stored = out.permits[run], out.bonds[run]
    own_registered, factor = room.rows[OWN_REGISTERED], room.lane[0]
    own_registration(registered_at, self_column, own_registered)
    for i in range(len(income)):
        income[i] = 0
    for t in range(len(room.weights)):
        start, stop, target = t * TILE, t * TILE + TILE, room.weights[t]
        consensus, incentive = columns[CONSENSUS, start:stop], columns[INCENTIVE, start:stop]
        if not standing(bonds, registered_at[start:stop], own_registered, stored_at, start, p.bond_one, held):
            return False
        buy(held, target, consensus, liquid, p, sigmoid, permits, start, stored)
        column_factors(held, factor)
        bond_income(held, factor, incentive, income)
    for i in range(len(income)):
        income[i] = (income[i] >> ONE_BITS) * out.rows[3, run, i]
    normalise(income, len(income), out.rows[0, run], columns[REMAINDER], room.chosen)
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
