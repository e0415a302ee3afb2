"""Originality: UIDs with one fingerprint are a cluster, and a cluster is paid once.

The fingerprint is the list of reported log-probabilities on shared challenges. Two UIDs that run one model's files,
or of which one passes on the other's answers, report nearly the same; two trained models, even on the same text, do
not. How near is near is calibrated per model (`Calibration.kinship`). What this does not stop is written in
docs/scoring.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from davy.tasks.answer import Answer, Position
from davy.tasks.task import FloatArray

SHARED: Final = 16
"""Challenges that both must have answered before they are compared."""

K = TypeVar("K")


def distance(a: Sequence[Answer | None], b: Sequence[Answer | None]) -> float | None:
    """Median over shared challenges of the median |log q_a − log q_b| at the first token, over tokens both listed.

    A challenge on which they list no token in common counts as infinitely far. None below `SHARED` shared challenges.
    """
    distances = [
        apart(x.positions[0], y.positions[0]) for x, y in zip(a, b, strict=True) if x is not None and y is not None
    ]
    return float(np.median(distances)) if len(distances) >= SHARED else None


def apart(x: Position, y: Position) -> float:
    """Median |log q_x − log q_y| over tokens both listed; infinite if there is none."""
    _, at_x, at_y = np.intersect1d(x.listed, y.listed, assume_unique=True, return_indices=True)
    return float(np.median(np.abs(x.logprobs[at_x] - y.logprobs[at_y]))) if len(at_x) else np.inf


def clusters(answers: Mapping[K, Sequence[Answer | None]], kinship: float) -> list[list[K]]:
    """Who is nearer than `kinship` to anybody of a cluster belongs to it; in the order of `answers`.

    Parameters
    ----------
    answers
        Of each miner to the same challenges, in the same order.
    kinship
        Nats.
    """
    prints = {key: Fingerprint.of(own) for key, own in answers.items()}
    found: list[list[K]] = []
    for key, own in prints.items():
        near = [c for c in found if any(own.near(prints[other], kinship) for other in c)]
        found = [c for c in found if c not in near] + [[*(k for c in near for k in c), key]]
    place = {key: i for i, key in enumerate(answers)}
    return sorted((sorted(c, key=place.__getitem__) for c in found), key=lambda c: place[c[0]])


class Fingerprint(NamedTuple):
    """First positions of a miner's answers as arrays: two are compared at once, a hundred times as fast.

    `listed` and `logprobs` [challenges, widest list]; a place that is not filled is −1, and a challenge without an
    answer has none.
    """

    listed: NDArray[np.int64]
    logprobs: FloatArray

    @classmethod
    def of(cls, answers: Sequence[Answer | None]) -> Self:
        """Lay answers out; the same challenges in the same order for all that are compared."""
        first = [a.positions[0] if a is not None else None for a in answers]
        width = max((len(p.listed) for p in first if p is not None), default=0)
        listed = np.full((len(first), width), -1, np.int64)
        logprobs = np.zeros((len(first), width))
        for i, p in enumerate(first):
            if p is not None:
                listed[i, : len(p.listed)] = p.listed
                logprobs[i, : len(p.listed)] = p.logprobs
        return cls(listed, logprobs)

    def distance(self, other: Fingerprint) -> float | None:
        """`distance` of the answers, to the bit."""
        shared = (self.listed >= 0).any(1) & (other.listed >= 0).any(1)
        if shared.sum() < SHARED:
            return None
        own, theirs = self.listed[shared], other.listed[shared]
        same = (own[:, :, None] == theirs[:, None, :]) & (own >= 0)[:, :, None]
        partner = np.take_along_axis(other.logprobs[shared], same.argmax(2), 1)
        apart = np.where(same.any(2), np.abs(self.logprobs[shared] - partner), np.inf)
        apart.sort(axis=1)  # tokens that only one listed go to the end
        common, row = same.any(2).sum(1), np.arange(len(own))
        middles = apart[row, np.maximum(common - 1, 0) // 2], apart[row, common // 2]
        return float(np.median(np.where(common, (middles[0] + middles[1]) / 2, np.inf)))

    def near(self, other: Fingerprint, kinship: float) -> bool:
        """Whether both count as one model."""
        d = self.distance(other)
        return d is not None and d < kinship


def shares(
    weights: Mapping[K, float], groups: Sequence[Sequence[K]], capacity: Sequence[float] | None = None
) -> dict[K, float]:
    """Each member's weight divided by the number of members, so that a cluster earns what one of them would.

    Parameters
    ----------
    capacity
        One a cluster, at least 1: how many times the work of one it has shown under concurrent load. 1 where nothing
        was shown.
    """
    raised = capacity if capacity is not None else [1.0] * len(groups)
    return {
        key: weights[key] * min(1.0, max(1.0, shown) / len(group))
        for group, shown in zip(groups, raised, strict=True)
        for key in group
    }
