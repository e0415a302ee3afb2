"""The brake's routes on a node: ``POST /brake`` takes orders, ``GET /brake`` tells them (davy.protocol.brake_messages).

Both are open to anybody, unsigned: an order proves itself, and whoever brings it may have no key here.
"""

from __future__ import annotations

from davy.killswitch.guard import Guard
from davy.protocol.ports import Handler, Response, SignedRequest, StreamReply

BRAKE_PATH = "/brake"


class BrakeRoutes:
    """A `Handler` for ``/brake``, in front of another: ``BrakeRoutes(guard, miner_handler)``."""

    def __init__(self, guard: Guard, rest: Handler) -> None:
        self._guard, self._rest = guard, rest

    async def handle(self, request: SignedRequest) -> Response | StreamReply: ...
