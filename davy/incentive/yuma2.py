"""Yuma 2: a column's bonds are shares of it, bought with weight and stake; stored relative to the column's largest.

Liquid alpha is a matter of Yuma 3 only, as in run_epoch.rs.
"""

from __future__ import annotations

import numpy as np

from davy.incentive import bonds
from davy.incentive.agreement import agree
from davy.incentive.dividends import bond_income, dividends_yuma2
from davy.incentive.fixed_point import GUARD_BITS, ONE, column_normalise, column_normalise_wide, from_ppm
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.settlement import settle, standing_bonds


class Yuma2:
    """DESIGN §5, Yuma 2."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds."""
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """ΔB = colnorm(W_b∘S); B = colnorm((1 − m)ΔB + m·colnorm(B)); D = B·I, normalised."""
        a = agree(x, p)
        B = column_normalise(standing_bonds(s, x))
        delta = column_normalise_wide((a.W_bonds * a.S[..., :, None]) >> GUARD_BITS)
        B = column_normalise(bonds.moving_average(B, delta, ONE - from_ppm(p.moving_average)))
        D = dividends_yuma2(bond_income(B, a.I))
        kept = bonds.clear_rows(bonds.upscale(B, p.bond_format.one), a.permits)
        return BondState(kept), settle(a, D, x)
