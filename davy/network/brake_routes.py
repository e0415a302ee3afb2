"""The brake's routes on a node: ``POST /brake`` takes orders, ``GET /brake`` tells them (davy.protocol.brake_messages).

Both are open to anybody, unsigned: an order proves itself, and whoever brings it may have no key here.

Junk cannot keep out a valid order. Of each body orders are verified until one does not hold; that one is free, for it
costs less (one signature, some 60 µs) than the request that brought it, so to refuse it early would protect nothing.
All else is paid for from two buckets, one for each address and one for all: further orders after a bad one, bodies that
bring nothing new, pages. An empty bucket never stands before the first look at a body: a new order is always seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import anyio

from davy.killswitch.guard import Guard
from davy.network.error_responses import told
from davy.network.meter import Meter, Rate, neighbourhood
from davy.protocol.brake_messages import BrakeReply, OrderPage, OrderSet, RefusedOrder
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, DavyError, Malformed
from davy.protocol.limits import MAX_ORDER_SET, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from davy.protocol.order import Install, VerifiedOrder
from davy.protocol.ports import Clock, Handler, Response, SignedRequest, StreamReply
from davy.protocol.words import Digest

PATH: Final = "/brake"
BINARY: Final = ("content-type", "application/octet-stream")
_PAGE_BYTES: Final = MAX_RESPONSE_BYTES - 1_024
_HEX: Final = re.compile(r"[0-9a-f]{64}")


class BrakeLimits(NamedTuple):
    """How much a node does for those who ask about the brake."""

    address: Rate = Rate(20.0, 200)
    total: Rate = Rate(200.0, 2_000)
    patience_ms: int = 10_000
    """For what an order stops to end, before a reply goes without its attestation; asking again is allowed."""


class BrakeRoutes:
    """A `Handler` for ``/brake``; everything else goes to `rest`."""

    def __init__(self, guard: Guard, rest: Handler, clock: Clock, limits: BrakeLimits | None = None) -> None:
        self._guard, self._rest, self._clock = guard, rest, clock
        self._limits = limits or BrakeLimits()
        self._addresses: Meter[str] = Meter(self._limits.address, clock)
        self._all: Meter[None] = Meter(self._limits.total, clock)

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        """Answer ``/brake``, or let `rest` answer.

        Raises
        ------
        DavyError
            What `davy.network.error_responses` tells the client.
        """
        path, _, query = request.path.partition("?")
        if path != PATH:
            return await self._rest.handle(request)
        if request.method == "POST" and not query:
            return await self._take(request)
        if request.method == "GET":
            return self._tell(request, query)
        raise Malformed("POST /brake takes orders, GET /brake?head=… tells them")

    def _pay(self, request: SignedRequest) -> bool:
        return not self._all.spend(None) and not self._addresses.spend(neighbourhood(request.address))

    async def _take(self, request: SignedRequest) -> Response:
        orders = decode(request.body, OrderSet, limit=MAX_REQUEST_BYTES).orders
        before = self._guard.state
        received = await self._guard.receive_all(orders, go_on=lambda: self._pay(request))
        if not received.orders and received.refused:
            raise received.refused[0][1]
        if self._guard.state is before and not self._pay(request):
            raise Busy("this node was asked too much about the brake from there; ask again in a moment")
        attestations: list[bytes] = []
        with anyio.move_on_after(self._limits.patience_ms / 1000):
            for v in received.orders:
                attestations.append(await self._guard.attestation(v))  # noqa: PERF401 - what came in time counts
        places = {raw: n for n, raw in enumerate(orders)}
        refused = tuple(_refused(places[raw], error) for raw, error in received.refused)
        return _binary(encode(BrakeReply(1, self._guard.head, tuple(attestations), refused)))

    def _tell(self, request: SignedRequest, query: str) -> Response:
        asked = _digests(query)
        if not self._pay(request):
            raise Busy("this node was asked too much about the brake from there; ask again in a moment")
        return _binary(encode(page_of(self._guard, asked.get("head"), asked.get("after"))))


def page_of(guard: Guard, head: Digest | None, after: Digest | None) -> OrderPage:
    """What a node tells of its orders: nothing to those who have its head, else from the order `after` on."""
    if head == guard.head:
        return OrderPage(2, guard.head, (), (), guard.is_open, guard.seen)
    page: list[bytes] = []
    size = 0
    for v in _from(after, sorted(guard.state.orders.values(), key=_place)):
        size += len(v.raw) + 5
        if len(page) == MAX_ORDER_SET or size > _PAGE_BYTES:
            return OrderPage(2, guard.head, tuple(page), (v.id,), guard.is_open, guard.seen)
        page.append(v.raw)
    return OrderPage(2, guard.head, tuple(page), (), guard.is_open, guard.seen)


def _place(v: VerifiedOrder) -> tuple[bool, int, bytes]:
    return not isinstance(v.order.action, Install), v.order.epoch, v.id


def _from(first: Digest | None, ordered: list[VerifiedOrder]) -> Iterable[VerifiedOrder]:
    start = next((n for n, v in enumerate(ordered) if v.id == first), 0)
    return ordered[start:]


def _digests(query: str) -> dict[str, bytes]:
    """Read ``head`` and ``after``, at most one of each.

    Raises
    ------
    Malformed
    """
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=2) if query.count("&") < 2 else []
    read = dict(pairs)
    strict = len(read) == len(pairs) == (query.count("&") + 1 if query else 0)
    if not strict or not read.keys() <= {"head", "after"} or not all(map(_HEX.fullmatch, read.values())):
        raise Malformed("GET /brake takes head and after, 64 lower-case hex digits each")
    return {name: bytes.fromhex(text) for name, text in read.items()}


def _refused(place: int, e: DavyError) -> RefusedOrder:
    row, message = told(e)
    return RefusedOrder(place, row.code, message[:500])


def _binary(body: bytes) -> Response:
    return Response(200, (BINARY,), body)
