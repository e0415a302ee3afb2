"""What waits to be in a block, as the application sees it: the engine keeps the bytes, this keeps who sent what.

Two transactions of one sender with one nonce cannot both be included, and the second is told so at once. One whose
nonce comes after one that does not wait here is turned down too: it could never be included as things are, and would
hold a place in the engine for nothing. Engines pass transactions on in the order they have them, so what goes from one
producer to another has no gap either. Orders of
keyholders wait in a room of their own besides the engine's, which others' transactions can fill: they go into the next
block that this producer proposes.
"""

from __future__ import annotations

from typing import Final

from davy.ledger.rules.coldkeys import signs_for
from davy.ledger.rules.machine import Machine, Verdict
from davy.ledger.rules.transactions import known_sender
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_PENDING_ORDERS, MAX_PENDING_TXS

_BLOCKS: Final = 32
"""After so many a transaction that was in none does not keep others from its place: the engine may have dropped it."""


class Door:
    """Who waits."""

    def __init__(self) -> None:
        self._places: dict[tuple[bytes, int], tuple[bytes, int, int]] = {}
        """By who it is signed for and nonce: its hash, its size, and the height at which it was asked about last."""
        self._orders: dict[bytes, bytes] = {}

    def check(self, machine: Machine, raw: bytes, *, waits: bool = False) -> Verdict:
        """The machine's verdict, and whether another transaction has its place, or one before it is missing."""
        verdict = machine.check_tx(raw, waits=waits)
        if verdict.code is not TxCode.OK or verdict.order:
            return verdict
        owner, nonce = signs_for(machine.state, verdict.sender), verdict.nonce
        place, due = (owner, nonce), known_sender(machine.state, owner)
        if nonce != due and (owner, nonce - 1) not in self._places:
            message = f"the transaction with nonce {nonce - 1} does not wait here; hand it in first, from {due} on"
            return verdict._replace(code=TxCode.TOO_EXPENSIVE, message=message)
        taken = self._places.get(place)
        if taken is not None and taken[0] != verdict.hash:
            message = f"another transaction of this sender waits with nonce {verdict.nonce}; sign again"
            return verdict._replace(code=TxCode.WRONG_NONCE, message=message)
        if taken is not None or len(self._places) < 2 * MAX_PENDING_TXS:
            self._places[place] = (verdict.hash, len(raw), machine.height)
        return verdict

    def keep(self, verdict: Verdict, raw: bytes) -> bool:
        """Let a checked order wait here; False where there is no room."""
        if verdict.order not in self._orders and len(self._orders) >= MAX_PENDING_ORDERS:
            return False
        self._orders.setdefault(verdict.order, raw)
        return True

    def orders(self) -> list[bytes]:
        """Those that wait here, in order of arrival."""
        return list(self._orders.values())

    def waiting(self) -> tuple[int, int]:
        """How many transactions wait, and their bytes."""
        sizes = [size for _, size, _ in self._places.values()] + [len(raw) for raw in self._orders.values()]
        return len(sizes), sum(sizes)

    def follow(self, machine: Machine) -> None:
        """Forget what a block has settled."""
        for (owner, nonce), (_, _, since) in list(self._places.items()):
            if since + _BLOCKS <= machine.height or nonce < _expected(machine, owner):
                del self._places[owner, nonce]
        for i, raw in list(self._orders.items()):
            if machine.check_tx(raw).code is not TxCode.OK:
                del self._orders[i]


def _expected(machine: Machine, owner: bytes) -> int:
    try:
        return known_sender(machine.state, owner)
    except TxFailed:
        return 1 << 63
