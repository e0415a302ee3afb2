"""What validators that work measure: min(most, quality · factor), in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from davy.incentive.fixed_point import U16, Int32, Int64, UInt16, Weights
from davy.sims.noise import UNIT_BITS

ANY: Final = (1 << 31) - 1
"""Above every score: a quality is at most 1 and a factor at most 5.3, so a product is below 2^31 in units."""

Measure: TypeAlias = Callable[[Int64, Int32 | UInt16, UInt16, int], Weights]
"""Quality [2, runs, M], a table of factors by word, words [runs, V, M] and the most that a score is, to scores
[2, runs, V, M], in 16 bits where they fit."""


def measured(quality: Int64, table: Int32 | UInt16, words: UInt16, most: int) -> Weights:
    """See `Measure`."""
    # In 32 bits: half the memory to go through, which is most of the time of an epoch's market.
    small = quality.astype(np.int32)[:, :, None, :] * table.take(words)
    small >>= UNIT_BITS
    return np.minimum(small, np.int32(most), out=small).astype(score_type(most))


def score_type(most: int) -> type[np.uint16 | np.int64]:
    return np.uint16 if most <= U16 else np.int64


def measure(*, compiled: bool) -> Measure:
    """`measured`, or what numba makes of it for the same bits; `accelerated` says what is missing without numba."""
    if not compiled:
        return measured
    from davy.sims.measuring_compiled import measured as in_one_pass

    return in_one_pass


def narrowed(table: Int32) -> Int32 | UInt16:
    """A table of 16 bits where its entries fit: half of it is in a cache twice as often."""
    return table.astype(np.uint16) if int(table.max()) <= U16 else table
