"""Whole orders, released once more by every keyholder that hears of them: a coordinator's routes may be cut.

Whoever is told of an order must believe it, for it proves itself, and any keyholder may tell all that were ever signed.
So releases are bounded: what stops has a lane of its own, which nothing else can fill, and in each lane what was issued
last goes first. A lane that is full drops what was issued first, whose turn would have come last.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from davy.keyholders.signer import STOPPING
from davy.protocol.errors import DavyError
from davy.protocol.limits import MAX_BRAKE_ORDERS
from davy.protocol.order import OrderId, VerifiedOrder

AT_ONCE: Final = 8
"""Releases at a time, in each lane."""
WAITING: Final = 64
"""Orders that wait, besides those that stop: of these as many as a brake keeps of one roster."""

_log = logging.getLogger(__name__)


class _Lane:
    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting: dict[OrderId, VerifiedOrder] = {}
        self._came = anyio.Event()
        self._overran = False

    def put(self, order: VerifiedOrder) -> None:
        self._waiting[order.id] = order
        if len(self._waiting) > self._room:
            del self._waiting[min(self._waiting.values(), key=_issued).id]
            if not self._overran:
                _log.warning("more than %d orders wait to be released again: the oldest are left out", self._room)
            self._overran = True
        self._came.set()
        self._came = anyio.Event()

    async def take(self) -> VerifiedOrder:
        while not self._waiting:
            self._overran = False
            await self._came.wait()
        return self._waiting.pop(max(self._waiting.values(), key=_issued).id)


class Again:
    """Releases orders that others coordinated.

    Parameters
    ----------
    release
        By every route there is; awaited for one order.
    """

    def __init__(self, release: Callable[[VerifiedOrder], Awaitable[None]]) -> None:
        self._release = release
        self._stops, self._rest = _Lane(MAX_BRAKE_ORDERS), _Lane(WAITING)

    def put(self, order: VerifiedOrder) -> None:
        """Have an order released as soon as there is room."""
        (self._stops if isinstance(order.order.action, STOPPING) else self._rest).put(order)

    async def run(self) -> None:
        """Release what is put here, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for lane in (self._stops, self._rest):
                for _ in range(AT_ONCE):
                    tasks.start_soon(self._work, lane)

    async def _work(self, lane: _Lane) -> None:
        while True:
            order = await lane.take()
            try:
                await self._release(order)
            except DavyError as e:
                _log.warning("order %s was not released again: %s", order.id.hex()[:16], e)
            except Exception:  # whatever meets one order, others are to leave, and this keyholder to sign
                _log.exception("order %s was not released again", order.id.hex()[:16])


def _issued(v: VerifiedOrder) -> tuple[int, OrderId]:
    return v.order.issued, v.id
