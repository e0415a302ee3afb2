"""Yuma 2, of a range of runs; see `yuma2.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import (
    BOND_FACTOR,
    EARNED,
    INCENTIVE,
    INCOME,
    ORDER,
    ORDERED_SHARE,
    RANK,
    SINCE,
    agree,
    prepare,
    registered,
)
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.bonds import column_factors, mixed, standing_since, store_row
from davy.incentive.compiled.jit import compiled, inner
from davy.incentive.compiled.lanes import BLOCK, ROW, TILE, U
from davy.incentive.compiled.settlement import settle
from davy.incentive.compiled.shares import WORD, normalise, reciprocal, whole_share
from davy.incentive.fixed_point import NARROW_BITS, ONE, ONE_BITS, U16, Int32, Int64


@inner
def standing(run: int, x: Inputs, since: int, rows: Int64, width: int, t: int, one: int, held: Int64) -> bool:
    """Step 10, a tile of `bonds.standing`; False where a stored bond is not within 0 and `one`."""
    n, signs = rows.shape[1], 0
    for k in range(n):
        i = rows[ORDER, k]
        stands_before = rows[SINCE, i]
        row, columns, to = (U(run) * U(n) + U(i)) * U(width) + U(t) * ROW, U(since) + U(t) * ROW, U(k) * ROW
        for j in range(TILE):
            stored = x.bonds[row + U(j)]
            signs |= stored | (one - stored)
            held[to + U(j)] = stored if x.registered_at[columns + U(j)] < stands_before else 0
    return signs >= 0


@inner
def column_normalise(held: Int64, n: int, factor: Int64, first: int) -> None:
    """`fixed_point.column_normalise` of a tile; its factors begin at `first`."""
    column_factors(held, n, factor, first)
    for k in range(n):
        for j in range(TILE):
            at = U(k) * ROW + U(j)
            held[at] = ((held[at] & WORD) * factor[U(first) + U(j)]) >> 32


@inner
def buy(
    w: Int32, base: int, cap: Int32, first: int, share: Int64, total: Int64, drop: Int64, factor: Int64, bought: Int64
) -> None:
    """`fixed_point.column_normalise_products` of W_b∘S, of a tile; total, drop and factor are room to work in."""
    n = len(share)
    for j in range(TILE):
        total[j] = 0
    for k in range(n):
        for j in range(TILE):
            at = U(k) * ROW + U(j)
            bought[at] = (min(w[U(base) + at], cap[U(first) + U(j)]) & WORD) * (share[k] & WORD)
            total[j] += bought[at]
    for j in range(TILE):
        drop[j] = 0
        while total[j] >> drop[j] >= 1 << NARROW_BITS:
            drop[j] += 1
        total[j] = 0
    for k in range(n):
        for j in range(TILE):
            at = U(k) * ROW + U(j)
            bought[at] >>= drop[j]
            total[j] += bought[at]
    for j in range(TILE):
        factor[j] = reciprocal(total[j])
    for k in range(n):
        for j in range(TILE):
            at = U(k) * ROW + U(j)
            bought[at] = whole_share(bought[at], total[j], factor[j])


@inner
def move(held: Int64, bought: Int64, alpha: int) -> None:
    """Step 11: the next bonds in place of those held."""
    kept = ONE - alpha
    for i in range(len(held)):
        held[i] = mixed(held[i], bought[i], kept, alpha)


@inner
def add_income(held: Int64, incentive: Int64, first: int, income: Int64) -> None:
    """Step 12, adds Σ_j B_ij · I_j of a tile, in Q60."""
    for k in range(len(income)):
        total = 0
        for j in range(TILE):
            total += (held[U(k) * ROW + U(j)] & WORD) * (incentive[U(first) + U(j)] & WORD)
        income[k] += total


@inner
def upscale(held: Int64, n: int, one: int, largest: Int64, factor: Int64, tiles: Int32, base: int) -> None:
    """Step 13, a tile of `bonds.upscale`, from `held` to `tiles`."""
    for j in range(TILE):
        largest[j] = 1
    for k in range(n):
        for j in range(TILE):
            largest[j] = max(largest[j], held[U(k) * ROW + U(j)])
    for j in range(TILE):
        factor[j] = reciprocal(largest[j])
    for k in range(n):
        at = U(k) * ROW
        if one == U16:
            for j in range(TILE):
                tiles[U(base) + at + U(j)] = (held[at + U(j)] * U16 + (largest[j] >> 5)) // largest[j]
        else:
            for j in range(TILE):
                tiles[U(base) + at + U(j)] = whole_share(held[at + U(j)], largest[j], factor[j])


@inner
def yuma2_bonds(run: int, x: Inputs, p: Numbers, room: Room, out: Outputs) -> bool:
    """Steps 10 to 13: the stored bonds, and what rows earned; False for bonds out of their format."""
    rows, columns, width, tiles, held = room.rows, room.columns, room.columns.shape[1], room.tiles, room.held
    since, factor, incentive = registered(run, x, width), columns[BOND_FACTOR], columns[INCENTIVE]
    standing_since(run, x, since, rows[SINCE])
    for first in range(0, width, TILE):
        base = first * x.rows
        if not standing(run, x, since, rows, width, first // TILE, p.bond_one, held):
            return False
        column_normalise(held, x.rows, factor, first)
        buy(tiles, base, room.cap, first, rows[ORDERED_SHARE], room.below[0], room.below[1], room.below[2], room.bought)
        move(held, room.bought, p.alpha)
        column_normalise(held, x.rows, factor, first)
        add_income(held, incentive, first, rows[INCOME])
        upscale(held, x.rows, p.bond_one, room.below[0], room.below[2], tiles, base)
    for k in range(x.rows):
        i = rows[ORDER, k]
        for t in range(width // TILE):
            at, to = (U(t) * U(x.rows) + U(k)) * ROW, (U(run) * U(x.rows) + U(i)) * U(width) + U(t) * ROW
            store_row(tiles, at, ONE, out.permits[run, i], out.bonds, to)
        rows[EARNED, i] = rows[INCOME, k] >> ONE_BITS
    return True


@compiled
def yuma2(begin: int, end: int, x: Inputs, p: Numbers, sigmoid: Int64, room: Room, out: Outputs) -> bool:
    """`yuma2.yuma2` of the runs from `begin` to before `end`; False where stored bonds are out of their format."""
    for run in range(begin, end):
        electorate = prepare(run, x, p, room, out)
        tiles = room.columns.shape[1] // TILE
        for first in range(0, tiles, BLOCK):
            agree(run, x, p, room, electorate, first, min(first + BLOCK, tiles))
        normalise(room.columns[RANK], room.columns[INCENTIVE], room.remainder, room.chosen)
        if not yuma2_bonds(run, x, p, room, out):
            return False
        settle(run, x, room, out)
    return True
