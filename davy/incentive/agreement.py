"""What an epoch's voters agree on: steps 1 to 9 of DESIGN §5, which Yuma 2 and Yuma 3 share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davy.incentive import consensus, dividends, masks
from davy.incentive.fixed_point import GUARD_BITS, ONE, Bool, Int64, apportion, multiply_divide, row_normalise
from davy.incentive.mechanism import EpochInputs, Params
from davy.incentive.permits import permits


@dataclass(frozen=True, slots=True)
class Agreement:
    """Letters as in the mathematics; shares in Q30, R in Q60.

    permits [..., V] handed out; stake [..., V] base units after the threshold; S [..., V] active stake; W, W_clipped, W_bonds
    [..., V, M]; C, R, trust, I [..., M].
    """

    permits: Bool
    stake: Int64
    S: Int64
    W: Int64
    C: Int64
    W_clipped: Int64
    R: Int64
    trust: Int64
    I: Int64  # noqa: E741 - incentive's letter
    W_bonds: Int64


def forbidden_weights(x: EpochInputs) -> Bool:
    """Step 5: True where row i may not weigh column j, [..., V, M]."""
    return (
        masks.unpermitted(x.permits)
        | masks.self_weight(x.self_column, x.owner_row, x.weights.shape[-1])
        | masks.outdated(x.last_update, x.registered_at)
        | masks.uncommitted(x.earliest_commit, x.registered_at)
    )


def agree(x: EpochInputs, p: Params) -> Agreement:
    """Steps 1 to 9, in their order."""
    idle = masks.inactive(x.last_update, p.activity_cutoff, x.now)
    stake = masks.below_threshold(x.stake, p.stake_threshold)
    handed_out = permits(stake, p.max_validators, permit_zero_stake=p.permit_zero_stake)
    voting = np.where(idle | ~x.permits, 0, stake)
    S = apportion(ONE, voting)
    W = row_normalise(np.where(forbidden_weights(x), 0, x.weights))
    C = consensus.weighted_median(W, voting, consensus.minority(voting.sum(axis=-1), p.kappa))
    W_clipped = consensus.clip(W, C)
    R = consensus.rank(S, W_clipped)
    return Agreement(
        permits=handed_out,
        stake=stake,
        S=S,
        W=W,
        C=C,
        W_clipped=W_clipped,
        R=R,
        trust=multiply_divide(R >> GUARD_BITS, ONE, consensus.rank(S, W) >> GUARD_BITS)[0],
        I=dividends.incentive(R),
        W_bonds=consensus.penalise(W, W_clipped, p.bond_penalty),
    )
