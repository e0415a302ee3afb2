"""Correlated agreement: Yuma 3 whose dividends go to rows that agree with others beyond what their habits explain.

Shnayder, Agarwal, Frongillo and Parkes, *Informed Truthfulness in Multi-Task Peer Prediction* (arXiv 1603.03151):

    s_ij = Σ_ab [P_ij(a, b) − P_i(a)·P_j(b)] · 1[Δ_ab > 0]

with P_ij the joint frequency of two rows' answers on the same task, P_i and P_j their own, and Δ the same difference
for the crowd: answers that go together more often than by chance count as agreement. A row is paid for its mean over
the others, by their stake. Answers are quarters of `places`; Δ is learnt from the reports themselves. It pays for
information and not for effort: whoever repeats what all know, or what a cartel agreed on, agrees.

s is summed and not divided, in tasks of Q14 stake. Bounds, for the tasks N ≤ 64 · 4096 = 2^18 of a window: weights of
rows sum to 2^14 at most, so a joint count is at most 2^32, N times it 2^50, and so is a product of marginals;
sixteen of them, divided by N, sum to 2^36, which leaves room for the 26 bits of a part.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from davy.incentive import yuma3
from davy.incentive.agreement import agree
from davy.incentive.chunks import in_chunks
from davy.incentive.evidence import NOTHING, Evidence
from davy.incentive.fixed_point import ONE_BITS, Int64, normalise
from davy.incentive.holding import held
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.news import admit
from davy.incentive.places import PLACES
from davy.incentive.settlement import settle

LEVELS: Final = 4
_STAKE_BITS: Final = 14
_PART_BITS: Final = 26


def agreements(e: Evidence, share: Int64) -> Int64:
    """Σ_j w_j·s_ij, [..., V], over all rows j but i; `share` [..., V] in Q30 sums to ONE at most."""
    said = np.where(e.reports == NOTHING, NOTHING, e.reports.astype(np.int64) * LEVELS // PLACES)
    said = np.moveaxis(said, -2, -3)
    said = said.reshape(*said.shape[:-2], -1)  # [..., V, N]
    weight = (share >> (ONE_BITS - _STAKE_BITS))[..., :, None]
    tasks = np.maximum((said != NOTHING).any(axis=-2).sum(axis=-1, dtype=np.int64), 1)[..., None, None]
    told = [(said == a).astype(np.int64) for a in range(LEVELS)]
    often = np.stack([t.sum(axis=-1) for t in told], axis=-1)  # [..., V, LEVELS]
    crowd = np.stack([(t * weight).sum(axis=-2) for t in told], axis=-1)  # [..., N, LEVELS]
    others = crowd.sum(axis=-2)[..., None, :] - often * weight
    total: Int64 = np.zeros((), dtype=np.int64)
    for a in range(LEVELS):
        together = told[a] @ crowd
        together[..., a] -= often[..., a] * weight[..., 0]  # with itself
        beyond = (tasks * together - often[..., a : a + 1] * others) // tasks
        delta = (beyond * weight).sum(axis=-2, keepdims=True)
        total = total + np.where(delta > 0, beyond, 0).sum(axis=-1)
    return total


def correlated(s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """Yuma 3 with dividends D_i · max(0, s_i), normalised; Yuma 3's own where that leaves nobody any."""
    if x.evidence is None:
        return yuma3.yuma3(s, x, p)
    admit(x.evidence)
    a = agree(x, p)
    state, dividends = held(s, x, p, a, a.S)
    agreed = np.where(dividends > 0, np.maximum(agreements(x.evidence, a.S), 0), 0)
    part = (agreed << _PART_BITS) // np.maximum(agreed.max(axis=-1, keepdims=True), 1)
    paid = normalise(dividends * part)  # D sums to ONE, so the products to 2^56 at most
    return state, settle(a, np.where(paid.any(axis=-1, keepdims=True), paid, dividends), x)


class Correlated:
    """Its state is Yuma 3's."""

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds, of inputs with weights of this shape."""
        return BondState(np.zeros(shape, dtype=np.int64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """`correlated`, a batch in chunks.

        Raises
        ------
        BadInput
            Evidence is not of places, or has two tasks on a column in an epoch.
        """
        return in_chunks(correlated, s, x, p)
