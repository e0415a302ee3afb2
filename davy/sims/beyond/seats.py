"""Who holds which UID of a full subnet: registered, immune and pruned by the ledger's own functions."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.incentive.pruning import immune, kept_by_stake, pruning_score
from davy.ledger.rules.neurons import MAX_SEATED_BY_STAKE
from davy.ledger.rules.subnets import SURGE, registration_price, turnover
from davy.protocol.limits import ChainParameters, chain_parameters
from davy.sims.market import base_units
from davy.sims.noise import UNIT_BITS, in_units

VALIDATOR: Final = -1
THEIRS: Final = -2
"""In place of an honest miner's number."""


class Rules(Protocol):
    """What `davy.sims.beyond.registration.Registrations` says; see there."""

    @property
    def plan(self) -> str: ...
    @property
    def each(self) -> int: ...
    @property
    def limit(self) -> float: ...
    @property
    def most(self) -> int: ...
    @property
    def quality(self) -> float: ...
    @property
    def alike(self) -> bool: ...
    @property
    def seats(self) -> int: ...
    @property
    def validators(self) -> int: ...
    @property
    def wanted(self) -> int: ...
    @property
    def immunity(self) -> int: ...
    @property
    def horizon(self) -> int: ...
    @property
    def price(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Seat:
    """Who sits where, of one arm and run.

    Honest miners have numbers; their qualities are drawn for both arms alike. The attackers' one honest miner comes and
    goes as the others do.
    """

    def __init__(self, study: Rules, qualities: list[int]) -> None:
        miners = study.seats - study.validators
        self.study, self.qualities = study, qualities
        self.holder = np.array([VALIDATOR] * study.validators + [*range(miners - 1), THEIRS], dtype=np.int64)
        self.registered = np.zeros(study.seats, dtype=np.int64)
        self.emission = np.zeros(study.seats, dtype=np.int64)
        self.price = base_units(study.price)
        self.count = 0
        self.waiting: list[int] = []
        self.spent = self.fees = self.burned = 0
        self.was_full = False
        self._chain = chain_of(study)
        self.safe = kept_by_stake((self.holder == VALIDATOR).astype(np.int64), MAX_SEATED_BY_STAKE)

    @property
    def room(self) -> int:
        """Registrations that an epoch takes; in a full subnet each takes a UID from another."""
        return min(SURGE * self.study.wanted, turnover(self.study.seats))

    @property
    def held(self) -> int:
        return int((self.holder == THEIRS).sum())

    def take(self, who: int, at: int) -> bool:
        """Register as `davy.ledger.rules.neurons.register` has it, in the seat of the least deserving.

        False where everybody is immune or safe, or the epoch takes no more.
        """
        if self.count >= self.room:
            return False
        young = immune(at - self.registered, self.study.immunity)
        score = pruning_score(self.emission, self.registered, self.safe, young)
        uid = int(score.argmin())
        if score[uid] >= self.study.seats:
            return False
        gone = int(self.holder[uid])
        self.holder[uid], self.registered[uid], self.emission[uid] = who, at, 0
        if gone >= 0 or (gone == THEIRS and not self.held):
            self.waiting.append(gone)
        self.count += 1
        if who == THEIRS:
            self.spent += self.price
        else:
            self.fees += self.price
        return True

    def attack(self, at: int) -> None:
        """In the first block of an epoch."""
        study = self.study
        if self.price > base_units(study.limit):
            return
        wish = self.room if study.plan == "snipe" else study.each
        for _ in range(min(wish, study.most - self.held)):
            if not self.take(THEIRS, at):
                break
        if self.held and THEIRS in self.waiting:
            self.waiting.remove(THEIRS)

    def come(self, at: int, rate: int) -> None:
        """Honest miners without a seat, the best first, where they would stay and earn more than the price.

        `rate` is what quality 1 earns in an epoch. Whoever would earn less than the least of those past immunity does
        not come: it would be the next to go.
        """
        judged = ~self.safe & ~immune(at - self.registered, self.study.immunity)
        least = int(self.emission[judged].min()) if judged.any() else 0
        for n in sorted(self.waiting, key=lambda n: -self.quality_of(n)):
            earns = rate * self.quality_of(n) >> UNIT_BITS
            if earns <= least or earns * self.study.horizon < self.price or not self.take(n, at):
                return
            self.waiting.remove(n)

    def quality_of(self, n: int) -> int:
        return in_units(self.study.quality) if n == THEIRS else self.qualities[n]

    def end(self) -> None:
        """The price moves, and the next epoch begins."""
        self.was_full = self.count >= self.room
        self.price = max(
            registration_price(self.price, self.count, self.study.wanted, self._chain),
            registration_price(self.price, SURGE * self.count, turnover(self.study.seats), self._chain),
        )
        self.burned += self.spent
        self.count = self.spent = self.fees = 0

    def quality(self) -> Int64:
        """Of each UID, as validators see it."""
        found = np.zeros(self.study.seats, dtype=np.int64)
        own = in_units(self.study.quality) // (self.held if self.study.alike and self.held else 1)
        for uid, who in enumerate(self.holder.tolist()):
            found[uid] = self.qualities[who] if who >= 0 else own if who == THEIRS else 0
        return found


def chain_of(study: Rules) -> ChainParameters:
    return chain_parameters(burn_low=base_units(study.low), burn_high=base_units(study.high))
