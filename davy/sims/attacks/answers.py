"""Miners that sell one answer twice; `davy.tasks.originality`, the code validators run, finds who answers alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.sims.attack import Attack, Shown
from davy.sims.market import Market, Seats, base_units, within
from davy.sims.noise import UNIT, UNIT_BITS, in_units
from davy.tasks.answer import Answer, Position
from davy.tasks.originality import SHARED, clusters, shares
from davy.tasks.task import FloatArray

_TOKENS: Final = 20
"""Log-probabilities an answer, as the task `text` asks for."""
_CHALLENGES: Final = 8 * SHARED


@dataclass(frozen=True, kw_only=True)
class Sybils(Attack):
    """One model is registered under many UIDs, and answers for all of them.

    A challenge that several UIDs get is answered once, so a further UID costs its registration and nothing else
    (Douceur 2002: without a price on identities one actor may hold as many as it likes). Validators put UIDs whose
    reported log-probabilities are nearer than the kinship into a cluster, and a cluster is paid as one miner. Noise on
    each log-probability takes a copy out of its cluster; noise of ε nats costs ε²/2 of skill.

    Attributes
    ----------
    jitter
        ε: standard deviation of the noise, nats.
    kinship
        Nats; 0: nobody looks for copies.
    skill
        Nats that quality 1 stands for; docs/scoring.md measured .55 for a good model early in its training.
    """

    validators: int = 0
    stake: float = 0.0
    miners: int = 8
    quality: float = 0.8
    jitter: float = 0.0
    kinship: float = 0.1
    skill: float = 0.55

    kind: str = field(default="sybils", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.miners", self.miners, 1, 64)
        within("attack.jitter", self.jitter, 0, 10)
        within("attack.kinship", self.kinship, 0, 10)
        within("attack.skill", self.skill, 0.001, 10)

    def shown(self, quality: Int64, seats: Seats, *, attacking: bool) -> Shown:
        """Honest, the first UID serves the model and the others were never registered."""
        mine = quality.copy()
        mine[:, seats.their_columns] = 0
        loss = self.jitter**2 / 2 / self.skill if attacking else 0.0
        served = seats.their_columns if attacking else slice(seats.their_columns.start, seats.their_columns.start + 1)
        mine[:, served] = in_units(max(0.0, self.quality - loss))
        return Shown(mine, mine)

    def judged(self, scores: Int64, quality: Int64, seats: Seats) -> Int64:
        paid = scores.copy()
        parts = np.array(cluster_shares(self.miners, self.jitter, self.kinship), dtype=np.int64)
        paid[..., seats.their_columns] = (scores[..., seats.their_columns] * parts) >> UNIT_BITS
        return paid

    def caught(self, alarms: Int64) -> Int64:
        parts = cluster_shares(self.miners, self.jitter, self.kinship)
        return np.array([sum(part < UNIT for part in parts)], dtype=np.int64)

    def spends(self, m: Market, *, attacking: bool) -> int:
        return base_units(m.serving) * in_units(self.quality) >> UNIT_BITS

    def invests(self, m: Market) -> int:
        return (self.miners - 1) * base_units(m.price)


@dataclass(frozen=True, kw_only=True)
class Relaying(Attack):
    """A miner without a model passes on what a good miner answers.

    It asks the best miner the challenge it was asked and signs the answer as its own. Where miners answer only callers
    with stake it is seldom let in; `reach` is how often it gets an answer in time. Otherwise it answers
    with a poor model of its own. Found to answer alike, relay and victim are one cluster and share one reward, so the
    victim pays half of the relay's wages; and since the distance is a median over challenges, a relay that passes on
    fewer than half of its answers is never near.

    Attributes
    ----------
    reach
        Part of the challenges for which the victim's answer comes in time.
    kinship
        Nats; 0: nobody looks for copies.
    quality
        Of its own model: what it serves in the honest arm, and where it reaches nobody.
    """

    validators: int = 0
    stake: float = 0.0
    miners: int = 1
    quality: float = 0.1
    reach: float = 0.9
    kinship: float = 0.1

    kind: str = field(default="relaying", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.miners", self.miners, 1, 64)
        within("attack.reach", self.reach, 0, 1)
        within("attack.kinship", self.kinship, 0, 10)

    def shown(self, quality: Int64, seats: Seats, *, attacking: bool) -> Shown:
        mine = super().shown(quality, seats, attacking=attacking).measured
        if attacking:
            best = mine[:, seats.honest_columns].max(axis=1, keepdims=True)
            own = in_units(self.quality)
            mine[:, seats.their_columns] = own + ((best - own) * in_units(self.reach) >> UNIT_BITS)
        return Shown(mine, mine)

    def judged(self, scores: Int64, quality: Int64, seats: Seats) -> Int64:
        relay, victim = relay_shares(self.miners, self.reach, self.kinship)
        paid = scores.copy()
        paid[..., seats.their_columns] = (scores[..., seats.their_columns] * relay) >> UNIT_BITS
        best = quality[:, seats.honest_columns].argmax(axis=1)[:, None, None]
        halved = np.take_along_axis(scores, best, axis=-1) * victim >> UNIT_BITS
        np.put_along_axis(paid, np.broadcast_to(best, halved.shape), halved, axis=-1)
        return paid

    def caught(self, alarms: Int64) -> Int64:
        found = relay_shares(self.miners, self.reach, self.kinship)[0] < UNIT
        return np.array([self.miners if found else 0], dtype=np.int64)


@lru_cache(maxsize=256)
def cluster_shares(copies: int, jitter: float, kinship: float) -> tuple[int, ...]:
    """The part of its weight, 1 is `UNIT`, that each copy of a model keeps, by the validators' own code."""
    rng = np.random.Generator(np.random.SFC64(1))
    truth = rng.normal(-4.0, 1.5, (_CHALLENGES, _TOKENS))
    return _shares([_answers(truth + jitter * rng.normal(size=truth.shape)) for _ in range(copies)], kinship)


@lru_cache(maxsize=256)
def relay_shares(relays: int, reach: float, kinship: float) -> tuple[int, int]:
    """The parts, 1 is `UNIT`, that a relay and its victim keep of their weights."""
    rng = np.random.Generator(np.random.SFC64(2))
    shape = (_CHALLENGES, _TOKENS)
    victim, own = rng.normal(-4.0, 1.5, shape), rng.normal(-4.0, 1.5, shape)
    passed = np.arange(_CHALLENGES) < round(reach * _CHALLENGES)
    relay: FloatArray = np.where(passed[:, None], victim, own)
    parts = _shares([_answers(victim), *[_answers(relay)] * relays], kinship)
    return parts[1], parts[0]


def _answers(logprobs: FloatArray) -> list[Answer]:
    listed = np.arange(_TOKENS)
    return [Answer((Position(0, listed, each),)) for each in logprobs]


def _shares(answers: list[list[Answer]], kinship: float) -> tuple[int, ...]:
    groups = clusters(dict(enumerate(answers)), kinship)
    kept = shares(dict.fromkeys(range(len(answers)), 1.0), groups)
    return tuple(in_units(kept[i]) for i in range(len(answers)))
