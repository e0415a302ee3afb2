"""News: what a row's reports said about audited columns that the epoch before had not told everybody.

A column's *prior* is the place that the rows gave it in the epoch before: the lower median by stake, of reports that
are public by then. A report or a label is *news* where it is `tolerance` places or more above or below the prior.

Counts are of audits, at most 63 · 4096 < 2^18 = `MOST`; gains are in Q20, 2^20 being one audit. All bounds follow:

- Of a stratum n·m − Σ c·z lies within ±2^36, times 2^20 within ±2^56; divided by n − 1, not below n/2, within ±2^39.
- Their sum over strata, whose n sum to `MOST` at most, lies within ±2^39; less 2^20 a false report, within ±2^40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from davy.incentive.door import BadInput
from davy.incentive.evidence import NOTHING, Evidence, Int8
from davy.incentive.fixed_point import MAX_N, U16, Bool, Int64
from davy.incentive.places import PLACES

GAIN_BITS: Final = 20
MOST: Final = 1 << 18
MOST_GAIN: Final = 1 << 40
STRATA: Final = 4
"""Quarters of the prior's places, within which chance is reckoned."""
_SILENT: Final = 2
_ROW_BITS: Final = (MAX_N - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Audits:
    """Audited tasks of a window, A an epoch, filled up with such as do not count.

    `said` int8 [..., E − 1, V, A]; `label` and `prior` int8, and `counts` bool, [..., E − 1, A].
    """

    said: Int8
    label: Int8
    prior: Int8
    counts: Bool


def admit(e: Evidence) -> None:
    """Refuse evidence that is not of places, or has two tasks on a column in an epoch.

    Raises
    ------
    BadInput
        A report or label above 99, or a column twice.
    """
    if (most := int(max(e.reports.max(), e.labels.max()))) >= PLACES:
        raise BadInput(f"evidence holds the answer {most}; places are 0 to {PLACES - 1}")
    ordered = np.sort(e.columns, axis=-1)
    if ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != NOTHING)).any():
        raise BadInput("evidence has two tasks on a column in one epoch; there may be one")


def stake_median(said: Int8, stake: Int64) -> Int8:
    """The smallest place that reports with half of the reporting stake do not exceed, [..., A]; −1 without any.

    `said` [..., V, A], of which −1 does not count, and `stake` [..., V], which sums below 2^55.
    """
    said, held = np.broadcast_arrays(said.astype(np.int64), stake[..., :, None])
    rows = np.arange(said.shape[-2], dtype=np.int64)[:, None]
    packed = np.sort((said << _ROW_BITS) | rows, axis=-2)  # of −1 as well: the shift is arithmetic
    place = packed >> _ROW_BITS
    held = np.take_along_axis(held, packed & ((1 << _ROW_BITS) - 1), axis=-2)
    below = np.cumsum(np.where(place == NOTHING, 0, held), axis=-2)
    total = below[..., -1:, :]
    first = (2 * below >= np.maximum(total, 1)).argmax(axis=-2)[..., None, :]
    median = np.take_along_axis(place, first, axis=-2)[..., 0, :]
    return np.where(total[..., 0, :] > 0, median, NOTHING).astype(np.int8)


def audits(e: Evidence, stake: Int64) -> Audits:
    """What was audited from the second epoch of the window on, with its prior; `stake` [..., V] votes on that."""
    audited = e.labels[..., 1:, :] != NOTHING
    most = max(1, int(audited.sum(axis=-1).max()))
    picked = np.argsort(~audited, axis=-1, kind="stable")[..., :most]
    column = np.take_along_axis(e.columns[..., 1:, :], picked, axis=-1)
    before = e.columns[..., :-1, :]
    elsewhere = max(int(before.max()), int(column.max())) + 1  # of tasks about no column
    task = np.full((*before.shape[:-1], elsewhere + 1), NOTHING, dtype=np.int64)
    tasks = np.broadcast_to(np.arange(before.shape[-1], dtype=np.int64), before.shape)
    np.put_along_axis(task, np.where(before == NOTHING, elsewhere, before), tasks, axis=-1)
    task[..., elsewhere] = NOTHING
    same = np.take_along_axis(task, np.where(column == NOTHING, elsewhere, column), axis=-1)
    earlier = np.take_along_axis(e.reports[..., :-1, :, :], np.maximum(same, 0)[..., None, :], axis=-1)
    prior = np.where(same == NOTHING, np.int8(NOTHING), stake_median(earlier, stake[..., None, :]))
    return Audits(
        said=np.take_along_axis(e.reports[..., 1:, :, :], picked[..., None, :], axis=-1),
        label=np.take_along_axis(e.labels[..., 1:, :], picked, axis=-1),
        prior=prior,
        counts=np.take_along_axis(audited, picked, axis=-1) & (prior != NOTHING),
    )


def news(place: Int8, prior: Int8, tolerance: int) -> Int8:
    """1 or −1 where a place is `tolerance` or more above or below the prior, else 0; 2 where nothing was said."""
    off = place - prior  # int8: both are −1 to 99
    moved = np.sign(off) * (np.abs(off) >= tolerance)
    return np.where(place == NOTHING, np.int8(_SILENT), moved).astype(np.int8)


class Found(NamedTuple):
    """Of each row, [..., V]: `gain` in Q20 audits; audits on which it said anything, and on which it was `wrong`."""

    gain: Int64
    said: Int64
    wrong: Int64


def found(a: Audits, tolerance: int, penalty: int) -> Found:
    """gain_i = n·A_i − penalty·F_i, and how often the row was `tolerance` places or more from the label.

    A_i = Σ_k (n_k / n) Σ_a [P(r_i = a, z = a | k) − P(r_i = a | k)·P(z = a | k)] over the n audits, with r the row's
    news, z the label's, k the quarter of the prior; the product is estimated without the pairs of one task with itself,
    so a stratum counts n_k / (n_k − 1) of what its frequencies give. F_i: how often the row told news that was none.

    Parameters
    ----------
    tolerance : places
    penalty : u16, of an audit
    """
    over = (-2, -1)
    said = a.said.swapaxes(-2, -3)  # [..., V, E − 1, A]; of the others [..., 1, E − 1, A]
    prior, label, counts = a.prior[..., None, :, :], a.label[..., None, :, :], a.counts[..., None, :, :]
    r, z = news(said, prior, tolerance), news(label, prior, tolerance)
    stratum = prior.astype(np.int64) * STRATA // PLACES
    gain = np.zeros(r.shape[:-2], dtype=np.int64)
    for k in range(STRATA):
        here = counts & (stratum == k)
        n = here.sum(axis=over, dtype=np.int64)
        matched = ((r == z) & here).sum(axis=over, dtype=np.int64)
        chance = np.zeros_like(matched)
        for symbol in (-1, 0, 1):
            told = ((r == symbol) & here).sum(axis=over, dtype=np.int64)
            chance += told * ((z == symbol) & here).sum(axis=over, dtype=np.int64)
        gain += ((n * matched - chance) << GAIN_BITS) // np.maximum(n - 1, 1)
    heard = counts & (said != NOTHING)
    false = (heard & (r != 0) & (r != z)).sum(axis=over, dtype=np.int64)
    return Found(
        gain=gain - false * ((penalty << GAIN_BITS) // U16),
        said=heard.sum(axis=over, dtype=np.int64),
        wrong=(heard & (news(said, label, tolerance) != 0)).sum(axis=over, dtype=np.int64),
    )
