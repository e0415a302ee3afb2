"""Child keys by the ledger's own rules: one owner's hotkeys with a UID each, the first of which lends to another."""

from __future__ import annotations

from typing import Final

from davy.incentive.children import voting_stake
from davy.ledger.rules.brake import first_brake
from davy.ledger.rules.children import set_children
from davy.ledger.rules.families import families_of
from davy.ledger.rules.records import (
    BRAKE,
    CHAIN,
    NEURONS,
    UIDS,
    ChainRecord,
    NeuronRecord,
    UidRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.seats import take_seats
from davy.protocol.limits import hyperparameters
from davy.protocol.transaction import Child, SetChildren
from davy.protocol.words import U16, Moment
from davy.sims.holding import NETUID, Holding

PARENT: Final = 0
_LENT: Final = U16 - 1
"""Of 65535 parts; the rest keeps the parent's permit, without which no row of its counts when it lends no more."""


class Lending(Holding):
    """A holding whose first hotkey may lend nearly all it has to one of the others, epoch by epoch."""

    def __init__(self, amounts: list[int], *, tempo: int) -> None:
        super().__init__(amounts, tempo=tempo)
        self.child = PARENT
        self.state.put(CHAIN, b"", ChainRecord(bytes(32), (NETUID,), 0))
        self.state.put(BRAKE, b"", first_brake())
        for uid, hotkey in enumerate(self.hotkeys):
            neuron = NeuronRecord(hotkey, self.coldkey, 0, (), bytes(8), 0, 0)
            self.state.put(NEURONS, neuron_key(NETUID, uid), neuron)
            self.state.put(UIDS, subnet_key(NETUID) + hotkey, UidRecord(uid))

    def lend(self, child: int, *, block: int) -> None:
        """In a block of the running epoch: lend to one hotkey from the next epoch on; to `PARENT`, nothing at all.

        Raises
        ------
        TxFailed
            The ledger refuses it.
        """
        if child == self.child:
            return
        children = () if child == PARENT else (Child(self.hotkeys[child], _LENT, b""),)
        at = Moment(self.running.began + block, 0)
        set_children(self.state, at, self.coldkey, SetChildren(NETUID, self.hotkeys[PARENT], children))
        self.child = child

    def end_epoch_lent(self, *, at_once: bool = False) -> list[int]:
        """What votes for each hotkey in the epoch that ends now; `at_once`, as if what was set in it held already."""
        seats = take_seats(self.state, NETUID, hyperparameters(tempo=self.tempo), self.running)
        stake = seats.stake
        if at_once:
            families = families_of(self.state, NETUID, seats.neurons, self.running.epoch + 1)
            stake = seats.own if families is None else voting_stake(seats.own, families)
        self.end_epoch()
        return [int(amount) for amount in stake]
