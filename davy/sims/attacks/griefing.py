"""Validators that hurt others rather than enrich themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from davy.incentive.fixed_point import Bool, Int64, row_normalise
from davy.incentive.permits import top_k
from davy.sims.attack import Attack, View
from davy.sims.attacks.lazy import Lazy
from davy.sims.market import within
from davy.sims.noise import UNIT, in_units


@dataclass(frozen=True, kw_only=True)
class UnderWeighing(Attack):
    """Validators give the best miners less than they measured, to hurt them or to drive them out.

    They measure honestly and multiply what the `victims` best get by `given`. A minority does not move the median, but
    rank is a sum over stake, so a victim loses about the attackers' share of its pay; the attackers lose the bonds they
    would have had in it. The griefing factor (ethresear.ch 2338) is what all others lose for each unit the attackers
    lose.

    Attributes
    ----------
    victims
        Miners that are under-weighted: in each epoch those with the highest public consensus.
    given
        Part of the measurement that they get.
    """

    validators: int = 4
    stake: float = 0.3
    victims: int = 8
    given: float = 0.0

    kind: str = field(default="under-weighing", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.victims", self.victims, 1, 4096)
        within("attack.given", self.given, 0, 1)

    def rows(self, v: View) -> Int64:
        best = top_k(v.consensus(), self.victims)
        return np.where(best[:, None, :], (v.own * in_units(self.given)) // UNIT, v.own)


@dataclass(frozen=True, kw_only=True)
class CommitWithoutReveal(Lazy):
    """Validators commit a guess and open it only where it turned out well.

    A commit is an option: when it is due, all others have revealed, and who waits for them knows whether its row will
    be clipped. These validators measure nothing, commit the public consensus, and keep back a row that is further than
    `apart` from what the others then say; the row before stays in force. Selective revealing is the last-mover attack
    on commit–reveal randomness; where nothing is lost by it, it is free. A ledger takes `unrevealed_penalty` of the
    dividends of the epoch in which a commit expires.

    Attributes
    ----------
    apart
        Total variation distance from the consensus of the others beyond which a row is not revealed; 0: never reveals.
    """

    apart: float = 0.05

    kind: str = field(default="commit-without-reveal", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.apart", self.apart, 0, 1)

    def rows(self, v: View) -> Int64:
        return v.each(v.consensus())

    def reveals(self, due: Int64, v: View) -> Bool:
        truth = row_normalise(v.consensus()[:, None, :])
        apart = np.abs(row_normalise(due) - truth).sum(axis=-1) >> 1
        return apart <= in_units(self.apart) << 16
