"""Validators that do not work, and do not look at the others either."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.sims.attack import Attack, View
from davy.sims.market import Market, base_units
from davy.sims.noise import UNIT


@dataclass(frozen=True, kw_only=True)
class Lazy(Attack):
    """Base of those that spend nothing on measuring."""

    validators: int = 2
    stake: float = 0.125
    miners: int = 0

    kind: str = field(default="lazy", init=False, repr=False)

    def spends(self, m: Market, *, attacking: bool) -> int:
        saved = self.validators * base_units(m.validating) if attacking else 0
        return super().spends(m, attacking=attacking) - saved


@dataclass(frozen=True, kw_only=True)
class LazyConstant(Lazy):
    """Validators set weights once and never again.

    Either all miners get the same (`uniform`), which is what a validator without any model says, or the row of the
    attack's first epoch stays for good (`frozen`), which was right once. Verification games without a check have such
    validators in equilibrium (2406.01794); here they live on what clipping leaves them.

    Attributes
    ----------
    row
        `uniform` or `frozen`.
    """

    row: Literal["uniform", "frozen"] = "uniform"

    kind: str = field(default="lazy-constant", init=False, repr=False)

    def rows(self, v: View) -> Int64:
        if self.row == "uniform":
            return np.full_like(v.own, UNIT)
        return v.own if v.epoch == 0 else v.before


@dataclass(frozen=True, kw_only=True)
class LazyRandom(Lazy):
    """Validators draw their weights.

    A row of even random numbers a validator and epoch: the naive strategy of peer prediction, which any mechanism that
    pays for agreement has to pay less than work (1603.03151 calls it uninformed and makes it the benchmark).
    """

    kind: str = field(default="lazy-random", init=False, repr=False)

    def rows(self, v: View) -> Int64:
        return v.draws.below(2 * UNIT, *v.own.shape[1:])


@dataclass(frozen=True, kw_only=True)
class SharedNoise(Attack):
    """A cartel agrees on a row and all of it gives that row.

    Informed, one member measures and the others repeat it: they pay for one measurement, and their common error weighs
    as much in the median as all of them. Uninformed, they agree on random numbers, anew each epoch: agreement without
    information, which peer prediction pays wherever the agreeing hold the median (1606.07042 on why that cannot be
    told from truth by agreement alone).

    Attributes
    ----------
    informed
        Whether a member measures.
    """

    validators: int = 6
    stake: float = 0.25
    informed: bool = False

    kind: str = field(default="shared-noise", init=False, repr=False)

    def rows(self, v: View) -> Int64:
        if self.informed:
            return v.each(v.own[:, 0])
        return v.each(v.draws.below(2 * UNIT, v.seats.columns))

    def spends(self, m: Market, *, attacking: bool) -> int:
        idle = self.validators - int(self.informed)
        saved = idle * base_units(m.validating) if attacking else 0
        return super().spends(m, attacking=attacking) - saved
