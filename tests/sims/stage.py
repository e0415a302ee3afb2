"""A scenario played epoch by epoch, so that a test can look at what is in force."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from davy.incentive.fixed_point import ONE, Int64, row_normalise
from davy.sims import Result, Scenario, Study, run
from davy.sims.play import Play


class Seen(NamedTuple):
    """Of each epoch of the attack: rows in force [epochs, 2, runs, V, M] and what was measured, in the same shape."""

    play: Play
    force: Int64
    numbers: Int64

    @property
    def theirs(self) -> Int64:
        """Rows of the attackers, [epochs, runs, a, M]."""
        return self.force[:, 1, :, self.play.s.seats.their_rows]

    @property
    def honest(self) -> Int64:
        return self.force[:, 1, :, self.play.s.seats.honest_rows]


def watched(s: Scenario) -> Seen:
    p = Play(s, range(s.runs))
    force: list[Int64] = []
    numbers: list[Int64] = []
    for t in range(s.start + s.epochs):
        told = p.epoch(t)
        if told is not None:
            force.append(p.force.astype(np.int64))
            numbers.append(told)
    return Seen(p, np.stack(force), np.stack(numbers))


def shares(rows: Int64) -> np.ndarray:
    return row_normalise(rows) / ONE


@lru_cache(maxsize=64)
def played(s: Scenario | Study) -> Result[Any]:
    return run(s)


def median(s: Scenario | Study, metric: str) -> float:
    return float(np.median(played(s).metrics[metric]))
