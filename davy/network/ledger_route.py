"""The ledger's route: what its blocks record reaches the guard, and what it lacks is handed in.

A node looks at the brake of each block before it takes the block for seen: so whoever signs a receipt with an anchor
has seen the orders up to it, and no honest node can be convicted.
"""

from __future__ import annotations

import logging
from typing import Final

from davy.killswitch.brake import forget
from davy.killswitch.clocks import Clocks
from davy.killswitch.guard import Guard
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Unreachable
from davy.protocol.order import OrderId
from davy.protocol.ports import LedgerClient
from davy.protocol.recorded import RecordedBrake
from davy.protocol.transaction import BrakeOrder
from davy.protocol.words import UnixMillis

_AGAIN_MS: Final = 10_000
"""After handing in an order, before the ledger is taken not to have it."""
_AT_ONCE: Final = 64

_log = logging.getLogger(__name__)


class LedgerRoute:
    """A guard's view of the ledger.

    What the ledger tells acts at once. The block counts, as time and as a pull, when it is proved that no order is left
    out; that may take until the block after it.
    """

    def __init__(self, guard: Guard, ledger: LedgerClient) -> None:
        self._guard, self._ledger = guard, ledger
        self._told: RecordedBrake | None = None
        self._proved: RecordedBrake | None = None
        self._handed: dict[OrderId, UnixMillis] = {}

    async def hear(self, block: Head) -> None:
        """Take in at once what the ledger tells of its orders; comes before `prove`.

        Raises
        ------
        Unreachable, Refused
        """
        if self._guard.state.first is None or (self._proved is not None and self._proved.height >= block.height):
            return
        self._told = await self._ledger.told_brake(self._told)
        await self._guard.hear([r.order for r in (*self._told.orders, *self._told.drills)])

    async def prove(self, block: Head) -> None:
        """Take in the ledger's orders up to a verified block; call it for each, before anything else sees the block.

        Raises
        ------
        Unreachable, Refused
            The ledger does not answer, or does not prove its brake up to this block, which must not be taken for seen.
        """
        if self._guard.state.first is None:
            return  # nobody can halt this chain
        if self._proved is None or self._proved.height < block.height:
            self._told = self._proved = await self._ledger.brake(self._told)
            if self._proved.height < block.height:
                raise Unreachable(f"the ledger shows its brake at {self._proved.height} only, not {block.height}")
        await self._guard.at_block(block, [(r.order, r.time) for r in self._proved.orders])
        await self._hand_in({r.order for r in self._proved.orders})

    async def _hand_in(self, recorded: set[bytes]) -> None:
        """Hand in what the ledger lacks and what can still matter."""
        state = self._guard.state
        if all(v.raw in recorded for v in state.orders.values()):
            return
        now = self._guard.now()
        self._handed = {i: t for i, t in self._handed.items() if now < t + _AGAIN_MS}
        useful = forget(state, Clocks(now, now)).orders
        lacking = [v for i, v in useful.items() if i not in state.recorded and i not in self._handed]
        for v in lacking[:_AT_ONCE]:
            self._handed[v.id] = now
            try:
                await self._ledger.submit(encode(BrakeOrder(v.raw)))
            except DavyError as e:
                _log.info("the ledger does not take order %s: %s", v.id.hex()[:16], e)
