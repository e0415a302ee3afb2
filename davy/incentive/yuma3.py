"""Yuma 3: bonds per pair, free of stake and of what the others hold; stake comes in with the dividends."""
# ruff: noqa: N806 - the letters of the mathematics

from __future__ import annotations

import numpy as np

from davy.incentive import bonds
from davy.incentive.agreement import Agreement, agree
from davy.incentive.chunks import in_chunks
from davy.incentive.dividends import stake_dividends
from davy.incentive.fixed_point import ONE, Int64, column_normalise, from_ppm, from_u16
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.settlement import settle


def alpha(held: Int64, a: Agreement, p: Params) -> Int64 | int:
    """α in Q30: 1 − m, or liquid per pair; where nothing is consensus there is no distance to it, and α is 1 − m."""
    fixed = ONE - from_ppm(p.moving_average)
    if not p.liquid_alpha:
        return fixed
    low, high = from_u16(p.alpha_low), from_u16(p.alpha_high)
    liquid = bonds.liquid_alpha(a.W_bonds, held, a.C, low=low, high=high, steepness=p.alpha_steepness)
    return np.where(a.C.max(axis=-1)[..., None, None] > 0, liquid, fixed)


def yuma3(s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """B = min(1, (1 − α)B + αW_b); D = S∘(colnorm(B)·I), normalised."""
    a = agree(x, p)
    held = bonds.read(bonds.standing(s, x, p.bond_format), p.bond_format)  # 10
    B = bonds.moving_average(held, a.W_bonds, alpha(held, a, p))  # 11
    D = stake_dividends(column_normalise(B), a.I, a.S)  # 12
    stored = bonds.clear(bonds.store(B, p.bond_format), a.permits)  # 13
    return BondState(stored), settle(a, D, x)


class Yuma3:
    """Steps 10 to 13 of docs/incentive.md, after `agree`; subtensor's run_epoch.rs with Yuma3On."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds, of inputs with weights of this shape."""
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """`yuma3`, a batch in chunks."""
        return in_chunks(yuma3, s, x, p)
