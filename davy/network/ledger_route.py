"""The ledger's route: what its blocks record reaches the guard, and what it lacks is handed in.

A node looks at the brake of each block before it takes the block for seen: so whoever signs a receipt with an anchor
has seen the orders up to it, and no honest node can be convicted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from davy.killswitch.brake import forget
from davy.killswitch.clocks import Clocks
from davy.killswitch.guard import Guard
from davy.protocol.chain import Head
from davy.protocol.errors import DavyError, NotEnabled, Unreachable
from davy.protocol.words import Height, UnixMillis

_AGAIN_MS: Final = 10_000
"""After handing in an order, before the ledger is taken not to have it."""
_AT_ONCE: Final = 64

_log = logging.getLogger(__name__)


class LedgerBrake(NamedTuple):
    """All orders that stand on the ledger after block `height`, each with its own block's time."""

    height: Height
    orders: tuple[tuple[bytes, UnixMillis], ...]


class LedgerRoute:
    """A guard's view of the ledger.

    Parameters
    ----------
    brake
        Asks the ledger for all orders.
    hand_in
        Hands one signed order in.
    """

    def __init__(
        self,
        guard: Guard,
        brake: Callable[[], Awaitable[LedgerBrake]],
        hand_in: Callable[[bytes], Awaitable[object]],
    ) -> None:
        self._guard, self._brake, self._hand_in = guard, brake, hand_in
        self._handed: dict[bytes, UnixMillis] = {}

    async def look(self, block: Head) -> None:
        """Take in the ledger's orders up to a verified block; call it for each, before anything else sees the block.

        Raises
        ------
        Unreachable
            The ledger does not answer, or from before this block: it must not be taken for seen.
        """
        told = await self._brake()
        if told.height < block.height:
            raise Unreachable(f"the ledger tells of its brake at {told.height} only, not {block.height}; ask again")
        await self._guard.at_block(block, told.orders)
        await self._hand_in_missing({raw for raw, _ in told.orders})

    async def _hand_in_missing(self, recorded: set[bytes]) -> None:
        now = self._guard.now()
        state = self._guard.state
        if len(state.orders) == len(recorded) or state.first is None:
            return
        known = {v.id for v in state.orders.values() if v.raw in recorded} | state.recorded.keys()
        useful = forget(state, Clocks(now, now)).orders
        self._handed = {i: t for i, t in self._handed.items() if t + _AGAIN_MS > now}
        missing = [v for i, v in useful.items() if i not in known and i not in self._handed]
        for v in missing[:_AT_ONCE]:
            self._handed[v.id] = now
            try:
                await self._hand_in(v.raw)
            except NotEnabled:
                return
            except DavyError as e:
                _log.info("the ledger does not take order %s: %s", v.id.hex()[:16], e)
