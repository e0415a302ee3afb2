"""Bonds: what a validator holds in a miner, from epochs of weighing it before the others did."""

from __future__ import annotations

import numpy as np

from davy.incentive import masks
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, ONE_BITS, U16, BondFormat, Bool, Int64, sigmoid
from davy.incentive.mechanism import BondState, EpochInputs


def standing(s: BondState, x: EpochInputs, form: BondFormat) -> Int64:
    """Stored bonds without those of pairs of which a side changed hands since they were stored.

    Raises
    ------
    BadInput
        The state is of another shape than the inputs, or its bonds are not int64 within their format.
    """
    if s.bonds.shape != x.weights.shape:
        raise BadInput(f"bonds have shape {s.bonds.shape}, weights {x.weights.shape}: make room with BondState.resized")
    if s.bonds.dtype != np.int64:
        raise BadInput(f"bonds are {s.bonds.dtype}; they must be int64")
    if s.bonds.min() < 0 or s.bonds.max() > form.one:
        raise BadInput(f"bonds in {form.name} must lie within 0 to {form.one}")
    stored_at = x.previous_epoch[..., None] if x.bonds_at is None else x.bonds_at
    if x.registered_at.max() < stored_at.min():
        return s.bonds
    standing = s.bonds * (x.registered_at[..., None, :] < stored_at[..., :, None]).astype(np.int64)
    if (x.self_column >= 0).any():
        rows = masks.own_column(x.registered_at, x.self_column, -1) < stored_at
        standing *= rows[..., :, None]
    return standing


def read(stored: Int64, form: BondFormat) -> Int64:
    """Stored bonds in Q30, rounded up, so that `store` of what was read gives the same bits back."""
    return stored if form is BondFormat.U32 else ((stored << ONE_BITS) + U16 - 1) // U16


def store(bonds: Int64, form: BondFormat) -> Int64:
    """Q30 bonds in the stored format, rounded down.

    In u16 after granting four units of Q30, which is more than `read`, the weights and `moving_average` round away: a
    bond that comes to a whole unit exactly is stored as that, not as one less.
    """
    return bonds if form is BondFormat.U32 else ((bonds + 4) * U16) >> ONE_BITS


def upscale(bonds: Int64, form: BondFormat) -> Int64:
    """b_ij / max_i b_ij in the stored format, rounded down: Yuma 2 stores a column relative to its largest bond.

    In u16 a thirty-second of a unit is granted before rounding down, which is more than Q30 loses for up to 160 rows:
    a column that nobody buys into keeps its bonds, where subtensor's lose a whole unit each epoch.
    """
    largest = np.maximum(bonds.max(axis=-2, keepdims=True), 1)
    grace = largest >> 5 if form is BondFormat.U16 else 0
    return (bonds * form.one + grace) // largest


def clear(stored: Int64, permits: Bool) -> Int64:
    """Bonds [..., V, M] of the rows that hold a permit [..., V] from now on; the others lose theirs."""
    return stored if permits.all() else stored * permits[..., :, None].astype(np.int64)


def liquid_alpha(weights: Int64, bonds: Int64, consensus: Int64, *, low: int, high: int, steepness: int) -> Int64:
    """α_ij = lo + σ(k(d_ij − ½))·(hi − lo), [..., V, M]; everything but k in Q30.

    d is how far the validator is ahead: W − C where it buys (W ≥ B), B − W where it sells, not below 0. Nor is α: from
    k = 43 on, the table's σ may be a unit less than that, and a `low` of 0 would make bonds negative.
    """
    ahead = np.maximum(weights - consensus[..., None, :], 0)
    distance = np.where(weights >= bonds, ahead, bonds - weights)
    return np.maximum(low + (sigmoid(distance, steepness) * (high - low) >> ONE_BITS), 0)


def moving_average(bonds: Int64, target: Int64, alpha: Int64 | int, one: int = ONE) -> Int64:
    """min(1, (1 − α)B + αW), rounded down; α in Q30, B and W in units of 1/`one`, |W − B| < 2^33.

    An α of all pairs is at most ONE, and what lies between B and W is at most 1; one of each pair may be rounded above.
    """
    moved = target - bonds
    moved *= alpha
    moved >>= ONE_BITS
    moved += bonds
    return moved if isinstance(alpha, int) else np.minimum(moved, one, out=moved)
