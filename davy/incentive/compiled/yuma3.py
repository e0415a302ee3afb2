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
    ALPHA,
    KEPT,
    SUMS,
    bond_income,
    close_block,
    liquid_alpha,
    mixed,
    moving_average,
    open_block,
    read_u16,
    standing_since,
    stands,
    store_row,
)
from davy.incentive.compiled.jit import compiled, inner
from davy.incentive.compiled.lanes import BLOCK, ROW, TILE, U
from davy.incentive.compiled.settlement import settle
from davy.incentive.compiled.shares import normalise
from davy.incentive.fixed_point import ONE_BITS, U16, Int64


@inner
def buy(run: int, x: Inputs, p: Numbers, room: Room, out: Outputs, first: int, last: int) -> bool:
    """Steps 10, 11 and 13 of some tiles: the next bonds, in place of the weights that buy them, and stored.

    False where a stored bond is out of its format: then nothing here is valid.
    """
    rows, tiles, lanes, width = room.rows, room.tiles, room.lanes, room.columns.shape[1]
    n, start, since, signs, known = x.rows, run * x.rows * width, registered(run, x, width), 0, -1
    one, u16, permits = p.bond_one, p.bond_one == U16, out.permits[run]
    bonds, stored, cap = x.bonds, out.bonds, room.cap
    for k in range(n):
        i = rows[ORDER, k]
        if rows[SINCE, i] != known:
            known = rows[SINCE, i]
            stands(x.registered_at, since, known, first, last, lanes)
        for t in range(first, last):
            row, at, lane = U(start) + U(i) * U(width) + U(t) * ROW, (U(t) * U(n) + U(k)) * ROW, U(t - first) * ROW
            columns = U(t) * ROW
            if u16:
                for j in range(TILE):
                    held, c = bonds[row + U(j)], lane + U(j)
                    signs |= held | (one - held)
                    bond, w = read_u16(held) & lanes[c], min(tiles[at + U(j)], cap[columns + U(j)])
                    bond = mixed(bond, w, lanes[KEPT + U(j)], lanes[ALPHA + U(j)])
                    tiles[at + U(j)] = bond
                    lanes[SUMS + c] += bond
                store_row(tiles, at, one, permits[i], stored, row)
            else:
                for j in range(TILE):
                    held, c = bonds[row + U(j)], lane + U(j)
                    signs |= held | (one - held)
                    bond, w = held & lanes[c], min(tiles[at + U(j)], cap[columns + U(j)])
                    bond = mixed(bond, w, lanes[KEPT + U(j)], lanes[ALPHA + U(j)])
                    tiles[at + U(j)] = bond
                    stored[row + U(j)] = bond
                    lanes[SUMS + c] += bond
                if not permits[i]:
                    store_row(tiles, at, one, False, stored, row)
    return signs >= 0


@inner
def buy_liquid(
    run: int, x: Inputs, p: Numbers, sigmoid: Int64, room: Room, out: Outputs, first: int, last: int
) -> bool:
    """The same with α of each pair."""
    rows, tiles, lanes, width = room.rows, room.tiles, room.lanes, room.columns.shape[1]
    n, start, since, one, known = x.rows, run * x.rows * width, registered(run, x, width), p.bond_one, -1
    bonds, stored, cap, consensus = x.bonds, out.bonds, room.cap, room.columns[CONSENSUS]
    for k in range(n):
        i = rows[ORDER, k]
        if rows[SINCE, i] != known:
            known = rows[SINCE, i]
            stands(x.registered_at, since, known, first, last, lanes)
        for t in range(first, last):
            row, at, lane = U(start) + U(i) * U(width) + U(t) * ROW, (U(t) * U(n) + U(k)) * ROW, U(t - first) * ROW
            columns = U(t) * ROW
            signs = 0
            for j in range(TILE):
                signs |= bonds[row + U(j)] | (one - bonds[row + U(j)])
            if signs < 0:  # it would be looked up in a table
                return False
            for j in range(TILE):
                c = lane + U(j)
                bond = (read_u16(bonds[row + U(j)]) if one == U16 else bonds[row + U(j)]) & lanes[c]
                w = min(tiles[at + U(j)], cap[columns + U(j)])
                alpha = liquid_alpha(w, bond, consensus[columns + U(j)], p.alpha_low, p.alpha_high, sigmoid)
                bond = moving_average(bond, w, alpha)
                tiles[at + U(j)] = bond
                lanes[SUMS + c] += bond
            store_row(tiles, at, one, out.permits[run, i], stored, row)
    return True


@compiled
def yuma3(begin: int, end: int, x: Inputs, p: Numbers, sigmoid: Int64, room: Room, out: Outputs) -> bool:
    """`yuma3.yuma3` of the runs from `begin` to before `end`; False where stored bonds are out of their format.

    Whether there is any consensus is known at the end, and there mostly is: where not, α was not liquid, so once more.
    """
    rows, columns, width, tiles = room.rows, room.columns, room.columns.shape[1], room.tiles
    for run in range(begin, end):
        liquid, again, valid = p.liquid, True, True
        while again:
            electorate, greatest = prepare(run, x, p, room, out), 0
            standing_since(run, x, registered(run, x, width), rows[SINCE])
            for first in range(0, width // TILE, BLOCK):
                last = min(first + BLOCK, width // TILE)
                greatest = max(greatest, agree(run, x, p, room, electorate, first, last))
                open_block(p.alpha, room.lanes)
                if liquid:
                    valid = valid and buy_liquid(run, x, p, sigmoid, room, out, first, last)
                else:
                    valid = buy(run, x, p, room, out, first, last) and valid
                close_block(room.lanes, first, last, columns[BOND_FACTOR])
            again = liquid and greatest == 0
            liquid = False
        if not valid:
            return False
        normalise(columns[RANK], columns[INCENTIVE], room.remainder, room.chosen)
        for t in range(width // TILE):
            bond_income(tiles, t * x.rows * TILE, columns[BOND_FACTOR], columns[INCENTIVE], t * TILE, rows[INCOME])
        for k in range(x.rows):
            i = rows[ORDER, k]
            rows[EARNED, i] = (rows[INCOME, k] >> ONE_BITS) * out.rows[3, run, i]
        settle(run, x, room, out)
    return True
