"""The distances of `davy.sims.watch` in one pass: rows are shares of 32 bits, and a pair of rows is compared once."""

from __future__ import annotations

import numpy as np

from davy.incentive.compiled.jit import inner, making_arrays
from davy.incentive.compiled.lanes import U
from davy.incentive.compiled.shares import reciprocal
from davy.incentive.fixed_point import ONE, Int32, Int64, UInt16


def distances(rows: UInt16, before: UInt16, now: Int64, then: Int64) -> Int64:
    """See `davy.sims.watch.Distances`."""
    *batch, count, columns = rows.shape
    found = np.empty((4, *batch, count), dtype=np.int64)
    middles = np.stack([now, then], axis=-2).astype(np.int32)
    shape = (-1, count, columns)
    _compare(rows.reshape(shape), before.reshape(shape), middles.reshape(-1, 2, columns), found.reshape(4, -1, count))
    return found


@making_arrays
def _compare(rows: UInt16, before: UInt16, middles: Int32, found: Int64) -> None:
    runs, count, columns = rows.shape
    shares = np.empty((count, columns), dtype=np.int32)
    had = np.empty(columns, dtype=np.int32)
    for run in range(runs):
        for i in range(count):
            _share(rows[run, i], shares[i])
            _share(before[run, i], had)
            for k in range(2):
                found[k, run, i] = _apart(shares[i], middles[run, k])
            found[2, run, i] = _apart(shares[i], had)
            found[3, run, i] = ONE
            for k in range(i):
                off = _apart(shares[i], shares[k])
                found[3, run, i] = min(found[3, run, i], off)
                found[3, run, k] = min(found[3, run, k], off)


@inner
def _share(row: UInt16, shares: Int32) -> None:
    """`fixed_point.row_normalise` of a row."""
    total = 0
    for j in range(len(row)):
        total += row[j]
    factor = reciprocal(total)
    for j in range(len(row)):
        shares[j] = (row[j] * factor) >> 32


@inner
def _apart(a: Int32, b: Int32) -> np.int32:
    """`watch.apart`: |x − y| = x + y − 2·min(x, y), of which each sum fits 32 bits, which is twice the lanes."""
    first, second, common = np.int32(0), np.int32(0), np.int32(0)
    for j in range(len(a)):
        at = U(j)
        first = np.int32(first + a[at])
        second = np.int32(second + b[at])
        common = np.int32(common + min(a[at], b[at]))
    return (first + second - 2 * common) >> 1
