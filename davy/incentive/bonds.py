"""Bonds: what a validator holds in a miner from epochs of agreeing about it early. DESIGN §5, Yuma 2 and Yuma 3.

Stored bonds carry a format. `U16` is subtensor's: it stalls, since the last floor eats every step below one unit of 1/65535, so a bond
stays up to 1/α units short of its goal and a small one never leaves 0. `U32` keeps the Q30 number of the arithmetic as it is.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from davy.incentive.fixed_point import ONE, ONE_BITS, U16, Bool, Int64, scale, sigmoid


class BondFormat(IntEnum):
    """The stored number, by its format id; `one` is what stands for a bond of 1."""

    U16 = 1
    U32 = 2

    @property
    def one(self) -> int:
        return U16 if self is BondFormat.U16 else ONE


def read(stored: Int64, form: BondFormat) -> Int64:
    """Stored bonds as Q30, rounded up, so that `store` of what was read gives the same bits back."""
    if form is BondFormat.U32:
        return stored
    return ((stored << ONE_BITS) + U16 - 1) // U16


def store(bonds: Int64, form: BondFormat) -> Int64:
    """Q30 bonds in the stored format, rounded down."""
    return bonds if form is BondFormat.U32 else (bonds * U16) >> ONE_BITS


def reset(bonds: Int64, replaced: Bool) -> Int64:
    """Bonds with those forgotten whose row or column changed hands since they were stored; both masks are in `replaced` [..., V, M]."""
    return np.where(replaced, 0, bonds)


def liquid_alpha(
    weights: Int64, bonds: Int64, consensus: Int64, *, low: int, high: int, steepness: int
) -> Int64:
    """α_ij = lo + σ(k(d_ij − ½))·(hi − lo), d the distance between a validator's view and the market's, all Q30.

    d = W − C where the validator buys (W ≥ B), B − W where it sells, each clamped to [0, 1].
    """
    market = consensus[..., None, :]
    distance = np.where(weights >= bonds, np.maximum(weights - market, 0), bonds - weights)
    return low + scale(sigmoid(distance, steepness), high - low)


def moving_average(bonds: Int64, target: Int64, alpha: Int64 | int, one: int = ONE) -> Int64:
    """min(1, (1 − α)B + αW), rounded down; α in Q30, B and W ≤ 2^32 in units of 1/`one`."""
    return np.minimum(one, ((ONE - alpha) * bonds + alpha * target) >> ONE_BITS)


def upscale(bonds: Int64, one: int) -> Int64:
    """b_ij · one / max_i b_ij, rounded down: Yuma 2 stores a column relative to its largest bond; b · one < 2^63."""
    return bonds * one // np.maximum(bonds.max(axis=-2, keepdims=True, initial=0), 1)


def clear_rows(stored: Int64, permits: Bool) -> Int64:
    """Bonds [..., V, M] of rows that keep or gain the permit [..., V]; the others lose theirs."""
    return stored if permits.all() else np.where(permits[..., :, None], stored, 0)
