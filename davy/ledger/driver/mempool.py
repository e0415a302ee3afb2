"""Transactions that wait for a block: bounded, each once, a sender's in the order of their nonces.

Only the next nonce of a sender is taken, so whatever leaves here applies in the order it came; there are no gaps to
wait for. Arrival order is block order.

Orders of keyholders wait in a room of their own, which nothing else can fill, each once by its id, and go first.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from davy.protocol.errors import Busy, Replayed, TxCode, TxFailed
from davy.protocol.limits import MAX_BLOCK_ORDERS, MAX_PENDING_ORDERS, MAX_PENDING_TXS

MAX_A_SENDER: Final = 256
"""One sender's share of the room, so that the others find some."""
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024


class Mempool:
    """What was accepted at the door and is in no block yet."""

    def __init__(self, limit: int = MAX_PENDING_TXS) -> None:
        self._limit = limit
        self._waiting: dict[bytes, tuple[bytes, bytes]] = {}
        """By hash, in order of arrival: the bytes and the sender."""
        self._next: dict[bytes, int] = {}
        """The nonce after a sender's last waiting one."""
        self._count: dict[bytes, int] = {}
        self._orders: dict[bytes, bytes] = {}
        """By an order's id, in order of arrival: its envelope's bytes."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._orders)

    def holds_of(self, sender: bytes) -> bool:
        """Whether a transaction of this sender waits."""
        return sender in self._next

    def refuse_known_or_full(self, h: bytes, size: int) -> None:
        """Say no before a signature is checked.

        Raises
        ------
        Replayed
            It waits already.
        Busy
            There is no room.
        """
        if h in self._waiting:
            raise Replayed("tx already exists in cache")
        if len(self._waiting) >= self._limit or self.bytes + size > MAX_WAITING_BYTES:
            raise Busy(f"mempool is full: {len(self._waiting)} transactions wait; try again after the next block")

    def add_order(self, i: bytes, raw: bytes) -> None:
        """Take an order that was verified and would change the state.

        Raises
        ------
        Replayed
            It waits already, perhaps under other signatures.
        Busy
            There is no room; only keyholders can have filled it.
        """
        if i in self._orders:
            raise Replayed("tx already exists in cache")
        if len(self._orders) >= MAX_PENDING_ORDERS:
            raise Busy(f"mempool is full: {MAX_PENDING_ORDERS} orders wait; try again after the next block")
        self._orders[i] = raw
        self.bytes += len(raw)

    def add(self, h: bytes, raw: bytes, sender: bytes, nonce: int, account_nonce: int) -> None:
        """Take a transaction whose signature is right; `account_nonce` is asked only where none of the sender's waits.

        Raises
        ------
        TxFailed
            WRONG_NONCE: not the sender's next one.
        Busy
            The sender has used its share.
        """
        expected = self._next.get(sender, account_nonce)
        if nonce != expected:
            raise TxFailed(TxCode.WRONG_NONCE, f"the sender's next nonce is {expected}, not {nonce}; sign again")
        if self._count.get(sender, 0) >= MAX_A_SENDER:
            raise Busy(f"mempool is full for this sender: {MAX_A_SENDER} wait; try again after the next block")
        self._waiting[h] = (raw, sender)
        self._next[sender] = nonce + 1
        self._count[sender] = self._count.get(sender, 0) + 1
        self.bytes += len(raw)

    def fills(self, count: int, size: int) -> bool:
        """Whether what waits is enough for a block of `count` transactions or `size` bytes."""
        return len(self) >= count or self.bytes >= size

    def take(self, count: int, size: int) -> list[bytes]:
        """Remove and return the first ones that fit into a block of `count` transactions and `size` bytes."""
        taken: list[bytes] = []
        for i, raw in list(islice(self._orders.items(), min(count, MAX_BLOCK_ORDERS))):
            if size < len(raw):
                break
            size -= len(raw)
            taken.append(raw)
            self.bytes -= len(self._orders.pop(i))
        for h, (raw, sender) in list(islice(self._waiting.items(), count - len(taken))):
            if size < len(raw):
                break
            size -= len(raw)
            taken.append(raw)
            self._forget(h, sender)
        return taken

    def _forget(self, h: bytes, sender: bytes) -> None:
        raw, _ = self._waiting.pop(h)
        self.bytes -= len(raw)
        self._count[sender] -= 1
        if not self._count[sender]:
            del self._count[sender], self._next[sender]
