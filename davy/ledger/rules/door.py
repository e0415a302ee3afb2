"""How much a sender may hand in before a block takes it: by what it has here, so that junk costs what it displaces.

This is a node's own rule and no part of consensus: a block that holds more is as good as any other. A nonce may be so
far ahead of its sender's as `room` says. Who has next to nothing is known all the same, for what others once sent it:
between two blocks so many of their transactions are taken altogether, and no more.
"""

from __future__ import annotations

from typing import Final

from davy.ledger.rules.accounts import account
from davy.ledger.rules.records import HOTKEYS
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.words import TOKEN

NONCE_WINDOW: Final = 256
"""How far ahead of its sender's nonce a transaction may be at most; in a block it must be exact."""
LEAST_ROOM: Final = 4
"""What anybody whom the ledger knows may have waiting."""
ROOM_A_TOKEN: Final = 8
"""More for each whole token of free balance."""
ROOM_A_SEAT: Final = 32
"""More for each UID of a hotkey, which was paid for."""
UNBACKED_A_BLOCK: Final = 500
"""Transactions of senders with the least room that are taken between two blocks."""


def room(s: State, sender: bytes, owner: bytes) -> int:
    """How many transactions of a sender may wait; `owner` is the coldkey that it signs for (`coldkeys.signs_for`)."""
    hotkey = s.get(HOTKEYS, sender)
    seats = 0 if hotkey is None else len(hotkey.netuids)
    return min(LEAST_ROOM + ROOM_A_TOKEN * (account(s, owner).free // TOKEN) + ROOM_A_SEAT * seats, NONCE_WINDOW)


class Door:
    """Places that the unbacked took since the last block: whose and which nonce, however many ask for the same one."""

    def __init__(self) -> None:
        self._unbacked: set[tuple[bytes, int]] = set()

    def admit(self, s: State, sender: bytes, owner: bytes, nonce: int, expected: int, *, waits: bool = False) -> None:
        """Take a transaction, where `expected` is the owner's next nonce.

        Parameters
        ----------
        waits
            It was taken before the last block and none has included it yet: it counts, and is not turned away for
            those that came since.

        Raises
        ------
        TxFailed
            TOO_EXPENSIVE: it may be handed in again after the next block.
        """
        most = room(s, sender, owner)
        if nonce - expected >= most:
            raise TxFailed(
                TxCode.TOO_EXPENSIVE, f"{most} transactions of this sender may wait; hand it in after the next block"
            )
        place = (owner, nonce)
        if most > LEAST_ROOM or place in self._unbacked:
            return
        if not waits and len(self._unbacked) >= UNBACKED_A_BLOCK:
            raise TxFailed(
                TxCode.TOO_EXPENSIVE, "too many wait whose senders hold nothing here; hold a token, or come back later"
            )
        self._unbacked.add(place)

    def next_block(self) -> None:
        """Begin to count anew."""
        self._unbacked.clear()
