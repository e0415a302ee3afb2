"""The epoch once more, in float64 and plain loops, from the field's description and without a line of davy's rules.

It reads the same inputs. Where it takes a median, stake is compared as exact integers, for a float cannot decide ties.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import exp

import numpy as np

from davy.incentive.fixed_point import BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Params

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass
class Oracle:
    """What the oracle found; all between 0 and 1. `bonds` are not rounded for storage."""

    active_stake: Vector
    consensus: Vector
    rank: Vector
    validator_trust: Vector
    incentive: Vector
    dividends: Vector
    bonds: Matrix
    permits: list[bool]


def unit_sum(values: Vector) -> Vector:
    return values / values.sum() if values.sum() > 0 else np.zeros_like(values)


def unit_columns(matrix: Matrix) -> Matrix:
    return np.stack([unit_sum(column) for column in matrix.T], axis=1)


def permitted(x: EpochInputs, p: Params) -> list[bool]:
    stake = [int(s) if s >= p.stake_threshold else 0 for s in x.stake]
    sign = -1 if p.permit_tie_to_newer else 1
    best = sorted(range(len(stake)), key=lambda i: (-stake[i], sign * i))[: p.max_validators]
    return [i in best and (stake[i] > 0 or p.permit_zero_stake) for i in range(len(stake))]


def voting_stake(x: EpochInputs, p: Params) -> list[int]:
    return [
        int(s) if s >= p.stake_threshold and permit and updated + p.activity_cutoff >= x.now else 0
        for s, permit, updated in zip(x.stake, x.permits, x.last_update, strict=True)
    ]


def counted(x: EpochInputs, i: int, j: int) -> bool:
    own = x.self_column[i] == j and x.owner_row != i
    fresh = x.registered_at[j] < x.last_update[i] and x.registered_at[j] <= x.earliest_commit[i]
    return bool(x.permits[i] and fresh and not own)


def median(column: list[Fraction], stake: list[int], kappa: int) -> float:
    for w in sorted(set(column)):
        below = sum(s for s, v in zip(stake, column, strict=True) if v <= w)
        if Fraction(below) > (1 - Fraction(kappa, 65535)) * sum(stake):
            return float(w)
    return 0.0


def held_bonds(s: BondState, x: EpochInputs, p: Params) -> Matrix:
    rows, columns = x.weights.shape
    one = 65535 if p.bond_format is BondFormat.U16 else 2**30
    held = np.zeros((rows, columns))
    for i in range(rows):
        own = x.self_column[i]
        row_replaced = own >= 0 and x.registered_at[own] >= x.previous_epoch
        for j in range(columns):
            if not row_replaced and x.registered_at[j] < x.previous_epoch:
                held[i, j] = s.bonds[i, j] / one
    return held


def alpha(w: float, b: float, c: float, p: Params) -> float:
    ahead = max(w - c, 0.0) if w >= b else b - w
    low, high = p.alpha_low / 65535, p.alpha_high / 65535
    return low + (high - low) / (1 + exp(-p.alpha_steepness * (ahead - 0.5)))


def solve(name: str, s: BondState, x: EpochInputs, p: Params) -> Oracle:
    rows, columns = x.weights.shape
    votes = voting_stake(x, p)
    stake = unit_sum(np.array(votes, dtype=np.float64))
    exact: list[list[Fraction]] = []
    for i in range(rows):
        row = [int(x.weights[i, j]) if counted(x, i, j) else 0 for j in range(columns)]
        exact.append([Fraction(w, sum(row)) if sum(row) else Fraction(0) for w in row])
    weights = np.array([[float(w) for w in row] for row in exact])
    consensus = np.array([median([row[j] for row in exact], votes, p.kappa) for j in range(columns)])
    clipped = np.minimum(weights, consensus)
    rank = stake @ clipped
    incentive = unit_sum(rank)
    for_bonds = weights + p.bond_penalty / 65535 * (clipped - weights)
    keep = p.moving_average / 1_000_000
    held = held_bonds(s, x, p)
    if name == "yuma2":
        bonds = unit_columns(keep * unit_columns(held) + (1 - keep) * unit_columns(for_bonds * stake[:, None]))
        dividends = unit_sum(bonds @ incentive)
    else:
        bonds = np.zeros_like(held)
        for i in range(rows):
            for j in range(columns):
                a = 1 - keep
                if p.liquid_alpha and consensus.any():
                    a = alpha(for_bonds[i, j], held[i, j], consensus[j], p)
                bonds[i, j] = min(1.0, (1 - a) * held[i, j] + a * for_bonds[i, j])
        dividends = unit_sum(stake * (unit_columns(bonds) @ incentive))
    return Oracle(stake, consensus, rank, clipped.sum(axis=1), incentive, dividends, bonds, permitted(x, p))
