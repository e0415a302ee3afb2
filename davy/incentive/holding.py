"""Steps 10 to 13 of Yuma 3, for mechanisms that change who votes or who is paid: bonds, and what they pay."""
# ruff: noqa: N806 - the letters of the mathematics

from __future__ import annotations

from davy.incentive import bonds
from davy.incentive.agreement import Agreement
from davy.incentive.dividends import stake_dividends
from davy.incentive.fixed_point import Int64, column_normalise
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.yuma3 import alpha


def held(s: BondState, x: EpochInputs, p: Params, a: Agreement, paid: Int64) -> tuple[BondState, Int64]:
    """The next state, and D = S∘(colnorm(B)·I) normalised, [..., V] in Q30, where S is the share `paid` [..., V]."""
    before = bonds.read(bonds.standing(s, x, p.bond_format), p.bond_format)  # 10
    B = bonds.moving_average(before, a.W_bonds, alpha(before, a, p))  # 11
    D = stake_dividends(column_normalise(B), a.I, paid)  # 12
    return BondState(bonds.clear(bonds.store(B, p.bond_format), a.permits)), D  # 13
