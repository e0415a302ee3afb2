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

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from davy.incentive.fixed_point import ONE, Bool, Int64, UInt16, row_normalise
from davy.sims.middle import middle

THRESHOLD: Final = 8
CLIP: Final = 16
_Z: Final = 256
"""A z of 1."""
_FLOOR: Final = ONE >> 14
"""Deviations below this are noise of rounding."""
EQUAL_SHARES: Final = 32_768
"""The κ of a lower median: of n rows of stake 1, floor(n · (65535 − κ) / 65535) = (n − 1) // 2, for n up to 65535."""

Distances: TypeAlias = Callable[[UInt16, UInt16, Int64, Int64], Int64]
"""Rows [..., V, M] of an epoch and of the one before, and the middles [..., M] of both, to the four distances
[4, ..., V]; all but the rows in Q30."""


class Watch:
    """Over both arms and all runs of a chunk, epoch by epoch."""

    def __init__(self, *, compiled: bool = False) -> None:
        self._middle = middle(compiled=compiled)
        self._distances = distances_by(compiled=compiled)
        self._before: tuple[UInt16, Int64] | None = None
        self._sums: Int64 = np.zeros((), dtype=np.int64)
        self._seen: Bool = np.zeros((), dtype=np.bool_)
        self._count = 0

    def see(self, rows: UInt16) -> Bool:
        """Who was noticed so far, [2, runs, V], after an epoch with these rows [2, runs, V, M] in force.

        The first of them are looked back on, and nothing else.
        """
        alike = np.ones(rows.shape[:-1], dtype=np.int64)
        now = row_normalise(self._middle(rows, alike, EQUAL_SHARES))
        if self._before is None:
            self._sums, self._seen = np.zeros((4, *alike.shape), dtype=np.int64), np.zeros(alike.shape, dtype=np.bool_)
        else:
            before, then = self._before
            self._count += 1
            self._sums += outlying(self._distances(rows, before, now, then))
            bound = (THRESHOLD * _Z) ** 2 * self._count
            self._seen = self._seen | (self._sums * self._sums > bound).any(axis=0)
        self._before = rows, now
        return self._seen


def distances_by(*, compiled: bool) -> Distances:
    """`distances`, or what numba makes of it for the same bits."""
    if not compiled:
        return distances
    from davy.sims.watch_compiled import distances as in_one_pass

    return in_one_pass


def distances(rows: UInt16, before: UInt16, now: Int64, then: Int64) -> Int64:
    """See `Distances`."""
    shares, had = row_normalise(rows.astype(np.int64)), row_normalise(before.astype(np.int64))
    return np.stack(
        [apart(shares, now[..., None, :]), apart(shares, then[..., None, :]), apart(shares, had), kin(shares)]
    )


def apart(a: Int64, b: Int64) -> Int64:
    """½ Σ|a − b| over the last axis, Q30."""
    return np.abs(a - b).sum(axis=-1) >> 1


def kin(shares: Int64) -> Int64:
    """Each row's distance from the nearest other one, [..., V], Q30; ONE at most."""
    nearest = np.full(shares.shape[:-1], ONE, dtype=np.int64)
    for row in range(1, shares.shape[-2]):
        off = apart(shares[..., :row, :], shares[..., row : row + 1, :])
        nearest[..., :row] = np.minimum(nearest[..., :row], off)
        nearest[..., row] = np.minimum(nearest[..., row], off.min(axis=-1))
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
