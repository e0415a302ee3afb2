"""How many wallets decide: heavy-tailed stake, its concentration, and what a cap on stake would change.

Lui and Sun (arXiv 2507.02951) find stake on Bittensor's 64 subnets so concentrated that very few wallets hold 51%, and
propose to count no wallet's stake beyond the 88th percentile. Here stakes are drawn from two families of heavy tails
whose concentration is known in closed form, so that what is computed can be checked, and the cap be judged by how heavy
the tail is.

`coalition` counts; `decides` asks `davy.incentive` itself whether a coalition has the consensus.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from davy.incentive.fixed_point import ONE, Int64
from davy.incentive.mechanism import EpochInputs, Params
from davy.incentive.registry import mechanism
from davy.sims.market import within
from davy.sims.noise import LEVELS, Draws, Purpose
from davy.sims.tracing import Float

_SCALE: Final = 10**6
"""Of the least Pareto stake, and of the median log-normal one."""


@dataclass(frozen=True, kw_only=True)
class Stakes:
    """A population of wallets, drawn `runs` times.

    Attributes
    ----------
    family
        `pareto`: P(S > s) = s^−tail for s ≥ 1. `lognormal`: ln S is normal with a deviation of `tail`.
    tail
        Heavier the smaller it is for Pareto, which has no mean at 1 and below; the larger it is for log-normal.
    """

    family: Literal["pareto", "lognormal"] = "pareto"
    tail: float = 1.16
    wallets: int = 256
    runs: int = 100
    seed: int = 1

    def __post_init__(self) -> None:
        within("tail", self.tail, 0.2, 10) if self.family == "lognormal" else within("tail", self.tail, 1.01, 10)
        within("wallets", self.wallets, 2, 1_000_000)
        within("runs", self.runs, 1, 1_000_000)

    def draw(self) -> Int64:
        """[runs, wallets]; the tail ends at the quantile 1 − 2^−17."""
        words = Draws(self.seed, range(self.runs), Purpose.STAKE).words(self.wallets)
        return _quantiles(self.family, self.tail).take(words)


@lru_cache(maxsize=64)
def _quantiles(family: str, tail: float) -> NDArray[np.int64]:
    """S at the 2^16 quantiles (k + ½) / 2^16."""
    at = ((k + 0.5) / LEVELS for k in range(LEVELS))
    z = NormalDist()
    values = [exp(tail * z.inv_cdf(q)) for q in at] if family == "lognormal" else [(1 - q) ** (-1 / tail) for q in at]
    table = np.array([max(1, round(v * _SCALE)) for v in values], dtype=np.int64)
    table.flags.writeable = False
    return table


def gini(stakes: Int64) -> Float:
    """Σ_i Σ_j |s_i − s_j| / (2 n Σ s), [...] of [..., wallets]: 0 where all are equal."""
    ordered = np.sort(stakes, axis=-1).astype(np.float64)
    n = ordered.shape[-1]
    rank: Float = 2.0 * np.arange(1, n + 1, dtype=np.float64) - n - 1
    return (ordered * rank).sum(axis=-1) / (n * ordered.sum(axis=-1))


def top_share(stakes: Int64, part: float) -> Float:
    """What the largest `part` of the wallets hold, of all, [...]."""
    n = stakes.shape[-1]
    largest = np.sort(stakes, axis=-1)[..., n - max(1, round(part * n)) :]
    return largest.sum(axis=-1) / stakes.sum(axis=-1)


def capped(stakes: Int64, percentile: float) -> Int64:
    """Stakes as they would count if none counted beyond that percentile (nearest rank) of its population."""
    n = stakes.shape[-1]
    at = min(n - 1, max(0, -(-round(percentile * n * 100) // 10_000) - 1))
    return np.minimum(stakes, np.sort(stakes, axis=-1)[..., at : at + 1])


def coalition(stakes: Int64, majority: float = 0.51) -> Int64:
    """The fewest wallets that hold `majority` of the stake or more, [...]."""
    held = np.cumsum(np.sort(stakes, axis=-1)[..., ::-1], axis=-1)
    return (held < majority * held[..., -1:]).sum(axis=-1) + 1


def decides(stakes: Int64, members: int, name: str = "yuma3", params: Params | None = None) -> Float:
    """What share of the incentive the `members` largest wallets, as validators, can give a miner that no other weighs.

    [...] of [..., wallets]: one epoch of the mechanism, the coalition's weight on one miner, all others' on another.
    """
    ordered = np.sort(stakes, axis=-1)[..., ::-1]
    weights = np.zeros((*ordered.shape, 2), dtype=np.int64)
    weights[..., :members, 1] = 1
    weights[..., members:, 0] = 1
    chosen = mechanism(name)
    p = params or Params(max_validators=ordered.shape[-1])
    _, result = chosen.epoch(chosen.initial(weights.shape), EpochInputs.unmasked(weights, ordered), p)
    return result.incentive[..., 1] / ONE
