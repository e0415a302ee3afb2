"""How gossip processes find each other: each node says on its own front door where its process listens.

``GET /gossip`` is asked through the transport that pins the certificate which the ledger names, so a peer's identity is
as well known as the node's. What was learned is kept for the next start, when that route may be cut. Peers can also be
given by hand; those are always among the ones that are dialled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Final

import anyio
from msgspec import Meta

from davy.network.brake_peers import BrakePeers, Peer
from davy.network.error_responses import response_error
from davy.network.gossip.pipe import MAX_MET, Met
from davy.network.gossip.route import GossipRoute
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Busy, DavyError, Refused, StoreFailed
from davy.protocol.gossip import GOSSIP_PATH, GossipPlace
from davy.protocol.ports import Clock, Entropy, Handler, Response, SignedRequest, Store, StreamReply, Transport
from davy.protocol.words import Hotkey

_PLACE: Final = b"gossip/met"
_ROUND_MS: Final = 30_000
_SOON_MS: Final = 2_000
"""Between rounds while nobody is known."""
_ASKED: Final = 16
"""In one round, of those that the node knows."""
_PATIENCE_MS: Final = 3_000
_MAX_PLACE_BYTES: Final = 64

_log = logging.getLogger(__name__)


class KnownMet(Wire):
    """Whom a node's gossip process met, for its next start."""

    version: Annotated[int, Meta(ge=1, le=1)]
    peers: Annotated[tuple[Met, ...], Meta(max_length=MAX_MET)]


class GossipDoor:
    """A `Handler` for ``GET /gossip``; everything else goes to `rest`."""

    def __init__(self, route: GossipRoute, rest: Handler) -> None:
        self._route, self._rest = route, rest

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        """Say where the process listens, or let `rest` answer.

        Raises
        ------
        Busy
            It is about to begin.
        """
        if (request.method, request.path) != ("GET", GOSSIP_PATH):
            return await self._rest.handle(request)
        if self._route.place is None:
            raise Busy("the gossip process of this node is not up; ask again in a moment")
        return Response(200, (("content-type", "application/octet-stream"),), encode(self._route.place))


async def ask_place(peer: Peer, transport: Transport, clock: Clock) -> Met:
    """Ask a node where its gossip process listens.

    Raises
    ------
    Unreachable, Refused, TooLarge
        It does not answer, has none, or says what cannot be read.
    """
    asked = SignedRequest("GET", GOSSIP_PATH, (), b"")
    answer = await transport.call(peer.endpoint, asked, deadline=clock.now() + _PATIENCE_MS)
    if answer.status != 200:
        raise response_error(answer)
    place = decode(answer.body, GossipPlace, limit=_MAX_PLACE_BYTES)
    return Met(peer.endpoint.host, place.port, place.peer)


class Meeting:
    """Keeps a route's peers up to date; `run` lives as long as the node.

    Parameters
    ----------
    given
        Peers by hand, at most half of `MAX_MET`.
    """

    def __init__(
        self, route: GossipRoute, known: BrakePeers, transport: Transport, clock: Clock, entropy: Entropy, store: Store,
        given: Sequence[Met] = (),
    ) -> None:  # fmt: skip
        self._route, self._known, self._transport = route, known, transport
        self._clock, self._entropy, self._store = clock, entropy, store
        self._given = tuple(given)[: MAX_MET // 2]
        self._found: dict[Hotkey, Met] = {}

    async def run(self) -> None:
        """Ask round by round until cancelled."""
        earlier = await self._earlier()
        self._meet(earlier)
        while True:
            asked = self._drawn()
            async with anyio.create_task_group() as tasks:
                for peer in asked:
                    tasks.start_soon(self._ask, peer)
            there = {p.node for p in self._known.known}
            self._found = {node: met for node, met in self._found.items() if node in there}
            if self._found:
                await self._keep()
            self._meet(tuple(self._found.values()) or earlier)
            await self._clock.sleep_until(self._clock.now() + (_ROUND_MS if self._found else _SOON_MS))

    def _meet(self, peers: Sequence[Met]) -> None:
        self._route.meet({m.peer: m for m in (*self._given, *peers)}.values())

    async def _ask(self, peer: Peer) -> None:
        try:
            self._found[peer.node] = await ask_place(peer, self._transport, self._clock)
        except DavyError as e:  # it may be away for a while: what was found before is still dialled
            _log.debug("no gossip process at %s:%d: %s", peer.endpoint.host, peer.endpoint.port, e)

    def _drawn(self) -> list[Peer]:
        """Some that are known, at random, those first whose process is not known."""
        keyed = [(p.node in self._found, self._entropy.bytes(8), n) for n, p in enumerate(self._known.known)]
        return [self._known.known[n] for _, _, n in sorted(keyed)[:_ASKED]]

    async def _earlier(self) -> tuple[Met, ...]:
        try:
            raw = await self._store.get(_PLACE)
            return decode(raw, KnownMet, limit=MAX_MET * 512).peers if raw else ()
        except (Refused, StoreFailed) as e:
            _log.warning("the list of gossip peers cannot be read, and is begun anew: %s", e)
            return ()

    async def _keep(self) -> None:
        try:
            await self._store.put(_PLACE, encode(KnownMet(1, tuple(self._found.values())[:MAX_MET])))
        except StoreFailed as e:
            _log.warning("gossip peers cannot be written: %s", e)
