"""`davy.sims.measuring` in one pass instead of five: each factor is looked up once, for both arms."""

from __future__ import annotations

import numpy as np

from davy.incentive.compiled.jit import making_arrays
from davy.incentive.fixed_point import Int32, Int64, UInt16, Weights
from davy.sims.measuring import score_type
from davy.sims.noise import UNIT_BITS


def measured(quality: Int64, table: Int32 | UInt16, words: UInt16, most: int) -> Weights:
    """See `davy.sims.measuring.Measure`."""
    found = np.empty((len(quality), *words.shape), dtype=score_type(most))
    _measure(quality.astype(np.int32), table, np.ascontiguousarray(words), most, found)
    return found


@making_arrays
def _measure(quality: Int32, table: Int32 | UInt16, words: UInt16, most: int, found: Weights) -> None:
    arms, runs, rows, columns = found.shape
    factors = np.empty(columns, dtype=np.int32)  # a product of two that are 32 bits wide is one instruction
    for run in range(runs):
        for row in range(rows):
            for column in range(columns):
                factors[column] = table[words[run, row, column]]
            for arm in range(arms):
                for column in range(columns):
                    score = (quality[arm, run, column] * factors[column]) >> UNIT_BITS
                    found[arm, run, row, column] = min(score, most)
