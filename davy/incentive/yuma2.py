"""Yuma 2: the bonds of a column are shares of it, bought with weight and stake and stored relative to the largest.

Liquid alpha is a matter of Yuma 3 only, as in run_epoch.rs.
"""
# ruff: noqa: N806 - the letters of the mathematics

from __future__ import annotations

import numpy as np

from davy.incentive import bonds
from davy.incentive.agreement import agree
from davy.incentive.chunks import in_chunks
from davy.incentive.dividends import bond_dividends
from davy.incentive.fixed_point import ONE, column_normalise, column_normalise_products, from_ppm
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.settlement import settle


def yuma2(s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """ΔB = colnorm(W_b∘S); B = colnorm((1 − m)ΔB + m·colnorm(B)); D = B·I, normalised."""
    a = agree(x, p)
    held = column_normalise(bonds.standing(s, x, p.bond_format))  # 10
    bought = column_normalise_products(a.W_bonds * a.S[..., :, None])
    B = column_normalise(bonds.moving_average(held, bought, ONE - from_ppm(p.moving_average)))  # 11
    D = bond_dividends(B, a.I)  # 12
    stored = bonds.clear(bonds.upscale(B, p.bond_format), a.permits)  # 13
    return BondState(stored), settle(a, D, x)


class Yuma2:
    """Steps 10 to 13 of docs/incentive.md, after `agree`; subtensor's run_epoch.rs without Yuma3On."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds, of inputs with weights of this shape."""
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """`yuma2`, a batch in chunks."""
        return in_chunks(yuma2, s, x, p)
