"""Orders straight to many nodes at once: the route that needs neither ledger nor key, only addresses.

Certificates are not looked at (a transport with ``pinned=False``): orders prove themselves, and so do the answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final, NamedTuple

import anyio

from davy.network.error_responses import response_error
from davy.network.failures import printable
from davy.protocol.attestation import Attestation, open_attestation
from davy.protocol.brake_messages import BrakeReply, OrderSet, RefusedOrder
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, DavyError, Misdirected, Refused, TooLarge, Unreachable
from davy.protocol.limits import MAX_ORDER_SET, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from davy.protocol.order import Order, OrderId, open_order, order_id
from davy.protocol.ports import Clock, SignedRequest, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Digest, Hotkey, UnixMillis

_HEADERS: Final = (("content-type", "application/octet-stream"),)

Turn = Callable[[], AbstractAsyncContextManager[None]]

_log = logging.getLogger(__name__)


class Addressee(NamedTuple):
    """Where a node listens, and which one it has to be; None takes the word of whoever answers there."""

    endpoint: Endpoint
    node: Hotkey | None = None


class Attested(NamedTuple):
    """A node's word, and the signed bytes that prove it to others."""

    raw: bytes
    attestation: Attestation


class Told(NamedTuple):
    """What came of one addressee. A node that did not attest every order counts as unreached: `fault` says why."""

    to: Addressee
    head: Digest | None
    attested: tuple[Attested, ...]
    refused: tuple[RefusedOrder, ...]
    fault: str
    at: UnixMillis
    """When its last answer had arrived, by the clock of whoever asked."""

    @property
    def is_reached(self) -> bool:
        return not self.fault


class Spreading(NamedTuple):
    """How patient a fan-out is, and with how many at once."""

    patience_ms: int = 10_000
    attempt_ms: int = 3_000
    """One request and its answer; a message may be lost."""
    parallel: int = 256
    pause_ms: int = 250
    """After an attempt that failed; as long as the patience, it leaves one attempt."""


async def spread(
    orders: Sequence[bytes],
    to: Sequence[Addressee],
    transport: Transport,
    clock: Clock,
    *,
    how: Spreading | None = None,
    tell: Callable[[Told], None] = lambda _: None,
    turn: Turn = nullcontext,
) -> list[Told]:
    """Deliver signed orders to every addressee, again and again within its patience; nothing that a node does raises.

    Parameters
    ----------
    orders
        With the INSTALLs that they need.
    transport
        Best one with ``pinned=False``.
    tell
        Called with each result as it comes; what is returned is in the sequence of `to`.
    turn
        Opened for each attempt, such as a place in a `davy.network.room.Room`; no patience runs before the first.

    Raises
    ------
    Refused
        One of `orders` is none.
    """
    how = how or Spreading()
    opened = {order_id(signed.order): order for signed, order in map(open_order, orders)}
    bodies = order_bodies(orders)
    results: dict[int, Told] = {}
    limit = anyio.CapacityLimiter(how.parallel)

    async def one(place: int) -> None:
        async with limit:
            try:
                results[place] = await _deliver(bodies, opened, to[place], transport, clock, how, turn)
            except Exception:  # whatever one node sends must not keep an order from the others
                _log.exception("an order was not delivered to %s:%d", to[place].endpoint.host, to[place].endpoint.port)
                results[place] = Told(to[place], None, (), (), "the delivery failed here; see the log", clock.now())
        tell(results[place])

    async with anyio.create_task_group() as tasks:
        for place in range(len(to)):
            tasks.start_soon(one, place)
    return [results[place] for place in range(len(to))]


def order_bodies(orders: Sequence[bytes]) -> list[bytes]:
    """Pack signed orders into bodies of ``POST /brake``, in their sequence."""
    sets: list[list[bytes]] = [[]]
    size = 0
    for raw in orders:
        size += len(raw) + 5
        if sets[-1] and (size > MAX_REQUEST_BYTES - 16 or len(sets[-1]) == MAX_ORDER_SET):
            sets.append([])
            size = len(raw) + 5
        sets[-1].append(raw)
    return [encode(OrderSet(1, tuple(one))) for one in sets if one]


async def post_orders(to: Endpoint, body: bytes, transport: Transport, *, deadline: UnixMillis) -> BrakeReply:
    """Send one body.

    Raises
    ------
    Unreachable, TooLarge
        See `davy.protocol.ports.Transport.call`.
    Refused
        The node took none of the orders, or its answer cannot be read.
    """
    answer = await transport.call(to, SignedRequest("POST", "/brake", _HEADERS, body), deadline=deadline)
    if answer.status != 200:
        raise response_error(answer)
    return decode(answer.body, BrakeReply, limit=MAX_RESPONSE_BYTES)


async def _deliver(
    bodies: Sequence[bytes], orders: dict[OrderId, Order], to: Addressee, transport: Transport, clock: Clock,
    how: Spreading, turn: Turn,
) -> Told:  # fmt: skip
    until = 0
    attested: dict[OrderId, Attested] = {}
    head: Digest | None = None
    refused: tuple[RefusedOrder, ...] = ()
    while True:
        fault, final = "", False
        async with turn():
            until = until or clock.now() + how.patience_ms
            for body in bodies:
                try:
                    deadline = min(until, clock.now() + how.attempt_ms)
                    reply = await post_orders(to.endpoint, body, transport, deadline=deadline)
                    head, refused = reply.head, reply.refused
                    for raw in reply.attestations:
                        a = _checked(raw, orders, to)
                        attested[a.order] = Attested(raw, a)
                except (Unreachable, Busy) as e:
                    fault = str(e)
                except (Refused, TooLarge) as e:
                    fault, final = str(e), True
                except DavyError as e:
                    fault = str(e)
        missing = orders.keys() - attested.keys()
        if missing and not fault:
            fault = printable(refused[0].message) if refused else f"{len(missing)} orders were not attested in time"
        if not missing or final or clock.now() + how.pause_ms >= until:
            kept = tuple(attested[i] for i in orders if i in attested)
            return Told(to, head, kept, refused, fault if missing else "", clock.now())
        await clock.sleep_until(clock.now() + how.pause_ms)


def _checked(raw: bytes, orders: dict[OrderId, Order], to: Addressee) -> Attestation:
    a = open_attestation(raw)
    order = orders.get(a.order)
    if order is None or a.chain != order.chain:
        raise Misdirected("the node attested another order than it was sent")
    if to.node is not None and a.node != to.node:
        raise Misdirected("another node answers at this address; correct the address book")
    return a
