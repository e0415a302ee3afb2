"""Random evidence, from a seed: honest, lazy, lying and silent rows, newcomers, and columns nobody asked about."""

from dataclasses import fields
from typing import Any

import numpy as np

from davy.incentive.evidence import NOTHING, Evidence
from davy.incentive.mechanism import EpochInputs
from tests.incentive import epochs
from tests.incentive.epochs import Stream, replace

READERS = ("audited", "correlated")


def shape_of(seed: int) -> tuple[int, int]:
    """Epochs and tasks of the evidence of a seed: those of a batch are alike."""
    rng = Stream(seed + 10**9)
    return int(rng.integers(1, 9)), int(rng.integers(1, 40))


def evidence(rng: Stream, rows: int, columns: int, length: int, tasks: int) -> Evidence:
    """Places that move at random; every row by one of six habits, and six in ten tasks audited."""
    truth = np.zeros((length, columns), dtype=np.int64)
    truth[0] = rng.integers(0, 100, columns)
    for e in range(1, length):
        truth[e] = np.where(rng.chance(70, columns), truth[e - 1], rng.integers(0, 100, columns))
    order = np.argsort(rng.words((length, max(columns, tasks))), axis=-1)[:, :tasks]
    column = np.where((order < columns) & rng.chance(95, order.shape), order, NOTHING)
    true = np.take_along_axis(truth, np.maximum(column, 0), axis=-1)
    old = np.take_along_axis(np.vstack([truth[:1], truth[:-1]]), np.maximum(column, 0), axis=-1)
    said = np.zeros((length, rows, tasks), dtype=np.int64)
    for row in range(rows):
        noisy = np.clip(true + rng.integers(-20, 21, true.shape), 0, 99)
        drawn = rng.integers(0, 100, true.shape)
        habits = (noisy, noisy, old, drawn, np.full_like(true, 50), np.where(column % 3 == 0, 99, noisy))
        said[:, row] = habits[int(rng.integers(0, 6))]
    said = np.where(rng.chance(90, said.shape), said, NOTHING)
    labels = np.where(rng.chance(60, true.shape) & (column != NOTHING), true, NOTHING)
    return Evidence(reports=said.astype(np.int8), labels=labels.astype(np.int8), columns=column)


def epoch(seed: int, rows: int | None = None, columns: int | None = None) -> tuple[Any, EpochInputs, Any]:
    """The epoch of this seed, with evidence of two epochs or more."""
    s, x, p = epochs.epoch(seed, rows, columns)
    length, tasks = shape_of(seed)
    shown = evidence(Stream(seed + 2 * 10**9), x.weights.shape[0], x.weights.shape[1], length + 1, tasks)
    return s, replace(x, evidence=shown), p


def stack(all_inputs: list[EpochInputs]) -> EpochInputs:
    """Epochs of one shape with evidence of one shape, as a batch."""
    together: dict[str, Any] = {
        f.name: np.stack([getattr(x.evidence, f.name) for x in all_inputs]) for f in fields(Evidence)
    }
    return replace(epochs.stack(all_inputs), evidence=Evidence(**together))
