"""What honest stake keeps against a cabal, in one epoch: the experiment of subtensor's docs/consensus.md, made anew.

An honest side and a cabal, each with validators and miners in proportion to its stake. A validator of a side gives its
own miners a utility W, and the others' 1 − W; within each of the two blocks weights are max(0, 1 + σz), normalised. The
honest side retains its stake s where its share of the emission, (1 − ξ)·incentive + ξ·dividends, is at least s.
*Retention* is the least utility W_H that the honest must put into their own miners to retain s whatever utility W_C the
cabal chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import joblib  # pyright: ignore[reportMissingTypeStubs]
import numpy as np

from davy.incentive.accelerated import accelerated
from davy.incentive.fixed_point import ONE, U16, Int64, row_normalise
from davy.incentive.mechanism import EpochInputs, Params
from davy.incentive.registry import mechanism
from davy.incentive.weights import upscale_to_u16
from davy.sims.market import base_units, within
from davy.sims.noise import UNIT, Draws, Purpose, in_units, normal

STEPS: Final = 100
"""Utilities are hundredths."""
_CELLS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Defaults are those of the published figures.

    Attributes
    ----------
    uids, validators
        In all, and how many of them have stake.
    honest
        s: share of the honest side, of stake, validators and miners.
    sigma
        σ: noise within a block.
    bond_penalty
        β as u16.
    validator_share
        ξ: part of the emission that goes by dividends.
    mechanism
        The figures were published for Yuma 2.
    """

    uids: int = 512
    validators: int = 64
    honest: float = 0.6
    sigma: float = 0.4
    bond_penalty: int = U16
    validator_share: float = 0.5
    kappa: int = 32_767
    mechanism: str = "yuma2"
    seed: int = 1

    def __post_init__(self) -> None:
        within("uids", self.uids, 4, 4096)
        within("validators", self.validators, 2, self.uids - 2)
        within("honest", self.honest, 1 / self.validators, 1 - 1 / self.validators)
        within("sigma", self.sigma, 0, 1)
        within("validator_share", self.validator_share, 0, 1)


class Sides:
    """Stakes and the noise of both sides' blocks, drawn once for all utilities."""

    def __init__(self, r: Retention) -> None:
        self.r, miners = r, r.uids - r.validators
        self.rows, self.columns = round(r.honest * r.validators), round(r.honest * miners)
        drawn = Draws(r.seed, range(1), Purpose.STAKE).of(normal(0.3, 1.0, 0.0), r.validators)[0]
        share = in_units(r.honest)
        self.stake = np.concatenate(
            [row_normalise(drawn[: self.rows]) * share, row_normalise(drawn[self.rows :]) * (UNIT - share)]
        ) // (UNIT * ONE // base_units(1_000))
        factors = Draws(r.seed, range(1), Purpose.SCORES).of(normal(r.sigma, 1.0, 0.0), r.validators, miners)[0]
        self.blocks = row_normalise(factors[:, : self.columns]), row_normalise(factors[:, self.columns :])

    def weights(self, rows: slice, to_honest: float) -> Int64:
        """Rows [some, M] that give `to_honest` of their sum to honest miners."""
        utility = in_units(to_honest)
        left, right = self.blocks
        return upscale_to_u16(np.concatenate([left[rows] * utility, right[rows] * (UNIT - utility)], axis=1))


def kept(sides: Sides, honest: int, cabal: Sequence[int], *, compiled: bool = False) -> tuple[Int64, Int64]:
    """The honest side's incentive and dividends, Q30 [cells], for W_H and each W_C in hundredths."""
    r = sides.r
    chosen = accelerated(r.mechanism) if compiled else mechanism(r.mechanism)
    p = Params(bond_penalty=r.bond_penalty, kappa=r.kappa)
    ours = sides.weights(slice(0, sides.rows), honest / STEPS)
    found: list[tuple[Int64, Int64]] = []
    for at in range(0, len(cabal), _CELLS):
        theirs = [sides.weights(slice(sides.rows, None), 1 - c / STEPS) for c in cabal[at : at + _CELLS]]
        weights = np.stack([np.concatenate([ours, rows]) for rows in theirs])
        x = EpochInputs.unmasked(weights, sides.stake)
        _, result = chosen.epoch(chosen.initial(weights.shape), x, p)
        own = result.incentive[:, : sides.columns].sum(axis=-1), result.dividends[:, : sides.rows].sum(axis=-1)
        found.append(own)
    incentive, dividends = zip(*found, strict=True)
    return np.concatenate(incentive), np.concatenate(dividends)


def emission_share(incentive: Int64, dividends: Int64, validator_share: float) -> Int64:
    """(1 − ξ)·incentive + ξ·dividends, Q30."""
    xi = in_units(validator_share)
    return ((UNIT - xi) * incentive + xi * dividends) // UNIT


def retention(r: Retention, step: int = 1, *, compiled: bool = False) -> float:
    """The least W_H, to a hundredth, at which the honest side keeps its stake for every W_C on a grid of `step` of 100.

    By bisection between 0 and 1: what is kept rises with W_H (`retention_map` shows it). NaN where not even W_H = 1
    keeps it.
    """
    sides = Sides(r)
    cabal = range(0, STEPS + 1, step)
    needed = round(r.honest * ONE) - ONE // 1000  # sides are whole validators and miners: 38 of 64 are not quite .6

    def holds(honest: int) -> bool:
        return bool((emission_share(*kept(sides, honest, cabal, compiled=compiled), r.validator_share) >= needed).all())

    low, high = 0, STEPS
    if not holds(high):
        return float("nan")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high / STEPS


def retention_map(
    r: Retention, honest: Sequence[int], cabal: Sequence[int], jobs: int = 1, *, compiled: bool = False
) -> Int64:
    """What the honest side keeps, Q30 [W_H, W_C], on a grid in hundredths; the same bits for any `jobs` and `compiled`.

    Compiled rules are shared by `jobs` threads, so they are compiled once; the others run in as many processes. At full
    size the compiler takes longer than one map of the reference, and five maps are where it pays.

    Raises
    ------
    davy.incentive.accelerated.NotInstalled
        `compiled`, and numba is missing.
    """
    library: Any = joblib
    sides = Sides(r)
    work = library.Parallel(n_jobs=jobs, prefer="threads" if compiled else "processes")
    rows: list[Int64] = work(library.delayed(_row)(sides, w, cabal, compiled) for w in honest)
    return np.stack(rows)


def _row(sides: Sides, honest: int, cabal: Sequence[int], compiled: bool) -> Int64:
    return emission_share(*kept(sides, honest, cabal, compiled=compiled), sides.r.validator_share)
