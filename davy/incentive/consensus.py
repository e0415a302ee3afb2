"""Consensus: the stake-weighted median of each column, what is clipped to it, and the rank that is left."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import MAX_N, U16, Int64

_ROW_BITS = (MAX_N - 1).bit_length()


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

    Weight and row are packed in one integer, so that one sort brings the stakes in order too; rows of equal weight
    come in the order of their index, on which no result depends.

    Parameters
    ----------
    weights : int64 [..., V, M], 0 ≤ w < 2^50.
    stake : int64 [..., V], the exact base units: nothing is rounded before it is compared.
    threshold : int64 [...], `minority` of the total.
    """
    packed = (weights << _ROW_BITS) | np.arange(weights.shape[-2], dtype=np.int64)[:, None]
    columns = np.ascontiguousarray(np.swapaxes(packed, -1, -2))
    columns.sort(axis=-1)
    row = columns & (MAX_N - 1)
    ordered = stake[row] if stake.ndim == 1 else np.take_along_axis(stake[..., None, :], row, axis=-1)
    exceeds = np.cumsum(ordered, axis=-1) > threshold[..., None, None]
    first = exceeds.argmax(axis=-1)[..., None]
    median = np.take_along_axis(columns, first, axis=-1)[..., 0] >> _ROW_BITS
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
    return (stake_share[..., None, :] @ clipped)[..., 0, :]
