"""Validators with many hotkeys and one stake that moves to where it pays; the ledger's rule says what counts of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from davy.incentive.fixed_point import Int64, row_normalise
from davy.protocol.words import TOKEN
from davy.sims.attack import Attack, View
from davy.sims.holding import Holding
from davy.sims.lending import Lending
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
class ChildKeyShuffling(Attack):
    """A staker has several hotkeys vote, and lends all its stake to the one that was right.

    Every hotkey commits a row of its own, and one of them holds the stake. When all others have revealed, its owner
    makes the hotkey whose row is nearest to what they say its child: many rows, one stake, and the best one votes.
    Under `at-once` it does so in the epoch that ends. On davy's ledger (`next-epoch`) what is set in an epoch holds
    from the next one on, when other rows are in force, so the choice is of who was right before. It idles no stake
    either: what is lent votes in every epoch. Children of another owner have to consent, so they are the staker's own.
    subtensor delays a change of children too; no quantified source was found.

    Attributes
    ----------
    rule
        When a choice of children counts: from the `next-epoch` on, or `at-once`.
    every
        Epochs between two choices.
    """

    validators: int = 4
    stake: float = 0.2
    rule: Literal["next-epoch", "at-once"] = "next-epoch"
    every: int = 1

    kind: str = field(default="child-key-shuffling", init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attack.validators", self.validators, 2, 64)
        within("attack.every", self.every, 1, 100_000)

    def stakes(self, due: Int64, v: View, paid: Int64, kept: dict[int, Holding]) -> Int64:
        theirs = v.stake[:, v.seats.their_rows]
        truth = row_normalise(v.consensus()[:, None, :])
        best = np.abs(row_normalise(due) - truth).sum(axis=-1).argmin(axis=1)
        counted = np.empty_like(theirs)
        for run in range(len(theirs)):
            lending = kept.get(run)
            if not isinstance(lending, Lending):
                rest = [_LEFT] * (self.validators - 1)
                kept[run] = lending = Lending([int(theirs[run].sum()) - sum(rest), *rest], tempo=v.market.tempo)
            if v.epoch % self.every == 0:
                lending.lend(int(best[run]), block=v.market.tempo - 1)
            counted[run] = lending.end_epoch_lent(at_once=self.rule == "at-once")
        return counted
