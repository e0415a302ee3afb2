"""Pull: nodes whose heads differ exchange their sets.

Every exchange between nodes carries the sender's head. Whoever asked sees the other's in the receipt and settles with
it (`note`): takes what the other has, and brings what the other lacks. Whoever was asked cannot reach the caller, who
may have no address; seeing a head that is not its own (`heard`) it settles with others that it knows.

A halt ends exchanges, too: nobody asks a halted node anything more. So a node whose head has changed brings what is new
to some at once, and to others a few times more within seconds, since the first may pass nothing on. Now and then it
settles with some of them.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, NamedTuple

import anyio
from msgspec import Meta

from davy.killswitch.guard import Guard
from davy.network.error_responses import response_error
from davy.network.fan_out import order_bodies, post_orders
from davy.protocol.brake_messages import BrakeReply, OrderPage
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import DavyError, Expired, Malformed, Refused, StoreFailed, UnknownRoster
from davy.protocol.limits import MAX_RESPONSE_BYTES
from davy.protocol.ports import Clock, Entropy, SignedRequest, Store, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Digest, Hotkey, UnixMillis

KNOWN: Final = 64
"""Nodes that one remembers, drawn at random."""
ASKED_AT_ONCE: Final = 4
AGAIN_MS: Final = (250, 750, 1_750)
"""How long after its head changed a node brings the news to more: four leave some of many out, and more where some of
them are silent (bench/time_to_stop.py)."""
_NEWS: Final = 8
"""Orders that are brought before it is asked what the other has."""
_NEWS_MS: Final = 3_000
ROUND_MS: Final = 5_000
"""After which a node asks some, if nothing made it ask before."""
_REST_MS: Final = 1_000
"""Between two exchanges with one node, or for a stranger's head."""
_PATIENCE_MS: Final = 3_000
_BARREN_PAGES: Final = 64
"""Pages without a new order that verifies, before a node is taken to tell of what does not exist."""
_REMEMBERED: Final = 4_096
_PLACE: Final = b"brake/peers"

_log = logging.getLogger(__name__)


class Peer(Wire):
    """A node that listens."""

    endpoint: Endpoint
    node: Hotkey


class KnownPeers(Wire):
    """Whom a node can ask at its next start, should the ledger be away."""

    version: Annotated[int, Meta(ge=1, le=1)]
    peers: Annotated[tuple[Peer, ...], Meta(max_length=KNOWN)]


class _Settled(NamedTuple):
    theirs: Digest
    ours: Digest
    at: UnixMillis


class Exchanged(NamedTuple):
    """A node's head after an exchange, and whether it has itself pulled since it began."""

    head: Digest
    pulled: bool


async def settle(
    guard: Guard, to: Endpoint, transport: Transport, clock: Clock, news: Sequence[bytes] = ()
) -> Exchanged:
    """Exchange with a node until both know what either knew.

    Parameters
    ----------
    news
        Orders that the other is not likely to have: it gets them first, which may be all. So they reach a node, too,
        that leaves questions unanswered.

    Raises
    ------
    Unreachable, Refused, TooLarge
        It does not answer, or not as it should; what it told until then was taken in.
    """
    if news:
        try:
            reply = await _bring(news, to, transport, clock)
        except Refused as e:  # of a roster that it does not know yet, for instance
            _log.info("%s:%d does not take the news: %s", to.host, to.port, e)
        else:
            if reply.head == guard.head:
                return Exchanged(reply.head, False)
    page, theirs, understood = await _pull(guard, to, transport, clock)
    told, pulled = page.head, page.pulled and understood
    lacking = [v.raw for v in guard.state.orders.values() if v.raw not in theirs]
    if told != guard.head and lacking:
        try:
            told = (await _bring(lacking, to, transport, clock)).head
        except Refused as e:  # it has forgotten them, for instance; what it told was taken in
            _log.info("%s:%d does not take what it lacks: %s", to.host, to.port, e)
    return Exchanged(told, pulled)


async def _pull(guard: Guard, to: Endpoint, transport: Transport, clock: Clock) -> tuple[OrderPage, set[bytes], bool]:
    """Take in all that a node tells: the last page, its orders, and whether each was of a roster that is known here.

    One of another roster, or that has lapsed, hides none behind it. Every page but a few must bring orders that verify.
    """
    theirs: set[bytes] = set()
    understood, barren, after = True, 0, ""
    while True:
        path = f"/brake?head={guard.head.hex()}{after}"
        asked = SignedRequest("GET", path, (), b"")
        answer = await transport.call(to, asked, deadline=clock.now() + _PATIENCE_MS)
        if answer.status != 200:
            raise response_error(answer)
        page = decode(answer.body, OrderPage, limit=MAX_RESPONSE_BYTES)
        received = await guard.receive_all(page.orders, go_on=lambda: False)
        for _, error in received.refused:
            understood &= not isinstance(error, UnknownRoster)
            if not isinstance(error, UnknownRoster | Expired):
                raise error
        if not page.after:
            return page, theirs | set(page.orders), understood
        barren += theirs.issuperset(v.raw for v in received.orders)
        if barren > _BARREN_PAGES:
            raise Malformed(f"{to.host}:{to.port} tells of more orders than there can be")
        theirs.update(v.raw for v in received.orders)
        after = f"&after={page.after[0].hex()}"


async def _bring(orders: Sequence[bytes], to: Endpoint, transport: Transport, clock: Clock) -> BrakeReply:
    """Send orders, in as many bodies as it takes; the last answer.

    Raises
    ------
    Refused
        It took none of them, though all were sent.
    Unreachable
    """
    replies: list[BrakeReply] = []
    refused: Refused = Malformed("there was nothing to bring")
    for body in order_bodies(orders):
        try:
            replies.append(await post_orders(to, body, transport, deadline=clock.now() + _PATIENCE_MS))
        except Refused as e:  # what the next one holds may be what it lacks
            refused = e
    if not replies:
        raise refused
    return replies[-1]


class BrakePeers:
    """A node's part in the pull; `run` lives as long as the node.

    Parameters
    ----------
    transport
        The node's own, whose certificates are pinned: what is pulled at boot must come from who it seems.
    """

    def __init__(self, guard: Guard, transport: Transport, clock: Clock, entropy: Entropy, store: Store) -> None:
        self._guard, self._transport, self._clock = guard, transport, clock
        self._entropy, self._store = entropy, store
        self._own: Hotkey = b""
        self.known: tuple[Peer, ...] = ()
        """Whom this node can ask."""
        self._waiting: dict[Hotkey, Peer] = {}
        self._settling: set[Hotkey] = set()
        self._settled: OrderedDict[Hotkey, _Settled] = OrderedDict()
        self._wake = anyio.Event()
        self._heard_at: UnixMillis = 0
        self._news: tuple[bytes, ...] = ()
        """What changed the head last."""
        self._news_until: UnixMillis = 0

    async def open(self) -> None:
        """Read whom an earlier process knew.

        Raises
        ------
        StoreFailed
        """
        raw = await self._store.get(_PLACE)
        if raw:
            try:
                self.known = decode(raw, KnownPeers, limit=KNOWN * 1_024).peers
            except Refused as e:
                _log.warning("the list of known nodes cannot be read, and is begun anew: %s", e)

    async def know(self, peers: Iterable[tuple[Endpoint, Hotkey]]) -> None:
        """Note who listens where now; a random part of them is kept for the next start."""
        fresh = tuple(Peer(endpoint, node) for endpoint, node in peers)
        if self._guard.state.first is None or not fresh or set(fresh) == set(self.known):
            return
        self.known = self._drawn(fresh, KNOWN)
        try:
            await self._store.put(_PLACE, encode(KnownPeers(1, self.known)))
        except StoreFailed as e:
            _log.warning("known nodes cannot be written: %s", e)

    def note(self, head: Digest, endpoint: Endpoint, node: Hotkey) -> None:
        """Settle with a node that was just asked, if its head is another."""
        if head == self._guard.head:
            return
        last = self._settled.get(node)
        if last is not None:
            unchanged = (last.theirs, last.ours) == (head, self._guard.head)
            if unchanged or self._clock.now() < last.at + _REST_MS:
                return
        self._waiting[node] = Peer(endpoint, node)
        self._wake.set()

    def heard(self, head: Digest) -> None:
        """Settle with some that are known: a caller has another head, and cannot be reached."""
        now = self._clock.now()
        if head == self._guard.head or now < self._heard_at + _REST_MS:
            return
        self._heard_at = now
        self._ask_some()

    async def run(self) -> None:
        """Settle as differences come up, and with some now and then; until cancelled."""
        if self._guard.state.first is None:
            await anyio.sleep_forever()  # nobody can halt this chain
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            while True:
                with anyio.move_on_after((ROUND_MS if self._guard.is_open else _REST_MS) / 1000) as quiet:
                    await self._wake.wait()
                if quiet.cancelled_caught:
                    self._ask_some()
                self._wake = anyio.Event()
                for node in [n for n in self._waiting if n not in self._settling]:
                    self._settling.add(node)
                    tasks.start_soon(self._settle, self._waiting.pop(node))

    async def _watch(self) -> None:
        told, known, due = self._guard.head, self._guard.state.orders.keys(), list[float]()
        while True:
            if self._guard.head != told:
                news = [v.raw for i, v in self._guard.state.orders.items() if i not in known]
                told, known = self._guard.head, self._guard.state.orders.keys()
                self._news = tuple(news) if len(news) <= _NEWS else ()
                self._news_until = self._clock.now() + _NEWS_MS
                due = [anyio.current_time() + ms / 1000 for ms in AGAIN_MS]
                self._ask_some()
            with anyio.CancelScope(deadline=due[0] if due else math.inf) as waiting:
                await self._guard.change()
            if waiting.cancelled_caught:
                due.pop(0)
                # Only here: who always shows another head would else be asked every time, and nobody else.
                self._ask_some([p for p in self.known if not self._agreed(p.node)])

    def _agreed(self, node: Hotkey) -> bool:
        last = self._settled.get(node)
        return last is not None and last.theirs == self._guard.head

    def _ask_some(self, among: Sequence[Peer] | None = None) -> None:
        for peer in self._drawn(self.known if among is None else among, ASKED_AT_ONCE):
            self._waiting.setdefault(peer.node, peer)
        self._wake.set()

    def _drawn(self, peers: Sequence[Peer], count: int) -> tuple[Peer, ...]:
        """So many of them, at random: nobody can arrange to be the only one that is asked."""
        keyed = [(self._entropy.bytes(8), n) for n in range(len(peers))]
        return tuple(peers[n] for _, n in sorted(keyed)[:count])

    async def _settle(self, peer: Peer) -> None:
        theirs = self._guard.head
        # Before the start is over it counts who was pulled, so everybody is asked.
        has_news = self._guard.is_open and self._clock.now() < self._news_until and not self._agreed(peer.node)
        news = self._news if has_news else ()
        try:
            theirs, pulled = await settle(self._guard, peer.endpoint, self._transport, self._clock, news)
            if pulled:  # nodes restored together from old backups must not open each other
                self._guard.pulled(peer.node)
        except Exception as e:
            if not isinstance(e, DavyError):  # whatever one node sends must not end the exchange with the others
                _log.exception("an exchange failed")
            _log.info("no exchange of orders with %s:%d: %s", peer.endpoint.host, peer.endpoint.port, e)
        self._settling.remove(peer.node)
        self._settled[peer.node] = _Settled(theirs, self._guard.head, self._clock.now())
        self._settled.move_to_end(peer.node)
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
