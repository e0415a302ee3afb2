"""Identity: does a miner run the model whose files it named? Its report is held against a run of those files.

The gap of an answer is the median of |log q − log q*| over all tokens it listed, q the report and q* one's own run.
What gap an honest run shows is not assumed: it is measured per model and committed (`Calibration`), across batch
sizes and threads, against copies with int8 weights, an early checkpoint and another good model. An answer whose gap
exceeds the threshold is an alarm. One alarm may be chance; `ALARMS` of them among the answers examined are a verdict,
so that who runs the right model only now and then is found out too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from math import comb
from typing import Final

import msgspec
import numpy as np

from davy.protocol.errors import Malformed
from davy.protocol.manifest import Manifest
from davy.tasks.answer import Answer
from davy.tasks.task import FloatArray

ALARMS: Final = 2
"""So many alarms end a miner's pay. At 1 an honest miner would lose its pay by chance; each one more lets a miner give
another model's answers that much more often before it is found out."""
EXAMINED: Final = 8
"""Answers needed before a miner is said to be the same."""


class Verdict(StrEnum):
    """Whether the reports come from the files."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """No files to run, or too few answers yet: no claim is made."""


class Role(StrEnum):
    """What a condition of the calibration stands for."""

    HONEST = "honest"
    DISHONEST = "dishonest"
    """A cheaper copy of the model: int8 weights."""
    STRANGER = "stranger"
    """Another training, or an earlier state of this one."""
    REFUSED = "refused"
    """An honest run in a compute type that cannot be told from a dishonest one: taken for dishonest."""
    UNDECIDED = "undecided"


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of running a model, measured: gaps over `answers` answers of up to 16 positions."""

    name: str
    role: Role
    answers: int
    median: float
    least: float
    largest: float
    above: int
    """Answers whose gap exceeds the threshold: alarms."""
    distance: float
    """Median distance from the reference's own answers, as davy.tasks.originality has it."""


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured for one model; written by `python -m davy.tasks.calibrate`, never by hand."""

    model: str
    weights: str
    """SHA-256 of model.safetensors, hex."""
    dtype: str
    """The compute type that is honest: a miner that computes in another one is taken for another model."""
    threshold: float
    """Nats; a larger gap to one's own run is an alarm."""
    kinship: float
    """Nats; reports of two miners nearer than this come from one model (davy.tasks.originality)."""
    false_alarm: float
    """95% upper bound of an honest answer's chance of an alarm."""
    missed: float
    """95% upper bound of a dishonest answer's chance of none, over the dishonest conditions together."""
    conditions: tuple[Condition, ...]


def read_calibration(raw: bytes) -> Calibration:
    """Decode a committed calibration.

    Raises
    ------
    Malformed
    """
    try:
        return msgspec.json.decode(raw, type=Calibration)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as e:
        raise Malformed(f"not a calibration: {e}; write one with python -m davy.tasks.calibrate") from None


def belongs(calibration: Calibration, manifest: Manifest) -> bool:
    """Whether the calibration was measured on these weights, and not on those the folder held before."""
    return calibration.weights in {f.digest.hex() for f in manifest.files if f.name.endswith(".safetensors")}


def gap(answer: Answer, rerun: FloatArray) -> float:
    """Median |log q − log q*| in nats over every token that the answer lists.

    Parameters
    ----------
    rerun
        [positions, vocabulary]: natural log-probabilities of one's own run after the same prompt and tokens.
    """
    apart = [np.abs(p.logprobs - rerun[i, p.listed]) for i, p in enumerate(answer.positions)]
    return float(np.median(np.concatenate(apart)))


def alarms(gaps: Sequence[float], calibration: Calibration) -> int:
    """Count the answers whose gap exceeds the threshold."""
    return sum(g > calibration.threshold for g in gaps)


def verdict(gaps: Sequence[float], calibration: Calibration) -> Verdict:
    """Judge the gaps of several answers; `ALARMS` alarms are enough, whatever the others show."""
    if alarms(gaps, calibration) >= ALARMS:
        return Verdict.DIFFERENT
    return Verdict.SAME if len(gaps) >= EXAMINED else Verdict.UNKNOWN


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Clopper–Pearson: the largest rate at which `events` or fewer of `trials` have a chance of 1 − confidence."""
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        if _at_most(events, trials, rate) > 1 - confidence:
            low = rate
        else:
            high = rate
    return high


def _at_most(events: int, trials: int, rate: float) -> float:
    """P(X ≤ events), X binomial."""
    return sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(events + 1))


def threshold_between(honest: Iterable[float], dishonest: Iterable[float]) -> float:
    """The gap that misjudges fewest answers, in the middle (geometrically) of the widest such stretch."""
    h, d = np.sort(np.fromiter(honest, float)), np.sort(np.fromiter(dishonest, float))
    edges = np.unique(np.concatenate([h, d]))
    tiny = 1e-9
    middles = np.sqrt(np.maximum(edges[:-1], tiny) * np.maximum(edges[1:], tiny))
    wrong = (len(h) - np.searchsorted(h, middles, "right")) + np.searchsorted(d, middles, "right")
    widths = np.where(wrong == wrong.min(), np.maximum(edges[1:], tiny) / np.maximum(edges[:-1], tiny), 0.0)
    return float(middles[int(np.argmax(widths))])
