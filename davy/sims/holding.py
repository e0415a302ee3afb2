"""Stake by the ledger's own rules: what one owner's positions on a few hotkeys count in each epoch."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from davy.ledger.rules.moves import move_stake
from davy.ledger.rules.records import (
    HOTKEYS,
    PARAMETERS,
    RUNNING,
    HotkeyRecord,
    NeuronRecord,
    RunningRecord,
    subnet_key,
)
from davy.ledger.rules.stake import change_position, counted_stake, stake_of
from davy.ledger.rules.state import State
from davy.protocol.errors import TxFailed
from davy.protocol.limits import chain_parameters
from davy.protocol.transaction import MoveStake
from davy.protocol.words import Moment

NETUID: Final = 1
_OWNER, _OTHER = b"\x01" * 32, b"\x02" * 32


class Holding:
    """Hotkeys of one owner on one subnet, long registered, with stake on them that has counted before.

    Parameters
    ----------
    amounts
        Base units on each hotkey.
    delegated
        The stake is another coldkey's: it answers for no hotkey, and may move whenever its holder wants.
    """

    def __init__(self, amounts: list[int], *, tempo: int, delegated: bool = False) -> None:
        self.tempo, self.coldkey = tempo, _OTHER if delegated else _OWNER
        self.state = State({})
        self.state.put(PARAMETERS, b"", chain_parameters())
        self.running = RunningRecord(1, 0, tempo, 0, len(amounts), 0, 0, 0, 0, 0)
        self.state.put(RUNNING, subnet_key(NETUID), self.running)
        self.hotkeys = [bytes([3, n % 256, n >> 8]) + bytes(29) for n in range(len(amounts))]
        for hotkey in self.hotkeys:
            self.state.put(HOTKEYS, hotkey, HotkeyRecord(_OWNER, 0, 0, (NETUID,), (), ()))
        for n, amount in enumerate(amounts):
            self.add(n, amount)
        self.end_epoch()

    def held(self, n: int) -> int:
        """Base units on hotkey n now."""
        return stake_of(self.state, self.hotkeys[n], self.coldkey)

    def add(self, n: int, amount: int) -> None:
        """Put stake on hotkey n; a negative amount takes it off.

        Raises
        ------
        TxFailed
            So much is not there.
        """
        if amount:
            change_position(self.state, self.hotkeys[n], self.coldkey, amount)

    def move(self, origin: int, destination: int, amount: int, *, block: int) -> bool:
        """Move stake in a block of the running epoch; False where the ledger refuses it, for a move before that."""
        at = Moment(self.running.began + block, 0)
        moved = MoveStake(self.hotkeys[origin], self.hotkeys[destination], amount)
        try:
            move_stake(self.state, at, self.coldkey, moved)
        except TxFailed:
            return False
        return True

    def end_epoch(self) -> list[int]:
        """What each hotkey's stake counts in the epoch that ends now: the least held all over it."""
        neurons = [NeuronRecord(hotkey, _OWNER, 0, (), bytes(8), 0, 0) for hotkey in self.hotkeys]
        found = [counted_stake(self.state, NETUID, neuron, self.running) for neuron in neurons]
        began = self.running.ends
        self.running = replace(self.running, epoch=self.running.epoch + 1, began=began, ends=began + self.tempo)
        self.state.put(RUNNING, subnet_key(NETUID), self.running)
        return [sum(amount for _, amount in positions) for positions in found]
