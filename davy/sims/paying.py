"""Who is paid what in an epoch: base units by row, and summed up by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from davy.incentive.emission import cut, emit
from davy.incentive.fixed_point import Bool, Int64
from davy.incentive.mechanism import EpochResult
from davy.sims.market import Market, Seats, base_units

SIDES: Final = (
    "attack_validators", "attack_miners", "honest_validators", "honest_miners", "owner", "lost", "bought", "hurt",
)  # fmt: skip
"""What an epoch paid, an arm and run: see `davy.sims.play.COLUMNS`."""


class Paid(NamedTuple):
    """`SIDES` [2, runs, 8], and the dividends [2, runs, V] in base units."""

    sides: Int64
    dividends: Int64


@dataclass(frozen=True, slots=True)
class Paying:
    """The rule of a market; `amount` in base units, `owner_cut` and `penalty` u16."""

    amount: int
    owner_cut: int
    penalty: int
    seats: Seats

    def paid(self, result: EpochResult, used: Int64, missed: Bool) -> Paid:
        """What `result` is worth, by `emission.emit`, to both arms [2, runs, ...].

        Miners give `used` [2, runs, M]. Who `missed` a reveal, [2, runs, V], loses `penalty` of its dividends.
        """
        seats, e = self.seats, emit(self.amount, result, self.owner_cut)
        fined = np.where(missed, cut(e.dividends, self.penalty), 0)
        dividends, incentive = e.dividends - fined, e.incentive
        hurt = np.zeros(e.unminted.shape, dtype=np.int64)
        hurt[1] = lost(dividends[..., seats.honest_rows]) + lost(incentive[..., seats.honest_columns])
        sides = (
            dividends[..., seats.their_rows].sum(axis=-1),
            incentive[..., seats.their_columns].sum(axis=-1),
            dividends[..., seats.honest_rows].sum(axis=-1),
            incentive[..., seats.honest_columns].sum(axis=-1),
            np.full_like(hurt, e.owner),
            e.unminted + fined.sum(axis=-1),
            (result.incentive * used).sum(axis=-1) // np.maximum(result.incentive.sum(axis=-1), 1),
            hurt,
        )
        return Paid(np.stack(sides, axis=-1), dividends)


def lost(pay: Int64) -> Int64:
    """Σ max(0, honest arm's − attacked arm's) of pay [2, runs, n]: nobody's gain makes up for another one's loss."""
    return np.maximum(pay[0] - pay[1], 0).sum(axis=-1)


def paying(m: Market, seats: Seats, *, compiled: bool) -> Paying:
    """The reference, or what numba makes of it for the same bits."""
    amount = base_units(m.emission)
    if not compiled:
        return Paying(amount, m.owner_cut, m.unrevealed_penalty, seats)
    from davy.sims.paying_compiled import PayingCompiled

    return PayingCompiled(amount, m.owner_cut, m.unrevealed_penalty, seats)
