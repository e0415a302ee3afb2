"""What waits to be in a block, as the application sees it: the engine keeps the bytes, this keeps who sent what.

Two transactions of one sender with one nonce cannot both be included, and the second is told so at once. Orders of
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
        """By sender and nonce: the transaction's hash, its size, and the height at which it came."""
        self._orders: dict[bytes, bytes] = {}

    def check(self, machine: Machine, raw: bytes) -> Verdict:
        """The machine's verdict, and whether another transaction has its place."""
        verdict = machine.check_tx(raw)
        if verdict.code is not TxCode.OK or verdict.order:
            return verdict
        place = (verdict.sender, verdict.nonce)
        taken = self._places.get(place)
        if taken is not None and taken[0] != verdict.hash:
            message = f"another transaction of this sender waits with nonce {verdict.nonce}; sign again"
            return verdict._replace(code=TxCode.WRONG_NONCE, message=message)
        if taken is None and len(self._places) < 2 * MAX_PENDING_TXS:
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
        for (sender, nonce), (_, _, since) in list(self._places.items()):
            if since + _BLOCKS <= machine.height or nonce < _expected(machine, sender):
                del self._places[sender, nonce]
        for i, raw in list(self._orders.items()):
            if machine.check_tx(raw).code is not TxCode.OK:
                del self._orders[i]


def _expected(machine: Machine, sender: bytes) -> int:
    try:
        return known_sender(machine.state, signs_for(machine.state, sender))
    except TxFailed:
        return 1 << 63
