"""Originality: UIDs with one fingerprint are a cluster, and a cluster is paid once.

The fingerprint is the list of reported log-probabilities on shared challenges. Two UIDs that run one model's files,
or of which one passes on the other's answers, report nearly the same; two trained models, even on the same text, do
not. How near is near is calibrated per model (`Calibration.kinship`). What this does not stop is written in
docs/scoring.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np

from davy.tasks.answer import Answer, Position

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
    found: list[list[K]] = []
    for key, own in answers.items():
        near = [c for c in found if any(_near(own, answers[other], kinship) for other in c)]
        found = [c for c in found if c not in near] + [[*(k for c in near for k in c), key]]
    place = {key: i for i, key in enumerate(answers)}
    return sorted((sorted(c, key=place.__getitem__) for c in found), key=lambda c: place[c[0]])


def _near(a: Sequence[Answer | None], b: Sequence[Answer | None], kinship: float) -> bool:
    d = distance(a, b)
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
