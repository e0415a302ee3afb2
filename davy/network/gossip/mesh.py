"""A gossip process among its peers: it dials some, lets some in, tells all what it hears, and asks where heads differ.

What is heard from one peer and verifies is told to all others at once. Every few seconds each peer is told this one's
head; one whose head differs is asked for what it has, page by page. So a peer that joins late, a message that was lost
and a partition that heals are one case: heads differ, and then they do not.

Nothing that a peer does raises beyond its own connection.
"""

# trio types what it starts in a way that the type checker cannot resolve yet.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import trio

from davy.network.gossip.holding import Holding, last_of
from davy.network.gossip.link import Identity, Limits, Stream, connected
from davy.network.gossip.pipe import Met, State
from davy.network.gossip.standing import Bounds, Standing
from davy.network.meter import Meter
from davy.protocol.encoding import decode
from davy.protocol.errors import Refused
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES, Ask, Page, PeerMessage, Tell, gossip_protocol
from davy.protocol.order import OrderId
from davy.protocol.ports import Clock
from davy.protocol.words import ChainId, Digest, PublicKey, UnixMillis

_QUEUE: Final = 64
"""Messages that wait for a slow peer; what does not fit is learned by the difference of heads."""
_SAME_MS: Final = 30_000
"""Before a peer that has answered is asked again while neither head has changed."""
_ANSWER_MS: Final = 10_000
"""For a peer to answer, before it is asked once more."""
_DIAL_EVERY_S: Final = 0.5
_LONGEST_PAUSE_MS: Final = 30_000
"""Before a peer that could not be reached is dialled again; a second at first, and twice as long each time."""

_MESSAGE: Final[Any] = PeerMessage
_log = logging.getLogger(__name__)


class Link:
    """A peer that is talked with."""

    def __init__(self, stream: Stream, initiator: PublicKey, clock: Clock, bounds: Bounds) -> None:
        self.peer, self.stream, self.initiator = stream.peer, stream, initiator
        self.scope = trio.CancelScope()  # pyright: ignore[reportCallIssue]
        self.asked: UnixMillis | None = None
        """When; a page is taken only while this is set."""
        self.answered: tuple[Digest, Digest, UnixMillis] = (b"", b"", 0)
        """Their head and ours after the last answer, and when that came."""
        self.messages: Meter[None] = Meter(bounds.messages, clock)
        self.asks: Meter[None] = Meter(bounds.asks, clock)
        self.odd: Meter[None] = Meter(bounds.odd, clock)
        self.into, self.out = trio.open_memory_channel[Tell | Ask | Page](_QUEUE)

    def say(self, message: Tell | Ask | Page) -> None:
        """Let a message wait to be sent, if there is room."""
        try:
            self.into.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError):
            _log.debug("a peer is slow; it will see that heads differ")


class Mesh:
    """All peers of one process.

    Parameters
    ----------
    heard
        Told of orders that are new here and came from a peer.
    """

    def __init__(
        self, own: Identity, chain: ChainId, holding: Holding, clock: Clock, heard: Callable[[Sequence[bytes]], None],
        bounds: Bounds | None = None,
    ) -> None:  # fmt: skip
        self._own, self._holding, self._clock, self._heard = own, holding, clock, heard
        self._bounds = bounds or Bounds()
        self._protocol = gossip_protocol(chain)
        self._limits = Limits(self._bounds.bytes_a_second, self._bounds.greeting_s, self._bounds.silence_s)
        self._standing = Standing(clock, self._bounds)
        self._met: dict[PublicKey, Met] = {}
        self._links: dict[PublicKey, Link] = {}
        self._dialling: dict[PublicKey, UnixMillis] = {}
        """When a peer may be dialled again; before 0 while it is being dialled."""
        self._pauses: dict[PublicKey, int] = {}
        self._greeting = 0

    @property
    def state(self) -> State:
        """How many there are."""
        dialled = sum(link.initiator == self._own.public for link in self._links.values())
        return State(dialled, len(self._links) - dialled, self._standing.banned)

    def meet(self, peers: Iterable[Met]) -> None:
        """Dial these from now on, and no others."""
        self._met = {p.peer: p for p in peers if p.peer != self._own.public}

    def give(self, raws: Sequence[bytes], *, on_record: bool = False) -> None:
        """Hand on what the node knows, of some that they stand on the ledger."""
        self._spread(self._holding.learn(raws, on_record=on_record).news, but=None)

    async def run(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Listen, dial and talk until cancelled."""
        async with trio.open_nursery() as tasks:
            for listener in listeners:
                tasks.start_soon(self._listen, listener, tasks)
            while True:
                self._dial_some(tasks)
                await trio.sleep(_DIAL_EVERY_S)

    async def _listen(self, listener: trio.SocketListener, tasks: trio.Nursery) -> None:
        while True:
            try:
                tcp = await listener.accept()
                address = str(tcp.socket.getpeername()[0])
            except OSError as e:
                _log.warning("no connection can be taken (%s); trying again", e)
                await trio.sleep(0.1)
                continue
            if self._standing.may_knock(address, self._greeting):
                tasks.start_soon(self._safely, self._admit, tcp)
            else:
                await trio.aclose_forcefully(tcp)

    def _dial_some(self, tasks: trio.Nursery) -> None:
        now = self._clock.now()
        busy = sum(at < 0 for at in self._dialling.values())
        free = self._bounds.dialled - busy - self.state.dialled
        ready = [p for p in self._met if p not in self._links and 0 <= self._dialling.get(p, 0) <= now]
        for peer in random.sample(ready, max(0, min(free, len(ready)))):
            if not self._standing.is_banned(peer):
                self._dialling[peer] = -1
                tasks.start_soon(self._safely, self._dial, self._met[peer])

    async def _safely(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            await work(*args)
        except Exception as e:  # a peer's words must end no more than its own connection
            _log.debug("a connection ended: %r", e)

    async def _dial(self, met: Met) -> None:
        began = self._clock.now()
        try:
            with trio.fail_after(self._bounds.greeting_s):
                tcp = await trio.open_tcp_stream(met.host, met.port)
            async with connected(tcp, self._own, self._protocol, self._limits, met.peer) as stream:
                self._dialling[met.peer] = 0
                await self._talk(stream, self._own.public)
        finally:
            lasted = self._clock.now() - began > _LONGEST_PAUSE_MS
            pause = 1_000 if lasted else min(_LONGEST_PAUSE_MS, 2 * self._pauses.get(met.peer, 500))
            self._pauses[met.peer] = pause
            self._dialling[met.peer] = self._clock.now() + random.randint(pause // 2, pause)
            for known in [p for p in self._dialling if p not in self._met and self._dialling[p] >= 0]:
                del self._dialling[known]
                self._pauses.pop(known, None)

    async def _admit(self, tcp: trio.SocketStream) -> None:
        self._greeting += 1
        greeting = True
        try:
            async with connected(tcp, self._own, self._protocol, self._limits) as stream:
                self._greeting -= 1
                greeting = False
                await self._talk(stream, stream.peer)
        finally:
            self._greeting -= greeting

    async def _talk(self, stream: Stream, initiator: PublicKey) -> None:
        link = Link(stream, initiator, self._clock, self._bounds)
        if stream.peer == self._own.public or self._standing.is_banned(stream.peer) or not self._has_place(link):
            return
        before = self._links.get(link.peer)
        if before is not None:
            before.scope.cancel()
        self._links[link.peer] = link
        try:
            with link.scope:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(self._write, link)
                    await self._read(link)
                    tasks.cancel_scope.cancel()
        finally:
            if self._links.get(link.peer) is link:
                del self._links[link.peer]

    def _has_place(self, link: Link) -> bool:
        """Whether a peer may stay; of two connections with one peer both sides keep that of the greater key."""
        other = self._links.get(link.peer)
        if other is not None:
            return link.initiator > other.initiator or (link.initiator == other.initiator != self._own.public)
        if link.initiator == self._own.public or self.state.accepted < self._bounds.accepted:
            return True
        strangers = [one for one in self._links.values() if one.initiator == one.peer and one.peer not in self._met]
        if link.peer not in self._met or not strangers:
            return False
        random.choice(strangers).scope.cancel()
        return True

    async def _write(self, link: Link) -> None:
        while True:
            message: Tell | Ask | Page = Tell(self._holding.head, ())
            with trio.move_on_after(self._bounds.beat_s):
                message = await link.out.receive()
            await link.stream.send(message)

    async def _read(self, link: Link) -> None:
        link.say(Tell(self._holding.head, ()))
        while True:
            wait = link.messages.spend(None)
            if wait:
                await trio.sleep(wait / 1000)
            try:
                body = await link.stream.receive()
                message: PeerMessage = decode(body, _MESSAGE, limit=MAX_GOSSIP_FRAME_BYTES)
                if self._take(link, message):
                    continue
            except Refused as e:
                _log.info("peer %s sent what is not a message: %s", link.peer.hex()[:16], e)
            self._standing.ban(link.peer)
            return

    def _take(self, link: Link, message: PeerMessage) -> bool:
        """Do what a message asks for; False where no honest peer would have sent it."""
        match message:
            case Ask(head, after):
                if not link.asks.spend(None):
                    link.say(self._holding.page(head, after[0] if after else None))
                return True
            case Tell(head, orders):
                honest, odd = self._learn(link, orders)
                self._compare(link, head, again=odd)
                return honest
            case Page(head, orders, more):
                if link.asked is None:
                    return False
                honest, _ = self._learn(link, orders)
                link.answered, link.asked = (head, self._holding.head, self._clock.now()), None
                if more and honest and (last := last_of(orders)) is not None:
                    self._ask(link, (last,))
                return honest

    def _learn(self, link: Link, orders: Sequence[bytes]) -> tuple[bool, bool]:
        """Return whether the peer may be honest, and whether it may know what is lacking here."""
        if not orders:
            return True, False
        learned = self._holding.learn(orders)
        if learned.news:
            self._spread(learned.news, but=link)
            self._heard(learned.news)
        patient = not any(link.odd.spend(None) for _ in range(learned.odd))
        return patient and not learned.forged, learned.odd > 0

    def _compare(self, link: Link, theirs: Digest, *, again: bool) -> None:
        now = self._clock.now()
        if theirs == self._holding.head or (link.asked is not None and now < link.asked + _ANSWER_MS):
            return
        head, ours, at = link.answered
        if not again and (head, ours) == (theirs, self._holding.head) and now < at + _SAME_MS:
            return
        self._ask(link, ())

    def _ask(self, link: Link, after: tuple[OrderId, ...]) -> None:
        link.asked = self._clock.now()
        link.say(Ask(self._holding.head, after))

    def _spread(self, news: Sequence[bytes], but: Link | None) -> None:
        if news:
            message = Tell(self._holding.head, tuple(news))
            for link in self._links.values():
                if link is not but:
                    link.say(message)
