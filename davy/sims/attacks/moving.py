"""Validators with many hotkeys and one stake that moves to where it pays; the ledger's rule says what counts of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from davy.incentive.fixed_point import Int64, row_normalise
from davy.protocol.words import TOKEN
from davy.sims.attack import Attack, View
from davy.sims.holding import Holding
from davy.sims.market import within

_LEFT: Final = TOKEN
"""Stays on each hotkey, so that it keeps its permit, without which no row counts."""


@dataclass(frozen=True, kw_only=True)
class StakeGrinding(Attack):
    """A staker tries out which of its hotkeys is paid best, and moves all its stake there before an epoch ends.

    Grinding is to choose among the outcomes that one can bring about; of a slot lottery it gives 5/10/20% of stake
    5.05/10.2/20.7% of the slots (AFT 2024, 10). davy draws no lots by stake, so what can be ground is where stake sits:
    bonds differ from hotkey to hotkey, and last epoch's dividend a token shows by how much. Under `snapshot` the move
    counts at once. On davy's ledger (`least-held`) what moved counts in neither place until an epoch is over, and what
    the owner moves between its own hotkeys stays for the whole unbonding; a delegator's stake may move, and loses an
    epoch each time.

    Attributes
    ----------
    rule
        Which stake counts: the `least-held` over the epoch, or a `snapshot` at its end.
    every
        Epochs between two moves.
    delegated
        The stake is a delegator's, and answers for no hotkey.
    """

    validators: int = 4
    stake: float = 0.2
    rule: Literal["least-held", "snapshot"] = "least-held"
    every: int = 1
    delegated: bool = True

    kind: str = field(default="stake-grinding", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.validators", self.validators, 2, 64)
        within("attack.every", self.every, 1, 100_000)

    def best(self, due: Int64, v: View, paid: Int64) -> Int64:
        """The hotkey to move to, [runs]; `due` [runs, a, M] is in force now, `paid` [runs, a] by token last epoch."""
        return paid.argmax(axis=1)

    def stakes(self, due: Int64, v: View, paid: Int64, kept: dict[int, Holding]) -> Int64:
        theirs = v.stake[:, v.seats.their_rows]
        best = self.best(due, v, paid)
        counted = np.empty_like(theirs)
        for run in range(len(theirs)):
            if run not in kept:
                whole = int(theirs[run].sum())
                part = whole // self.validators
                first = [whole - part * (self.validators - 1)] + [part] * (self.validators - 1)
                kept[run] = Holding(first, tempo=v.market.tempo, delegated=self.delegated)
            counted[run] = self._moved(kept[run], int(best[run]), v)
        return counted

    def _moved(self, holding: Holding, best: int, v: View) -> list[int]:
        if v.epoch % self.every == 0:
            for n in range(self.validators):
                amount = holding.held(n) - _LEFT
                if n != best and amount > 0:
                    holding.move(n, best, amount, block=v.market.tempo - 1)
        held = [holding.held(n) for n in range(self.validators)]
        counted = holding.end_epoch()
        return held if self.rule == "snapshot" else counted


@dataclass(frozen=True, kw_only=True)
class ChildKeyShuffling(StakeGrinding):
    """A staker has several child hotkeys guess, and gives its stake to the one that guessed right.

    Each child commits a row of its own. When all others have revealed, the stake goes to the child whose row is nearest
    to what they say, as child keys can be reassigned at a word in subtensor: many guesses, one stake, and the best one
    votes. davy has no child keys; `move_stake` is what can do the same, and what moved counts nothing until it was held
    for a whole epoch, when other rows are in force. No quantified source was found.
    """

    kind: str = field(default="child-key-shuffling", init=False, repr=False)

    def best(self, due: Int64, v: View, paid: Int64) -> Int64:
        truth = row_normalise(v.consensus()[:, None, :])
        return np.abs(row_normalise(due) - truth).sum(axis=-1).argmin(axis=1)
