"""Yuma 3: bonds per pair, neither normalised over a column nor multiplied by stake before dividends are.

With `agreement.agree` it is DESIGN §5's order of operations, that of subtensor's run_epoch.rs (2026-06), one rule a line.
"""

from __future__ import annotations

import numpy as np

from davy.incentive import bonds
from davy.incentive.agreement import Agreement, agree
from davy.incentive.dividends import bond_income, dividends_yuma3
from davy.incentive.fixed_point import ONE, Int64, column_normalise, from_ppm, from_u16
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.settlement import settle, standing_bonds


def alpha(B: Int64, a: Agreement, p: Params) -> Int64 | int:
    """How fast bonds move, Q30: 1 − m for all, or per pair. Without any consensus there is nothing to measure a distance from."""
    constant = ONE - from_ppm(p.moving_average)
    if not p.liquid_alpha:
        return constant
    agreed = a.C.any(axis=-1)[..., None, None]
    low, high = from_u16(p.alpha_low), from_u16(p.alpha_high)
    return np.where(agreed, bonds.liquid_alpha(a.W_bonds, B, a.C, low=low, high=high, steepness=p.alpha_steepness), constant)


class Yuma3:
    """DESIGN §5, Yuma 3."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds."""
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """B = min(1, (1 − α)B + αW_b); D = S∘(colnorm(B)·I), normalised."""
        a = agree(x, p)
        B = bonds.read(standing_bonds(s, x), p.bond_format)
        B = bonds.moving_average(B, a.W_bonds, alpha(B, a, p))
        D = dividends_yuma3(bond_income(column_normalise(B), a.I), a.S)
        kept = bonds.clear_rows(bonds.store(B, p.bond_format), a.permits)
        return BondState(kept), settle(a, D, x)
