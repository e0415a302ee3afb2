"""Miners that answer from memory, or as late as they may."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from davy.incentive.fixed_point import Int64
from davy.sims.attack import Attack, Shown
from davy.sims.market import Market, Seats, base_units, within
from davy.sims.noise import UNIT_BITS, in_units
from davy.validators.examiner import Pace

_DEADLINE_MS: Final = float(Pace().deadline_ms)


@dataclass(frozen=True, kw_only=True)
class Caching(Attack):
    """A miner answers from memory what it was asked before, and has a cheap model for the rest.

    It stores the good answers to every prompt it ever saw. Where challenges come from a fixed set, it has soon seen
    them all and needs no model: benchmark leakage as a business. davy's challenges are drawn from a private seed, anew
    for each validator and epoch, so that hardly any is asked twice (`repeats`), while users do repeat themselves; then
    a cache saves its owner something and is no attack on validators. Cached answers cost nothing. No quantified source
    was found; the metric is davy's own.

    Attributes
    ----------
    repeats, user_repeats
        Part of the challenges, and of the users' prompts, that it has in store.
    cheap
        Quality of the model behind the store; it costs in proportion.
    challenges
        Part of the miner's requests that are challenges.
    """

    validators: int = 0
    stake: float = 0.0
    miners: int = 4
    quality: float = 0.8
    cheap: float = 0.2
    repeats: float = 0.02
    user_repeats: float = 0.3
    challenges: float = 0.1

    kind: str = field(default="caching", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.miners", self.miners, 1, 4096)
        for name in ("cheap", "repeats", "user_repeats", "challenges"):
            within(f"attack.{name}", getattr(self, name), 0, 1)

    def shown(self, quality: Int64, seats: Seats, *, attacking: bool) -> Shown:
        honest = super().shown(quality, seats, attacking=False)
        if not attacking:
            return honest
        return as_seen(honest, seats, *(self.cheap + (self.quality - self.cheap) * r for r in self._stored))

    @property
    def _stored(self) -> tuple[float, float]:
        return self.repeats, self.user_repeats

    def spends(self, m: Market, *, attacking: bool) -> int:
        if not attacking:
            return super().spends(m, attacking=False)
        asked = self.challenges * (1 - self.repeats) + (1 - self.challenges) * (1 - self.user_repeats)
        return self.miners * (base_units(m.serving) * in_units(self.cheap * asked) >> UNIT_BITS)


@dataclass(frozen=True, kw_only=True)
class Timing(Attack):
    """A miner makes everybody wait, as long as it counts as an answer.

    It serves `batch` times as many requests on its hardware as it should, so an answer costs a `batch`-th and takes
    `batch` times as long. Latency is pass or fail against the validators' deadline, which is generous on purpose, since
    paying for speed would pay for being near a validator; so up to the deadline slowness is free, and beyond it each
    late answer counts nothing. Users are less patient: what comes after `patience_ms` is worth nothing to them. Speed
    decides whom a gateway picks, which is not simulated. No quantified source was found.

    Attributes
    ----------
    batch
        How many times too many requests it takes on.
    takes_ms, spread
        An answer without that: median, and σ of its logarithm.
    deadline_ms, patience_ms
        Of validators, and of users.
    """

    validators: int = 0
    stake: float = 0.0
    miners: int = 4
    quality: float = 0.8
    batch: float = 4.0
    takes_ms: float = 1_500.0
    spread: float = 0.4
    deadline_ms: float = _DEADLINE_MS
    patience_ms: float = 8_000.0

    kind: str = field(default="timing", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.miners", self.miners, 1, 4096)
        within("attack.batch", self.batch, 1, 1e4)
        within("attack.spread", self.spread, 0.01, 3)
        for name in ("takes_ms", "deadline_ms", "patience_ms"):
            within(f"attack.{name}", getattr(self, name), 1, 1e7)

    def in_time(self, limit_ms: float, batch: float) -> float:
        """The part of the answers that takes less."""
        z = math.log(limit_ms / (self.takes_ms * batch)) / self.spread
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    def shown(self, quality: Int64, seats: Seats, *, attacking: bool) -> Shown:
        honest = super().shown(quality, seats, attacking=False)
        batch = self.batch if attacking else 1.0
        limits = (self.deadline_ms, self.patience_ms)
        return as_seen(honest, seats, *(self.quality * self.in_time(limit, batch) for limit in limits))

    def spends(self, m: Market, *, attacking: bool) -> int:
        honest = super().spends(m, attacking=attacking)
        return round(honest / self.batch) if attacking else honest


def as_seen(honest: Shown, seats: Seats, measured: float, used: float) -> Shown:
    """The attackers' columns with a quality of their own to validators, and another one to users."""
    seen, had = honest.measured.copy(), honest.used.copy()
    seen[:, seats.their_columns] = in_units(measured)
    had[:, seats.their_columns] = in_units(used)
    return Shown(seen, had)
