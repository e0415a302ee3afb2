"""Who would be noticed: a test on rows that everybody can read, epoch by epoch.

Four distances a validator and epoch, all total variations between normalised rows:

- `apart`, from the middle of the epoch: each column's median by number, on which no stake weighs;
- `echo`, from the middle of the epoch before: small for who copies it;
- `same`, from its own row of the epoch before: small for who does not work;
- `kin`, from the nearest other row: small for who shares one.

Each is compared with the median of all validators, in units of 1.48 times their median absolute deviation, not beyond
±`CLIP`; the sum of these z over n epochs is noticed once it leaves ±`THRESHOLD`·√n. So an outlier of 8 deviations is
seen in an epoch, one of 1 deviation in 64. It assumes that fewer than half of the validators, by number, cheat, and it
proves nothing: it is where a person would begin to look. Its rate of false alarms is counted in the honest arm.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from davy.incentive.fixed_point import ONE, Bool, Int64, row_normalise

THRESHOLD: Final = 8
CLIP: Final = 16
_Z: Final = 256
"""A z of 1."""
_FLOOR: Final = ONE >> 14
"""Deviations below this are noise of rounding."""


class Watch:
    """Over both arms and all runs of a chunk: rows are [2, runs, V, M]."""

    def __init__(self) -> None:
        self._middle: Int64 | None = None
        self._rows: Int64 | None = None
        self._sums: Int64 | None = None
        self._count = 0
        self._seen: Bool | None = None

    def see(self, rows: Int64, *, counts: bool) -> Bool:
        """Who was noticed so far, [2, runs, V], after an epoch with these rows in force; `counts` once it is tested."""
        shares = row_normalise(rows)
        now = row_normalise(lower_median(shares, axis=-2))
        before, own = self._middle, self._rows
        self._middle, self._rows = now, shares
        if self._sums is None or self._seen is None:
            self._sums = np.zeros((4, *rows.shape[:-1]), dtype=np.int64)
            self._seen = np.zeros(rows.shape[:-1], dtype=np.bool_)
        if counts and before is not None and own is not None:
            found = (apart(shares, now), apart(shares, before), apart(shares, own), kin(shares))
            self._count += 1
            self._sums += np.stack([outlying(d) for d in found])
            bound = (THRESHOLD * _Z) ** 2 * self._count
            self._seen = self._seen | (self._sums * self._sums > bound).any(axis=0)
        return self._seen


def apart(a: Int64, b: Int64) -> Int64:
    """½ Σ|a − b| over the last axis, Q30."""
    return np.abs(a - b).sum(axis=-1) >> 1


def kin(shares: Int64) -> Int64:
    """Each row's distance from the nearest other one, [..., V], Q30."""
    rows = shares.shape[-2]
    nearest = np.full(shares.shape[:-1], ONE, dtype=np.int64)
    for k in range(1, rows):
        nearest = np.minimum(nearest, apart(shares, np.roll(shares, k, axis=-2)))
    return nearest


def outlying(distances: Int64) -> Int64:
    """(d − median) / (1.48·MAD), [..., V], a z of 1 being 256, within ±`CLIP`; medians are the lower ones."""
    off = distances - lower_median(distances, axis=-1)
    spread = lower_median(np.abs(off), axis=-1) * 380 >> 8
    return np.clip(off * _Z // np.maximum(spread, _FLOOR), -CLIP * _Z, CLIP * _Z)


def lower_median(values: Int64, axis: int) -> Int64:
    """The element in the middle of an axis, which stays as one of length 1; of two, the lower one."""
    middle = (values.shape[axis] - 1) // 2
    return np.take(np.partition(values, middle, axis=axis), [middle], axis=axis)
