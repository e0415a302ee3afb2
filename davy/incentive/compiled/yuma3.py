"""Yuma 3, of a range of runs; see `yuma3.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import (
    BOND_FACTOR,
    CONSENSUS,
    EARNED,
    INCENTIVE,
    INCOME,
    ORDER,
    RANK,
    SINCE,
    agree,
    prepare,
    registered,
)
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.bonds import (
    bond_income,
    clear,
    column_factors,
    liquid_alpha,
    mixed,
    moving_average,
    read_u16,
    standing_since,
)
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import BLOCK, ROW, TILE, U
from davy.incentive.compiled.settlement import settle
from davy.incentive.compiled.shares import normalise
from davy.incentive.fixed_point import ONE, ONE_BITS, U16, Int32, Int64


@compiled
def buy(
    bonds: Int64, start: int, width: int, registered_at: Int64, since: int, rows: Int64, first: int, last: int,
    p: Numbers, tiles: Int32,
) -> bool:  # fmt: skip
    """Steps 10 and 11 of some tiles: the next bonds, in place of the weights that buy them; False as `buy_liquid`."""
    n, signs, one, kept, alpha = rows.shape[1], 0, p.bond_one, ONE - p.alpha, p.alpha
    for k in range(n):
        i = rows[ORDER, k]
        stands_before = rows[SINCE, i]
        for t in range(first, last):
            row, columns = U(start) + U(i) * U(width) + U(t) * ROW, U(since) + U(t) * ROW
            to = (U(t) * U(n) + U(k)) * ROW
            if one == U16:
                for j in range(TILE):
                    stored = bonds[row + U(j)]
                    signs |= stored | (one - stored)
                    bond = read_u16(stored) if registered_at[columns + U(j)] < stands_before else 0
                    tiles[to + U(j)] = mixed(bond, tiles[to + U(j)], kept, alpha)
            else:
                for j in range(TILE):
                    stored = bonds[row + U(j)]
                    signs |= stored | (one - stored)
                    bond = stored if registered_at[columns + U(j)] < stands_before else 0
                    tiles[to + U(j)] = mixed(bond, tiles[to + U(j)], kept, alpha)
    return signs >= 0


@compiled
def buy_liquid(
    bonds: Int64, start: int, width: int, registered_at: Int64, since: int, rows: Int64, first: int, last: int,
    p: Numbers, consensus: Int64, sigmoid: Int64, tiles: Int32,
) -> bool:  # fmt: skip
    """The same with α of each pair. False where a stored bond is out of its format: then nothing here is valid."""
    n, one = rows.shape[1], p.bond_one
    for k in range(n):
        i = rows[ORDER, k]
        stands_before = rows[SINCE, i]
        for t in range(first, last):
            row, columns = U(start) + U(i) * U(width) + U(t) * ROW, U(since) + U(t) * ROW
            to, signs = (U(t) * U(n) + U(k)) * ROW, 0
            for j in range(TILE):
                stored = bonds[row + U(j)]
                signs |= stored | (one - stored)
            if signs < 0:
                return False
            for j in range(TILE):
                stored = bonds[row + U(j)]
                bond = read_u16(stored) if one == U16 else stored
                bond = bond if registered_at[columns + U(j)] < stands_before else 0
                w = tiles[to + U(j)]
                alpha = liquid_alpha(w, bond, consensus[U(t) * ROW + U(j)], p.alpha_low, p.alpha_high, sigmoid)
                tiles[to + U(j)] = moving_average(bond, w, alpha)
    return True


@compiled
def yuma3_run(run: int, x: Inputs, p: Numbers, sigmoid: Int64, liquid: bool, room: Room, out: Outputs) -> int:
    """Steps 1 to 12; the greatest C, or −1 for stored bonds out of their format."""
    rows, columns, width, tiles = room.rows, room.columns, room.columns.shape[1], room.tiles
    electorate, greatest = prepare(run, x, p, room, out), 0
    start, since = run * x.rows * width, registered(run, x, width)
    standing_since(run, x, since, rows[SINCE])
    for first in range(0, width // TILE, BLOCK):
        last = min(first + BLOCK, width // TILE)
        greatest = max(greatest, agree(run, x, p, room, electorate, first, last))
        if liquid:
            valid = buy_liquid(
                x.bonds, start, width, x.registered_at, since, rows, first, last, p, columns[CONSENSUS], sigmoid, tiles
            )  # fmt: skip
        else:
            valid = buy(x.bonds, start, width, x.registered_at, since, rows, first, last, p, tiles)
        if not valid:
            return -1
        for t in range(first, last):
            column_factors(tiles, t * x.rows * TILE, x.rows, columns[BOND_FACTOR], t * TILE)
        clear(tiles, rows[ORDER], first, last, p.bond_one == U16, out.permits[run], out.bonds, start, width)
    normalise(columns[RANK], columns[INCENTIVE], room.remainder, room.chosen)
    for t in range(width // TILE):
        bond_income(tiles, t * x.rows * TILE, columns[BOND_FACTOR], columns[INCENTIVE], t * TILE, rows[INCOME])
    return greatest


@compiled
def yuma3(begin: int, end: int, x: Inputs, p: Numbers, sigmoid: Int64, room: Room, out: Outputs) -> bool:
    """`yuma3.yuma3` of the runs from `begin` to before `end`; False where stored bonds are out of their format.

    Whether there is any consensus is known at the end, and there mostly is: where not, α was not liquid, so once more.
    """
    for run in range(begin, end):
        greatest = yuma3_run(run, x, p, sigmoid, p.liquid, room, out)
        if p.liquid and greatest == 0:
            greatest = yuma3_run(run, x, p, sigmoid, False, room, out)
        if greatest < 0:
            return False
        income, share = room.rows[INCOME], out.rows[3, run]
        for k in range(x.rows):
            i = room.rows[ORDER, k]
            room.rows[EARNED, i] = (income[k] >> ONE_BITS) * share[i]
        settle(run, x, room, out)
    return True
