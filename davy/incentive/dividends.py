"""Incentive and dividends: what miners earned, and what validators earned by having bonds in them. DESIGN §5 step 8."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import GUARD_BITS, ONE, ONE_BITS, Bool, Int64, apportion


def incentive(rank: Int64) -> Int64:
    """I = R / ΣR: [..., M] in Q60 → Q30 shares that sum to ONE exactly, or all 0 where nobody has a rank."""
    return apportion(ONE, rank >> GUARD_BITS)


def bond_income(bond_share: Int64, incentive: Int64) -> Int64:
    """B·I: [..., V, M] column-normalised and [..., M], both Q30 → [..., V] in Q30; ≤ ONE because I sums to ONE."""
    return (bond_share @ incentive[..., :, None])[..., 0] >> ONE_BITS


def dividends_yuma3(income: Int64, stake_share: Int64) -> Int64:
    """D = S∘(B·I), normalised: Q30 shares [..., V] that sum to ONE exactly, or all 0."""
    return apportion(ONE, (stake_share * income) >> GUARD_BITS)


def dividends_yuma2(income: Int64) -> Int64:
    """D = B·I, normalised: stake is in the bonds already."""
    return apportion(ONE, income)


def fallback(stake_share: Int64, stake: Int64) -> Int64:
    """Shares for a half that has none of its own: active stake S in Q30, or all stake where none is active; both [..., V]."""
    nobody = ~stake_share.any(axis=-1)
    return np.where(nobody[..., None], apportion(ONE, stake), stake_share) if nobody.any() else stake_share


def withhold(shares: Int64, halted: Bool) -> tuple[Int64, Int64]:
    """Shares with those of halted UIDs set to 0, and their sum [...], which is not minted: a halt pays no rival."""
    kept = np.where(halted, 0, shares)
    return kept, (shares - kept).sum(axis=-1)
