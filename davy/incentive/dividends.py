"""Incentive and dividends: what miners earned, and what validators earned by holding bonds in them."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import ONE_BITS, Bool, Int64, normalise


def incentive(rank: Int64) -> Int64:
    """I = R / ΣR, [..., M] in Q30: shares that sum to ONE exactly, or all 0 where nobody has a rank."""
    return normalise(rank)


def bond_income(bond_share: Int64, incentive: Int64) -> Int64:
    """B·I, [..., V] in Q30, rounded down, of bonds [..., V, M] normalised by column and incentive [..., M]."""
    return np.einsum("...ij,...j->...i", bond_share, incentive) >> ONE_BITS


def stake_dividends(bond_share: Int64, incentive: Int64, stake_share: Int64) -> Int64:
    """Yuma 3: D = S∘(B·I), normalised; [..., V] in Q30, sums to ONE exactly, or all 0."""
    return normalise(stake_share * bond_income(bond_share, incentive))


def bond_dividends(bond_share: Int64, incentive: Int64) -> Int64:
    """Yuma 2: D = B·I, normalised, stake being in the bonds; [..., V] in Q30, sums to ONE exactly, or all 0."""
    return normalise(bond_income(bond_share, incentive))


def fallback(stake_share: Int64, stake: Int64) -> Int64:
    """Shares for whoever has none: active stake S [..., V], or all stake where none is active; Q30."""
    somebody = stake_share.any(axis=-1, keepdims=True)
    return stake_share if somebody.all() else np.where(somebody, stake_share, normalise(stake))


def withhold(shares: Int64, halted: Bool) -> tuple[Int64, Int64]:
    """Shares with 0 for halted UIDs, and what these had, [...]: it is not minted, so a halt pays no rival."""
    kept = np.where(halted, 0, shares)
    return kept, (shares - kept).sum(axis=-1)
