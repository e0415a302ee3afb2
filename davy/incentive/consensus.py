"""Consensus: the stake-weighted median of each column, what is clipped to it, and the rank that is left."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import U16, Int64


def minority(total: Int64, kappa: int) -> Int64:
    """floor((1 − κ)·total), κ a u16: the stake below a weight has to exceed this for the weight to be consensus.

    For integers, cum > (1 − κ)·total ⇔ cum > floor((1 − κ)·total). With m = 65535 − κ the floor of total·m / 65535, a
    product of 71 bits, is (total div 65535)·m + (total mod 65535)·m div 65535, whose terms stay below 2^55.
    """
    m = U16 - kappa
    whole, part = np.divmod(total, U16)
    return whole * m + part * m // U16


def weighted_median(weights: Int64, stake: Int64, threshold: Int64) -> Int64:
    """C_j, [..., M]: the smallest weight w in column j with Σ_{i: w_ij ≤ w} stake_i > threshold; 0 if there is none.

    Rows without stake in any run do not matter. Weight and row are packed in one integer, so that one sort brings the
    stakes in order too; rows of equal weight come in the order of their index, on which no result depends.

    Parameters
    ----------
    weights : int64 [..., V, M], 0 ≤ w < 2^32, of fewer than 2^31 rows in all runs.
    stake : int64 [..., V], or [V] of all runs; the exact base units: nothing is rounded before it is compared.
    threshold : int64 [...], `minority` of the total.
    """
    voters = np.flatnonzero(stake if stake.ndim == 1 else stake.reshape(-1, stake.shape[-1]).any(axis=0))
    if not len(voters):
        return np.zeros((*weights.shape[:-2], weights.shape[-1]), dtype=np.int64)
    bits = stake.size.bit_length()
    columns = np.array(np.swapaxes(weights.take(voters, axis=-2), -1, -2), order="C")
    columns <<= bits
    columns |= np.arange(stake.size, dtype=np.int64).reshape(stake.shape)[..., None, voters]
    columns.sort(axis=-1)
    stakes = stake.reshape(-1).take(columns & ((1 << bits) - 1), mode="clip")  # "clip" is the fastest; none is out
    exceeds = np.add.accumulate(stakes, axis=-1, out=stakes) > threshold[..., None, None]
    first = np.arange(0, exceeds.size, len(voters)) + exceeds.argmax(axis=-1).reshape(-1)
    median = (columns.reshape(-1)[first] >> bits).reshape(columns.shape[:-1])
    return np.where(exceeds[..., -1], median, 0)


def clip(weights: Int64, consensus: Int64) -> Int64:
    """W̄ = min(W, C), [..., V, M]: no weight counts above consensus."""
    return np.minimum(weights, consensus[..., None, :])


def interpolate(x: Int64, y: Int64, ratio: int, one: int = U16) -> Int64:
    """X + ratio·(y − x) / one, rounded down; |y − x| · ratio < 2^63."""
    return x + (y - x) * ratio // one


def penalise(weights: Int64, clipped: Int64, bond_penalty: int) -> Int64:
    """W_b = W + β(W̄ − W), β a u16: the weights that bonds are bought with."""
    return clipped if bond_penalty == U16 else interpolate(weights, clipped, bond_penalty)


def rank(stake_share: Int64, clipped: Int64) -> Int64:
    """R = SᵀW̄, [..., V] and [..., V, M] in Q30 to [..., M] in Q60."""
    return np.einsum("...i,...ij->...j", stake_share, clipped)
