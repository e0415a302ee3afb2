"""Validators that copy the weights of others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from davy.incentive.fixed_point import Int64, UInt16
from davy.sims.attack import Attack, View
from davy.sims.market import Market, base_units, within
from davy.sims.noise import UNIT_BITS, in_units


@dataclass(frozen=True, kw_only=True)
class WeightCopying(Attack):
    """Validators measure nothing and copy what the others think.

    They commit the consensus, or the stake-weighted average, of the rows that are public when an epoch ends. With open
    weights these are of the same epoch; under commit–reveal they are as old as the concealment, and so wrong about
    every miner that changed since. A copy of the consensus is closer to it than any measurement, so what is fresh is
    paid better than work. Opentensor's weight-copying report measured 1.132 of an honest validator's dividend without
    concealment and 1.037 at 24 tempos, on 44 subnets; 2406.01794 has the lazy validator as a game.

    Attributes
    ----------
    lag
        Epochs that they wait beyond what is public.
    source
        `consensus`, the clipped median, or `average`.
    """

    validators: int = 2
    stake: float = 0.1
    lag: int = 0
    source: Literal["consensus", "average"] = "consensus"

    kind: str = field(default="weight-copying", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.lag", self.lag, 0, 100)

    @property
    def looks_back(self) -> int:
        return self.lag + 1

    def rows(self, v: View) -> Int64:
        return v.each(v.consensus(self.lag) if self.source == "consensus" else v.average(self.lag))

    def spends(self, m: Market, *, attacking: bool) -> int:
        serving = self.miners * (base_units(m.serving) * in_units(self.quality) >> UNIT_BITS)
        return serving if attacking else super().spends(m, attacking=False)


@dataclass(frozen=True, kw_only=True)
class FrontRunningReveals(WeightCopying):
    """Validators wait for the others' reveals and commit right after, before the epoch ends.

    A commitment names its validator, so nobody can hand in another's as its own; what is revealed can only be copied
    into the next commit. The ledger takes a commit in any block of the running epoch, the last one too, and honest
    validators reveal somewhere in it: whoever commits at `waited` of the epoch knows the rows revealed by then, and
    of the others those of the epoch before. So the whole gain of running ahead is rows that are fresher by less than an
    epoch, and still as old as the concealment. Front-running is Eskandari, Moosavi and Clark 2019; no quantified source
    for reveals was found.

    Attributes
    ----------
    waited
        Part of the epoch after which they commit.
    """

    waited: float = 0.95

    kind: str = field(default="front-running-reveals", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.waited", self.waited, 0, 1)

    @property
    def looks_back(self) -> int:
        return self.lag + 2

    def rows(self, v: View) -> Int64:
        fresh, old = v.revealed(self.lag), v.revealed(self.lag + 1)
        seen = v.draws.chance(self.waited, fresh.shape[1])[..., None]

        def revealed(_: int) -> UInt16:
            return np.where(seen, fresh, old)

        return WeightCopying.rows(self, replace(v, revealed=revealed))
