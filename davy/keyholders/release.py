"""An order that is signed leaves by every route there is, at once; one that fails holds up no other.

The routes that share nothing: the nodes themselves (an address book, no ledger needed; and those that a ledger names,
`listening`), the ledger, and a file that can be carried by hand. Every keyholder that hears of the whole order releases
it once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Final, NamedTuple, Protocol

import anyio

from davy.keyholders.circle import parse_address
from davy.keyholders.signer import STOPPING
from davy.ledger.submit import hand_in
from davy.network.fan_out import Addressee, Told, Turn, spread
from davy.network.room import Rank, Room
from davy.protocol.errors import DavyError, Malformed
from davy.protocol.order import VerifiedOrder
from davy.protocol.ports import Clock, LedgerClient, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import UnixMillis

_log = logging.getLogger(__name__)

MAX_BOOK_BYTES: Final = 1024 * 1024
_LEDGER_PATIENCE_S: Final = 30.0
_MOST_LINES: Final = 8
_PLAIN: Final = "http://"


class Delivery(NamedTuple):
    """What came of one addressee of one route."""

    route: str
    to: str
    reached: bool
    told: str
    """What it answered, or why it was not reached."""
    at: UnixMillis = 0
    """Of a node when its last answer was here, by the clock of who asked."""


class Book(NamedTuple):
    """Where nodes listen, each named once; `plain` are the gateways among them, which speak plain HTTP."""

    nodes: tuple[Endpoint, ...] = ()
    plain: frozenset[tuple[str, int]] = frozenset()


class Release(Protocol):
    """One route."""

    @property
    def name(self) -> str: ...

    async def release(self, order: VerifiedOrder) -> Sequence[Delivery]:
        """Bring an order to whom this route reaches.

        Raises
        ------
        DavyError
            Nobody was reached, and why.
        """
        ...


class ToNodes:
    """Straight to the nodes of an address book, whatever certificates they have.

    Parameters
    ----------
    transport
        One that takes any certificate (``pinned=False``), and knows which of the book speak plain HTTP.
    room
        For connections, where other orders leave from the same process.
    """

    name = "node"

    def __init__(self, book: Sequence[Endpoint], transport: Transport, clock: Clock, room: Room | None = None) -> None:
        self._book, self._transport, self._clock, self._room = book, transport, clock, room
        self.addresses = frozenset((to.host.lower(), to.port) for to in book)
        self.released = anyio.Event()
        """Set when each node was told, or given up."""

    async def release(self, order: VerifiedOrder) -> Sequence[Delivery]:
        """Deliver an order to each node until it attests it; see `davy.network.fan_out.spread`."""
        to = [Addressee(each) for each in self._book]
        try:
            told = await spread([order.raw], to, self._transport, self._clock, turn=turn_of(self._room, order))
        finally:
            self.released.set()
        return [delivery(self.name, t) for t in told]


class ToLedger:
    """Onto the ledger, whose blocks bring it to every node.

    Parameters
    ----------
    ledger
        Opens a client.
    """

    name = "ledger"

    def __init__(self, ledger: Callable[[], AbstractAsyncContextManager[LedgerClient]]) -> None:
        self._ledger = ledger

    async def release(self, order: VerifiedOrder) -> Sequence[Delivery]:
        """Hand an order in until it stands on the ledger.

        Raises
        ------
        TxFailed, Unreachable, Misdirected
        """
        async with self._ledger() as ledger:
            await hand_in(ledger, order.raw, patience=_LEDGER_PATIENCE_S)
        return [Delivery(self.name, "", True, "recorded in a block")]


def turn_of(room: Room | None, order: VerifiedOrder) -> Turn:
    """A connection's turn: of several orders at once what stops comes first, then what was issued last."""
    return nullcontext if room is None else partial(room.place, rank_of(order))


def rank_of(order: VerifiedOrder) -> Rank:
    return not isinstance(order.order.action, STOPPING), -order.order.issued


def delivery(route: str, t: Told) -> Delivery:
    """What came of telling one node of one order."""
    words = f"attested; {t.attested[0].attestation.streams} answers broken off" if t.is_reached else t.fault
    return Delivery(route, f"{t.to.endpoint.host}:{t.to.endpoint.port}", t.is_reached, words, t.at)


def told_lines(deliveries: Sequence[Delivery]) -> list[str]:
    """What came of an order, a line for each addressee; where a route has many, one line that counts them."""
    by_route: dict[str, list[Delivery]] = {}
    for d in deliveries:
        by_route.setdefault(d.route, []).append(d)
    return [line for route, rows in by_route.items() for line in _lines(route, rows)]


def _lines(route: str, rows: Sequence[Delivery]) -> list[str]:
    if len(rows) <= _MOST_LINES:
        return [f"{' '.join(filter(None, (d.route, d.to)))}: {d.told}" for d in rows]
    away = [d.to for d in rows if not d.reached]
    names = f"; not {', '.join(away[:_MOST_LINES])}" if away else ""
    more = ", …" if len(away) > _MOST_LINES else ""
    return [f"{route}: reached {len(rows) - len(away)} of {len(rows)}{names}{more}"]


async def release_by_all(routes: Sequence[Release], order: VerifiedOrder) -> list[Delivery]:
    """Release an order by every route; nothing that happens on one of them raises."""
    delivered: dict[int, Sequence[Delivery]] = {}

    async def one(place: int, route: Release) -> None:
        try:
            delivered[place] = await route.release(order)
        except DavyError as e:
            delivered[place] = [Delivery(route.name, "", False, str(e))]
        except Exception:  # an order is on its way: what one route meets must not end another
            _log.exception("the route '%s' failed", route.name)
            delivered[place] = [Delivery(route.name, "", False, "it failed here; see the log")]

    async with anyio.create_task_group() as tasks:
        for place, route in enumerate(routes):
            tasks.start_soon(one, place, route)
    return [each for place in range(len(routes)) for each in delivered[place]]


def read_book(text: str) -> Book:
    """Read an address book: a node's ``HOST:PORT`` a line, or a gateway's ``http://HOST:PORT``.

    Empty lines and those that begin with # say nothing. Certificates do not stand in it: an order proves itself, and
    one that was changed must not stop it.

    Raises
    ------
    Malformed
        A line that is no address.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = {parse_address(line.removeprefix(_PLAIN)): None for line in lines}
    if not found:
        raise Malformed("the address book is empty; write one HOST:PORT a line")
    plain = frozenset(parse_address(line.removeprefix(_PLAIN)) for line in lines if line.startswith(_PLAIN))
    return Book(tuple(Endpoint(*at, bytes(32), b"") for at in found), plain)
