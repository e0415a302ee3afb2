"""Puts a node's word on the ledger for each order that stops or frees: when it heard, and when all had ended.

So everybody can see who obeyed, and how fast: `davy brake status`. An order that was issued long before this node
heard of it says nothing of that and is left out: whoever joins a network has not obeyed its past. What a killed process
had not said yet is said after its restart, with the time at which the order was taken in again.
"""

from __future__ import annotations

import logging
from typing import Final

from davy.killswitch.guard import Guard
from davy.ledger.submit import send
from davy.protocol.errors import DavyError, TxCode
from davy.protocol.order import Drill, Extend, Halt, Lift, OrderId, Raise, VerifiedOrder
from davy.protocol.ports import KeyStore, LedgerClient, Store
from davy.protocol.transaction import AttestStop
from davy.protocol.words import KeyRole

_ANSWERED: Final = (Halt, Extend, Lift, Raise, Drill)
_OLD_MS: Final = 3_600_000
_TRIES: Final = 100
"""Blocks for which an order may be missing on the ledger, or this node in its registers, before no more is said."""
_DONE: Final = b"brake/attested/"

_log = logging.getLogger(__name__)


class Attesting:
    """A node's attestations; `run` lives as long as the node."""

    def __init__(self, guard: Guard, keys: KeyStore, ledger: LedgerClient, store: Store) -> None:
        self._guard, self._keys, self._ledger, self._store = guard, keys, ledger, store
        self._left: dict[OrderId, int] = {}

    async def run(self) -> None:
        """Attest what the guard obeys, until cancelled; what fails is tried again with the next block."""
        while True:
            known = {v.id: v for v in (*self._guard.state.orders.values(), *self._guard.obeyed)}
            for v in sorted(known.values(), key=lambda v: -v.order.issued):
                asked = isinstance(v.order.action, _ANSWERED) and self._guard.now() - v.order.issued < _OLD_MS
                left = self._left.setdefault(v.id, _TRIES if asked else 0)
                if left:
                    self._left[v.id] = 0 if await self._is_done(v) else left - 1
            await self._guard.change()

    async def _is_done(self, v: VerifiedOrder) -> bool:
        try:
            if await self._store.get(_DONE + v.id):
                return True
            said = AttestStop(await self._guard.attestation(v))
            result = await send(self._ledger, self._keys, KeyRole.HOTKEY, said)
        except DavyError as e:
            _log.info("the ledger does not take the answer to order %s: %s", v.id.hex()[:16], e)
            return False
        if result.code not in (TxCode.OK, TxCode.EXISTS):
            _log.info("the ledger does not take the answer to order %s: %s", v.id.hex()[:16], result.log)
            return False
        try:
            await self._store.put(_DONE + v.id, b"\1")
        except DavyError as e:
            _log.info("that order %s was answered cannot be written: %s", v.id.hex()[:16], e)
        return True
