"""A miner that is good to validators and cheap to users."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.sims.attack import Attack, Shown
from davy.sims.market import Market, Seats, base_units, within
from davy.sims.noise import UNIT_BITS, Draws, in_units
from davy.tasks.identity import ALARMS


@dataclass(frozen=True, kw_only=True)
class SelectiveQuality(Attack):
    """A miner serves its good model to requests that it takes for challenges, and a cheap one to users.

    It recognises a challenge with probability `recall` and takes a user for a validator with probability `mistaken`;
    where challenges look like use the two are the same number. Gateways hand users' signed exchanges to validators,
    each of which runs `looked_at` of this miner's again in an epoch; an answer of the cheap model shows up with
    probability `power`, and a validator that counts as many alarms as `davy.tasks.identity` allows gives the miner
    nothing from then on. No quantified source was found for this attack: the definitions here are davy's own.

    Attributes
    ----------
    cheap
        Quality of what users get; it costs in proportion.
    recall, mistaken
        Of challenges, and of users' requests, that get the good model.
    challenges
        Part of the miner's requests that are challenges.
    looked_at
        Users' answers that a validator runs again in an epoch; 0: none.
    power
        Probability that a cheap answer is told from the registered model's.
    """

    validators: int = 0
    stake: float = 0.0
    miners: int = 4
    quality: float = 0.8
    cheap: float = 0.2
    recall: float = 0.9
    mistaken: float = 0.05
    challenges: float = 0.1
    looked_at: int = 0
    power: float = 0.5

    kind: str = field(default="selective-quality", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.miners", self.miners, 1, 4096)
        for name in ("cheap", "recall", "mistaken", "challenges", "power"):
            within(f"attack.{name}", getattr(self, name), 0, 1)
        within("attack.looked_at", self.looked_at, 0, 1000)

    def mixed(self, good: float) -> float:
        """Quality of answers of which a part of `good` comes from the good model."""
        return self.cheap + (self.quality - self.cheap) * good

    def shown(self, quality: Int64, seats: Seats, *, attacking: bool) -> Shown:
        honest = super().shown(quality, seats, attacking=False)
        if not attacking:
            return honest
        measured, used = honest.measured.copy(), honest.used.copy()
        measured[:, seats.their_columns] = in_units(self.mixed(self.recall))
        used[:, seats.their_columns] = in_units(self.mixed(self.mistaken))
        return Shown(measured, used)

    def alarms(self, draws: Draws, seats: Seats) -> Int64:
        """Users' answers, [runs, V, a], that each validator found to be the cheap model's in an epoch."""
        if not self.looked_at:
            return np.zeros((1, 1, 1), dtype=np.int64)
        found = draws.chance((1 - self.mistaken) * self.power, seats.rows, seats.attack_columns, self.looked_at)
        return found.sum(axis=-1)

    def convicted(self, scores: Int64, alarms: Int64, seats: Seats) -> Int64:
        paid = scores.copy()
        paid[..., seats.their_columns] = np.where(alarms >= ALARMS, 0, scores[..., seats.their_columns])
        return paid

    def caught(self, alarms: Int64) -> Int64:
        return (2 * (alarms >= ALARMS).sum(axis=1) >= alarms.shape[1]).sum(axis=-1)

    def spends(self, m: Market, *, attacking: bool) -> int:
        good = self.challenges * self.recall + (1 - self.challenges) * self.mistaken if attacking else 1.0
        return self.miners * (base_units(m.serving) * in_units(self.mixed(good)) >> UNIT_BITS)
