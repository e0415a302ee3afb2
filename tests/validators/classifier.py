"""A miner that tries to tell challenges from use: everything it sees as numbers, and two classifiers on them.

Boosted stumps find what a single number gives away, nearest neighbours what only several together do (a burst, a
silence, a rare combination). Both are trained with the labels of half of the requests, which no miner has, and judged
on the other half, then the other way round.
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.validators.traffic import Seen

Floats = npt.NDArray[np.float64]

BINS: Final = 24
ROUNDS: Final = 120
NEIGHBOURS: Final = 41


class Table(NamedTuple):
    """One row a request, one named column a thing its miner can see."""

    names: tuple[str, ...]
    values: Floats
    is_challenge: npt.NDArray[np.bool_]


class Verdict(NamedTuple):
    """How well one classifier tells: the area under its ROC curve, and how far chance alone can move it."""

    auc: float
    error: float

    @property
    def at_most(self) -> float:
        """The true area lies below this with 97.5 % confidence (one-sided)."""
        return self.auc + 1.96 * self.error


def tabulate(seen: Sequence[Seen], span_ms: int, tempo: int) -> Table:
    """Turn what a miner saw into numbers; `span_ms`, the length of a round, is the default that everybody can read."""
    rows: list[dict[str, float]] = [{} for _ in seen]
    for row, s in zip(rows, seen, strict=True):
        _headers(row, s)
        _body(row, s)
    _repetition(rows, seen)
    _timing(rows, [s.at_ms for s in seen], span_ms)
    _rate(rows, [s.height // tempo for s in seen])
    names = sorted({name for row in rows for name in row})
    values = np.array([[row.get(name, -1.0) for name in names] for row in rows])
    moves = values.min(0) < values.max(0)
    kept = tuple(n for n, m in zip(names, moves, strict=True) if m)
    return Table(kept, values[:, moves], np.array([s.is_challenge for s in seen]))


def _headers(row: dict[str, float], s: Seen) -> None:
    row["method and path"] = _number(f"{s.request.method} {s.request.path}")
    row["header order"] = _number(" ".join(name for name, _ in s.request.headers))
    fields = dict(s.request.headers)
    for name, value in fields.items():
        row[f"length of {name}"] = len(value)
    claimed = fields["signature-input"]
    row["signer"] = _number(_found(r'keyid="([0-9a-f]*)"', claimed))
    row["age"] = s.at_ms - 1000 * int(_found(r"created=(\d+)", claimed))
    row["anchor's age"] = s.height - int(fields["davy-anchor"].partition(":")[0])


def _body(row: dict[str, float], s: Seen) -> None:
    row["body bytes"] = len(s.request.body)
    told = json.loads(s.request.body)
    row["field order"] = _number(" ".join(told))
    prompt = told.pop("prompt")
    row["prompt bytes"] = len(prompt.encode())
    row["bytes beside the prompt"] = len(s.request.body) - len(json.dumps(prompt))
    for name, value in told.items():
        row[f"field {name}"] = float(value) if isinstance(value, (int, float)) else _number(json.dumps(value))


def _repetition(rows: list[dict[str, float]], seen: Sequence[Seen]) -> None:
    """How often each field's value, and the fields together, were seen before."""
    before: Counter[str] = Counter()
    for row, s in zip(rows, seen, strict=True):
        told = json.loads(s.request.body)
        prompt = told.pop("prompt")
        for name, value in [*told.items(), ("all but the prompt", told), ("prompt", prompt)]:
            key = f"{name}: {json.dumps(value)}"
            row[f"{name}: seen before"] = min(before[key], 3)
            before[key] += 1


def _timing(rows: list[dict[str, float]], at: list[int], span_ms: int) -> None:
    """Moment, phase in a round, gaps, and how many came shortly before, shortly after and in the same round."""
    rounds = Counter((t - at[0]) // span_ms for t in at)
    for i, (row, t) in enumerate(zip(rows, at, strict=True)):
        row["moment"] = t - at[0]
        row["phase in a round"] = (t - at[0]) % span_ms
        row["in the same round"] = rounds[(t - at[0]) // span_ms]
        for k in (1, 2, 4):
            row[f"gap to {k} before"] = _log(t - at[i - k]) if i >= k else -1.0
            row[f"gap to {k} after"] = _log(at[i + k] - t) if i + k < len(at) else -1.0
        for width in (1_000, 4_000, span_ms // 2):
            row[f"within {width} ms before"] = i - bisect.bisect_left(at, t - width)
            row[f"within {width} ms after"] = bisect.bisect_right(at, t + width) - 1 - i


def _rate(rows: list[dict[str, float]], epochs: Sequence[int]) -> None:
    """How many came in the same epoch, and how many more than in the one before."""
    count = Counter(epochs)
    for row, e in zip(rows, epochs, strict=True):
        row["in the same epoch"] = count[e]
        row["more than in the epoch before"] = count[e] - count[e - 1] if e - 1 in count else 0.0


def judge(t: Table, seed: int = 0) -> dict[str, Verdict]:
    """Train on one half and judge on the other, both ways round."""
    order = np.random.default_rng(seed).permutation(len(t.values))
    half = len(order) // 2
    told = {"stumps": np.zeros(len(order)), "neighbours": np.zeros(len(order))}
    for train, held in ((order[:half], order[half:]), (order[half:], order[:half])):
        x, y = t.values[train], t.is_challenge[train]
        told["stumps"][held] = _ranked(stumps(x, y, t.values[held]))
        told["neighbours"][held] = _ranked(neighbours(x, y, t.values[held]))
    return {name: area(scores, t.is_challenge) for name, scores in told.items()}


def area(scores: Floats, is_challenge: npt.NDArray[np.bool_]) -> Verdict:
    """Chance that a challenge scores above a user's request, ties half, with its error (Hanley & McNeil 1982)."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    n, m = int(is_challenge.sum()), int((~is_challenge).sum())
    a = float((middle[place][is_challenge].sum() - n * (n + 1) / 2) / (n * m))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    return Verdict(a, math.sqrt((a * (1 - a) + (n - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / (n * m)))


def stumps(x: Floats, y: npt.NDArray[np.bool_], held: Floats) -> Floats:
    """Gradient boosting of depth-one trees on the logistic loss (Friedman 2001), over quantile bins."""
    cuts = [np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1])) for column in x.T]
    binned = _binned(x, cuts)
    target = y.astype(np.float64)
    score = np.full(len(x), math.log(y.mean() / (1 - y.mean())))
    out = np.zeros(len(held))
    binned_held = _binned(held, cuts)
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-score))
        gradient, curvature = target - p, p * (1 - p)
        column, cut, low, high = max((_best_cut(b, gradient, curvature, j) for j, b in enumerate(binned.T)))[1]
        score += 0.1 * np.where(binned[:, column] <= cut, low, high)
        out += 0.1 * np.where(binned_held[:, column] <= cut, low, high)
    return out


def _best_cut(
    b: npt.NDArray[np.int64], gradient: Floats, curvature: Floats, column: int
) -> tuple[float, tuple[int, int, float, float]]:
    g = np.cumsum(np.bincount(b, gradient, BINS))[:-1]
    h = np.cumsum(np.bincount(b, curvature, BINS))[:-1]
    g_right, h_right = gradient.sum() - g, curvature.sum() - h
    gain = g * g / (h + 5) + g_right * g_right / (h_right + 5)
    cut = int(np.argmax(gain))
    return float(gain[cut]), (column, cut, float(g[cut] / (h[cut] + 5)), float(g_right[cut] / (h_right[cut] + 5)))


def _binned(x: Floats, cuts: Sequence[Floats]) -> npt.NDArray[np.int64]:
    return np.stack([np.searchsorted(c, column, side="left") for c, column in zip(cuts, x.T, strict=True)], axis=1)


def neighbours(x: Floats, y: npt.NDArray[np.bool_], held: Floats) -> Floats:
    """Share of challenges among the nearest requests, each column scaled to its ranks."""
    order = [np.sort(column) for column in x.T]
    scaled, scaled_held = (
        np.stack([np.searchsorted(c, column) / len(c) for c, column in zip(order, rows.T, strict=True)], axis=1)
        for rows in (x, held)
    )
    out = np.empty(len(held))
    for i, row in enumerate(scaled_held):
        near = np.argpartition(np.abs(scaled - row).sum(1), NEIGHBOURS)[:NEIGHBOURS]
        out[i] = y[near].mean()
    return out


def _ranked(scores: Floats) -> Floats:
    """Scores of two trainings are compared by rank."""
    return np.searchsorted(np.sort(scores), scores) / len(scores)


def _number(text: str) -> float:
    return float(int.from_bytes(text.encode()) % 9973)


def _log(ms: int) -> float:
    return math.log1p(ms)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]
