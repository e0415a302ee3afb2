"""Whole orders, released once more by every keyholder that hears of them: a coordinator's routes may be cut.

Whoever is told of an order must believe it, for it proves itself, and any keyholder may tell all that were ever signed.
So releases are bounded: what stops has a lane of its own, which nothing else can fill, and in each lane what was issued
last goes first; what stops does not even wait for older orders under way, which then leave anew. A lane that is full
drops what was issued first, whose turn would have come last.
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
    """`gives_way`: the oldest release under way begins anew later, where a newer order would have to wait for it."""

    def __init__(self, room: int, release: Callable[[VerifiedOrder], Awaitable[None]], *, gives_way: bool) -> None:
        self._room, self._release, self._gives_way = room, release, gives_way
        self._waiting: dict[OrderId, VerifiedOrder] = {}
        self._under_way: dict[OrderId, tuple[VerifiedOrder, anyio.CancelScope]] = {}
        self._changed = anyio.Event()
        self._overran = False

    def put(self, order: VerifiedOrder) -> None:
        self._waiting[order.id] = order
        if len(self._waiting) > self._room:
            del self._waiting[min(self._waiting.values(), key=_issued).id]
            if not self._overran:
                _log.warning("more than %d orders wait to be released again: the oldest are left out", self._room)
            self._overran = True
        self._changed.set()

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                while (order := self._next()) is not None:
                    scope = anyio.CancelScope()
                    self._under_way[order.id] = order, scope
                    tasks.start_soon(self._one, order, scope)
                self._changed = anyio.Event()
                await self._changed.wait()

    def _next(self) -> VerifiedOrder | None:
        if not self._waiting:
            self._overran = False
            return None
        newest = max(self._waiting.values(), key=_issued)
        if len(self._under_way) >= AT_ONCE:
            oldest, scope = min(self._under_way.values(), key=lambda each: _issued(each[0]))
            if not self._gives_way or _issued(newest) < _issued(oldest):
                return None
            scope.cancel()
            del self._under_way[oldest.id]
            self._waiting[oldest.id] = oldest
        return self._waiting.pop(newest.id)

    async def _one(self, order: VerifiedOrder, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await self._release(order)
            except DavyError as e:
                _log.warning("order %s was not released again: %s", order.id.hex()[:16], e)
            except Exception:  # whatever meets one order, others are to leave, and this keyholder to sign
                _log.exception("order %s was not released again", order.id.hex()[:16])
        if (mine := self._under_way.get(order.id)) is not None and mine[1] is scope:
            del self._under_way[order.id]
            self._changed.set()


class Again:
    """Releases orders that others coordinated.

    Parameters
    ----------
    release
        By every route there is; awaited for one order, and cancelled where a newer one has to leave.
    """

    def __init__(self, release: Callable[[VerifiedOrder], Awaitable[None]]) -> None:
        self._stops = _Lane(MAX_BRAKE_ORDERS, release, gives_way=True)
        self._rest = _Lane(WAITING, release, gives_way=False)

    def put(self, order: VerifiedOrder) -> None:
        """Have an order released as soon as there is room, or at once if it stops and is the newest that does."""
        (self._stops if isinstance(order.order.action, STOPPING) else self._rest).put(order)

    async def run(self) -> None:
        """Release what is put here, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stops.run)
            tasks.start_soon(self._rest.run)


def _issued(v: VerifiedOrder) -> tuple[int, OrderId]:
    return v.order.issued, v.id
