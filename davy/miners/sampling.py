"""From a distribution to a token, so that a validator can do it again.

At temperature 0 the token is the reported argmax. Otherwise it is drawn with a number that depends on (seed, position)
alone: Philox 4x64 (Salmon et al., SC 2011), counter-based, the same on every platform.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from davy.network.openai import CompletionRequest
from davy.protocol.errors import BadAnswer

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class Pick(NamedTuple):
    """A chosen token and what is reported with it."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def pick(logprobs: Floats, request: CompletionRequest, position: int, ids: Ids | None = None) -> Pick:
    """Choose the token at `position` (0 is the first generated one).

    Parameters
    ----------
    logprobs
        [n], natural logs; entries that are not finite are never chosen nor listed.
    ids
        [n], the tokens' ids; left out: 0 … n-1.

    Raises
    ------
    BadAnswer
        Nothing is possible: no entry is finite.
    """
    listed = request.logprobs or 0
    greedy = request.temperature == 0
    order = ranking(logprobs, max(1, listed) if greedy else len(logprobs))
    if not len(order):
        raise BadAnswer("the model gives no possible next token: its probabilities are zero, empty or not numbers")
    ranked = logprobs[order]
    chosen = 0 if greedy else draw(ranked, request.temperature, request.top_p, uniform(request.seed or 0, position))
    names = order if ids is None else ids[order]
    token, logprob = int(names[chosen]), float(ranked[chosen])
    top = tuple(zip(names[:listed].tolist(), ranked[:listed].tolist(), strict=True))
    if request.logprobs is not None and chosen >= listed:
        top = (*top, (token, logprob))
    return Pick(token, logprob, top)


def ranking(logprobs: Floats, k: int) -> Ids:
    """Indices of the (at most) k largest finite entries, largest first, equal ones by index."""
    finite = np.flatnonzero(np.isfinite(logprobs))
    if k < len(finite):
        least = np.partition(logprobs[finite], -k)[-k]
        finite = finite[logprobs[finite] >= least]
    return finite[np.argsort(-logprobs[finite], kind="stable")[:k]]  # stable: equal ones stay in order of index


def draw(ranked: Floats, temperature: float, top_p: float, u: float) -> int:
    """Index of a draw from softmax(ranked / temperature), cut to the fewest largest whose mass reaches `top_p`.

    Parameters
    ----------
    ranked
        [n], logs in descending order.
    u
        Uniform in [0, 1).
    """
    with np.errstate(over="ignore"):  # a tiny temperature: all but the largest fall to zero
        mass: Floats = np.cumsum(np.exp((ranked - ranked[0]) / temperature))
    kept = int(np.searchsorted(mass, top_p * float(mass[-1]))) + 1
    kept = min(kept, len(mass))
    return min(int(np.searchsorted(mass[:kept], u * float(mass[kept - 1]), side="right")), kept - 1)


def uniform(seed: int, position: int) -> float:
    """Philox4x64-10 with key (seed, position), counter 1: the upper 53 bits of its first word, over 2^53."""
    key = np.array([seed, position], dtype=np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key)).random())
