"""Yuma 3 whose dividends go to who looked: a mechanism of its own, as somebody else would write one.

A row's agreement with labels that were audited in secret, beyond chance and beyond what the epoch before told:

    A_i = Σ_k n_k/n · Σ_a [P(r_i = a, z = a | k) − P(r_i = a | k) · P(z = a | k)]

k is the answer that most rows gave on the same column in the epoch before. Whoever repeats one answer, or that one, has
A = 0.
"""

from __future__ import annotations

import numpy as np

from davy.incentive import bonds, yuma3
from davy.incentive.agreement import agree
from davy.incentive.chunks import in_chunks
from davy.incentive.dividends import stake_dividends
from davy.incentive.evidence import NOTHING, Evidence
from davy.incentive.fixed_point import ONE, ONE_BITS, Int64, column_normalise, normalise
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.settlement import settle

FLOOR = ONE >> 4
"""What a row without agreement keeps of its dividends, before they are shared out anew."""


def answers(e: Evidence) -> range:
    return range(int(max(e.reports.max(), e.labels.max())) + 1)


def levels(e: Evidence) -> Int64:
    """Of each task, [..., T]: the answer most given on its column in the epoch before; −1 where there was none."""
    last, before = e.columns[..., -1, :], e.columns[..., -2, :]
    same = (last[..., :, None] == before[..., None, :]) & (last != NOTHING)[..., :, None]
    given = [(e.reports[..., -2, :, :] == a).sum(axis=-2, dtype=np.int64) for a in answers(e)]
    support = np.stack([(same * times[..., None, :]).sum(axis=-1) for times in given])
    return np.where(support.any(axis=0), support.argmax(axis=0), NOTHING)


def audited_agreement(e: Evidence) -> Int64:
    """A_i, [..., V] in Q30, rounded down stratum by stratum. Counts are below 2^12, so their products times ONE fit."""
    level, labels, reports = levels(e), e.labels[..., -1, :], e.reports[..., -1, :, :]
    audited = labels != NOTHING
    n = np.maximum(audited.sum(axis=-1, dtype=np.int64), 1)
    agreed = np.zeros(reports.shape[:-1], dtype=np.int64)
    for k in np.unique(level).tolist():
        here = audited & (level == k)
        n_k = here.sum(axis=-1, dtype=np.int64)
        for a in answers(e):
            truly = here & (labels == a)
            said = (reports == a) & here[..., None, :]
            both = (said & truly[..., None, :]).sum(axis=-1, dtype=np.int64)
            chance = said.sum(axis=-1, dtype=np.int64) * truly.sum(axis=-1, dtype=np.int64)[..., None]
            agreed += (n_k[..., None] * both - chance) * ONE // (n * np.maximum(n_k, 1))[..., None]
    return agreed


def audited(s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """Yuma 3 with dividends D_i · (floor + (1 − floor)·max(0, A_i)), normalised."""
    if x.evidence is None or x.evidence.reports.shape[-3] < 2:
        return yuma3.yuma3(s, x, p)
    a = agree(x, p)
    held = bonds.read(bonds.standing(s, x, p.bond_format), p.bond_format)
    bought = bonds.moving_average(held, a.W_bonds, yuma3.alpha(held, a, p))
    gate = FLOOR + (np.maximum(audited_agreement(x.evidence), 0) * (ONE - FLOOR) >> ONE_BITS)
    dividends = normalise(stake_dividends(column_normalise(bought), a.I, a.S) * gate)
    return BondState(bonds.clear(bonds.store(bought, p.bond_format), a.permits)), settle(a, dividends, x)


class Audited:
    """Its state is Yuma 3's."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        return in_chunks(audited, s, x, p)
