"""Reports made of weights: where in its row a miner stands, in hundredths.

A validator whose reports and weights are two messages may tell the truth in one and earn by the other. Read off the row
that pays, a report cannot differ from it, and whoever audits a miner says its place among the others in the same way.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from davy.incentive.door import BadInput
from davy.incentive.evidence import NOTHING, Int8
from davy.incentive.fixed_point import MAX_N, Weights

PLACES: Final = 100
"""Places are 0 to 99, so that they fit an `Evidence` report."""


def places(weights: Weights) -> Int8:
    """floor(100 · (below_j + (equal_j − 1) / 2) / M), int8 [..., M]: the part of its row that a column stands above.

    Columns of equal weight share a place, in the middle of those they cover. A row of zeros says nothing: −1. Only the
    order counts, so rows need not be normalised. Bound: (2·4096 − 1)·100 < 2^20, and it is below 100·2M.

    Raises
    ------
    BadInput
        More than 4096 columns.
    """
    columns = weights.shape[-1]
    if columns > MAX_N:
        raise BadInput(f"weights have {columns} columns; there may be {MAX_N}")
    order = np.argsort(weights, axis=-1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=-1)
    at = np.broadcast_to(np.arange(columns, dtype=np.int64), ordered.shape)
    new = np.ones(ordered.shape, dtype=np.bool_)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    ends = np.ones(ordered.shape, dtype=np.bool_)
    ends[..., :-1] = new[..., 1:]
    first = np.maximum.accumulate(np.where(new, at, 0), axis=-1)
    last = np.minimum.accumulate(np.where(ends, at, columns)[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty(ordered.shape, dtype=np.int8)
    np.put_along_axis(found, order, ((first + last) * PLACES // (2 * columns)).astype(np.int8), axis=-1)
    return np.where(weights.any(axis=-1, keepdims=True), found, np.int8(NOTHING))
