"""What an epoch's voters agree on: the steps 1 to 9, which Yuma 2 and Yuma 3 share."""
# ruff: noqa: N806 - the letters of the mathematics

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davy.incentive import masks
from davy.incentive.consensus import clip, minority, penalise, rank, weighted_median
from davy.incentive.dividends import incentive
from davy.incentive.fixed_point import ONE, ONE_BITS, Bool, Int64, normalise, row_normalise
from davy.incentive.mechanism import EpochInputs, EpochResult, Params
from davy.incentive.permits import permits


@dataclass(frozen=True, slots=True)
class Agreement:
    """All shares in Q30, R in Q60.

    `permits` [..., V] handed out, `stake` [..., V] that counts, in base units; active stake S [..., V]; W, W̄ and W_b
    [..., V, M]; consensus C, rank R and incentive I [..., M].
    """

    permits: Bool
    stake: Int64
    S: Int64
    W: Int64
    C: Int64
    W_clipped: Int64
    R: Int64
    I: Int64  # noqa: E741
    W_bonds: Int64


def counted_weights(x: EpochInputs) -> Int64:
    """Step 5, before normalising: weights [..., V, M] with 0 where any mask forbids them."""
    newest = masks.newest_meant(x.last_update, x.earliest_commit, x.permits)
    forbidden = masks.newer(x.registered_at, newest)
    if (x.self_column >= 0).any():
        forbidden = forbidden | masks.self_weight(x.self_column, x.owner_row, x.weights.shape[-1])
    return np.multiply(x.weights, ~forbidden, dtype=np.int64)


def agree(x: EpochInputs, p: Params) -> Agreement:
    """From inputs to incentive; the numbers are the steps of docs/incentive.md."""
    idle = masks.inactive(x.last_update, p.activity_cutoff, x.now)  # 1
    stake = masks.above_threshold(x.stake, p.stake_threshold)  # 2
    handed_out = permits(  # 3
        stake, p.max_validators, permit_zero_stake=p.permit_zero_stake, tie_to_newer=p.permit_tie_to_newer
    )
    voting = masks.active_stake(stake, idle, x.permits)  # 4
    S = normalise(voting)
    W = row_normalise(counted_weights(x))  # 5
    C = weighted_median(W, voting, minority(voting.sum(axis=-1), p.kappa))  # 6
    W_clipped = clip(W, C)  # 7
    R = rank(S, W_clipped)  # 8
    W_bonds = penalise(W, W_clipped, p.bond_penalty)  # 9
    return Agreement(handed_out, stake, S, W, C, W_clipped, R, incentive(R), W_bonds)


def trust(x: EpochInputs, result: EpochResult) -> Int64:
    """T_j = R_j / Σ_i S_i W_ij, [..., M] in Q30: what part of the weight a column was given stands after clipping.

    0 where it was given none. No other rule depends on it.
    """
    given = rank(result.active_stake, row_normalise(counted_weights(x))) >> ONE_BITS
    return np.where(given > 0, result.rank * ONE // np.maximum(given, 1), 0)
