"""Yuma 2, of a range of runs; see `yuma2.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import INCENTIVE, INCOME, SINCE, agree, of_run
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.bonds import clear, column_factors, moving_average, standing_since, within
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.settlement import settle
from davy.incentive.compiled.shares import normalise, reciprocal
from davy.incentive.fixed_point import NARROW_BITS, ONE, ONE_BITS, U16, Int64


@compiled
def whole_share(a: int, d: int, factor: int) -> int:
    """floor(a·ONE / d) for a ≤ d < 2^33, with d's `reciprocal`: its product is less than 2 above, so correct twice."""
    quotient = min((a * factor) >> 32, ONE)
    quotient -= quotient * d > a << ONE_BITS
    quotient -= quotient * d > a << ONE_BITS
    return quotient


@compiled
def standing(bonds: Int64, registered_at: Int64, since: Int64, t: int, held: Int64) -> None:
    """Step 10, a tile of `bonds.standing`."""
    for i in range(bonds.shape[0]):
        for j in range(TILE):
            held[i, j] = bonds[i, t, j] if registered_at[t, j] < since[i] else 0


@compiled
def column_normalise(held: Int64, factor: Int64) -> None:
    column_factors(held, factor)
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            held[i, j] = (held[i, j] * factor[j]) >> 32


@compiled
def bought(w: Int64, stake_share: Int64, total: Int64, drop: Int64, factor: Int64) -> None:
    """`fixed_point.column_normalise_products` of W_b∘S, a tile, in place of W_b."""
    for j in range(w.shape[1]):
        total[j] = factor[j] = 0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            w[i, j] *= stake_share[i]
            total[j] += w[i, j]
    for j in range(w.shape[1]):
        drop[j] = 0
        while total[j] >> drop[j] >= 1 << NARROW_BITS:
            drop[j] += 1
        total[j] = 0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            w[i, j] >>= drop[j]
            total[j] += w[i, j]
    for j in range(w.shape[1]):
        factor[j] = reciprocal(total[j])
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            w[i, j] = whole_share(w[i, j], total[j], factor[j])


@compiled
def upscale(held: Int64, one: int, largest: Int64, factor: Int64, upscaled: Int64) -> None:
    """Step 13, a tile of `bonds.upscale`."""
    for j in range(held.shape[1]):
        largest[j] = 1
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            largest[j] = max(largest[j], held[i, j])
    for j in range(held.shape[1]):
        factor[j] = reciprocal(largest[j])
    for i in range(held.shape[0]):
        if one == U16:
            for j in range(held.shape[1]):
                upscaled[i, j] = (held[i, j] * U16 + (largest[j] >> 5)) // largest[j]
        else:
            for j in range(held.shape[1]):
                upscaled[i, j] = whole_share(held[i, j], largest[j], factor[j])


@compiled
def add_income(held: Int64, incentive: Int64, income: Int64) -> None:
    """Step 12, adds Σ_j B_ij · I_j of a tile, in Q60."""
    for i in range(held.shape[0]):
        for j in range(held.shape[1]):
            income[i] += held[i, j] * incentive[j]


@compiled
def yuma2_bonds(run: int, x: Inputs, p: Numbers, room: Room, out: Outputs) -> bool:
    """Steps 10 to 13: the stored bonds and the dividends, before `settle`; False for bonds out of their format."""
    bonds, stored_at = x.bonds[run], x.stored_at[of_run(run, len(x.stored_at))]
    registered_at = x.registered_at[of_run(run, len(x.registered_at))]
    self_column = x.self_column[of_run(run, len(x.self_column))]
    held, income, since = room.held, room.rows[INCOME], room.rows[SINCE]
    stake_share, factor, total, drop = out.rows[3, run], room.factor, room.total, room.drop
    if not within(bonds, 0, len(room.weights), p.bond_one):
        return False
    standing_since(registered_at, self_column, stored_at, since)
    for i in range(len(income)):
        income[i] = 0
    for t in range(len(room.weights)):
        w = room.weights[t]
        standing(bonds, registered_at, since, t, held)
        column_normalise(held, factor)
        bought(w, stake_share, total, drop, factor)
        for i in range(held.shape[0]):
            for j in range(held.shape[1]):
                held[i, j] = moving_average(held[i, j], w[i, j], p.alpha)
        column_normalise(held, factor)
        add_income(held, room.columns[INCENTIVE, t], income)
        upscale(held, p.bond_one, total, factor, w)
    clear(room.weights, 0, len(room.weights), False, out.permits[run], out.bonds[run])
    for i in range(len(income)):
        income[i] >>= ONE_BITS
    normalise(income, out.rows[0, run], room.remainder, room.chosen)
    return True


@compiled
def yuma2(first: int, last: int, x: Inputs, p: Numbers, sigmoid: Int64, room: Room, out: Outputs) -> bool:
    """`yuma2.yuma2` of the runs from `first` to before `last`; False where stored bonds are out of their format."""
    for run in range(first, last):
        agree(run, x, p, room, out)
        if not yuma2_bonds(run, x, p, room, out):
            return False
        settle(run, x, room, out)
    return True
