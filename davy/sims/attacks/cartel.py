"""Validators that weigh miners of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.sims.attack import Attack, View, split
from davy.sims.market import within


@dataclass(frozen=True, kw_only=True)
class Cartel(Attack):
    """A cartel boosts its own miners.

    Validators agree to give `favour` of their weight to miners that they own together, whatever these answer, and
    measure and weigh the others honestly with the rest, so that they keep bonds there. It is the cabal of subtensor's
    docs/consensus.md; consensus clips what it gives beyond the median once it has less than 1 − κ of the stake.

    Attributes
    ----------
    favour
        Part of each row that goes to their own miners, in equal parts.
    """

    validators: int = 4
    stake: float = 0.4
    miners: int = 8
    quality: float = 0.3
    favour: float = 0.9

    kind: str = field(default="cartel", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.favour", self.favour, 0, 1)
        within("attack.miners", self.miners, 1, 4096)

    def rows(self, v: View) -> Int64:
        alike = np.ones((*v.own.shape[:2], self.miners), dtype=np.int64)
        return split(v.own, v.seats.their_columns, self.favour, alike)


@dataclass(frozen=True, kw_only=True)
class SelfDealing(Attack):
    """Each attacker runs one miner and weighs it, without asking the others.

    Nobody may weigh its own UID, so a validator registers a second hotkey. There is no agreement: every attacker's row
    favours one other column, and each of these rows is alone against the median. What is left is what the mechanism
    pays for a wish that nobody shares; it costs the dividends of the weight that is clipped.

    Attributes
    ----------
    favour
        Part of each row that goes to the one miner.
    """

    validators: int = 4
    stake: float = 0.4
    miners: int = 4
    quality: float = 0.3
    favour: float = 0.5

    kind: str = field(default="self-dealing", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.favour", self.favour, 0, 1)
        within("attack.miners (one a validator)", self.miners, self.validators, self.validators)

    def seated(self, validators: int, stake: float, miners: int) -> Self:
        return replace(self, validators=validators, stake=stake, miners=miners or validators)

    def rows(self, v: View) -> Int64:
        # The other attackers' miners are strangers to it: it weighs them as it measured them.
        rows = v.own.copy()
        first = v.seats.their_columns.start
        for i in range(self.validators):
            own = slice(first + i, first + i + 1)
            one = np.ones((len(rows), 1, 1), dtype=np.int64)
            rows[:, i : i + 1] = split(v.own[:, i : i + 1], own, self.favour, one)
        return rows
