"""What carries orders to a host: exchange with others beside what keyholders bring, or one other route and no more.

A host of `GOSSIP` has a real gossip process, started and introduced as `davy miner --gossip` does it, and asks nobody
for orders. One of `LEDGER` follows a ledger over its socket, with the code by which each node takes a block for seen.
With `NOTHING` orders stay where keyholders bring them: it shows that nothing but the route carried what another did.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskGroup

from davy.killswitch.guard import Guard
from davy.ledger.client import RpcLedger
from davy.network.attesting import Attesting
from davy.network.brake_peers import BrakePeers
from davy.network.brake_routes import BrakeRoutes
from davy.network.gossip.joining import LAUNCH, Gossip
from davy.network.gossip.meeting import Meeting
from davy.network.gossip.route import GossipRoute, Listening
from davy.network.http_client import HttpTransport
from davy.network.node_brake import NodeBrake
from davy.protocol.chain import Head
from davy.protocol.errors import DavyError, Unreachable
from davy.protocol.ports import (
    Clock,
    Entropy,
    Handler,
    IncomingStream,
    KeyStore,
    Response,
    SignedRequest,
    Store,
    StreamReply,
    Transport,
)
from davy.protocol.transaction import Endpoint
from davy.protocol.words import ChainId, Digest, Hotkey

HOST = "127.0.0.1"
LINKS = 8
"""Peers that a gossip process dials."""
PATIENCE_S = 400.0
"""For all gossip processes to load their packages and to find each other."""
_log = logging.getLogger(__name__)


class Route(StrEnum):
    """What carries orders to hosts that no keyholder tells."""

    EXCHANGE = "exchange"
    GOSSIP = "gossip"
    LEDGER = "ledger"
    NOTHING = "nothing"


@dataclass
class Weather:
    """Who is silent, and who is cut off, now; shared by the hosts of a process."""

    silent: frozenset[int] = frozenset()
    island: frozenset[int] = frozenset()
    numbers: Mapping[int, int] = field(default_factory=dict[int, int])
    """Hosts by port."""

    def parts(self, a: int, b: int) -> bool:
        return (a in self.island) != (b in self.island)


class Own(NamedTuple):
    """What a host has of its own."""

    number: int
    guard: Guard
    keys: KeyStore
    clock: Clock
    entropy: Entropy
    store: Store


class HostRoute(Protocol):
    """A host's end of a route."""

    def heard(self, head: Digest) -> None:
        """Take note of a caller's brake head."""
        ...

    def door(self, rest: Handler) -> Handler:
        """Put what the route asks of a door in front of a handler."""
        ...

    async def open(self, tasks: TaskGroup) -> None:
        """Begin, before the host says where it is."""
        ...

    async def meet(self, others: Sequence[tuple[Endpoint, Hotkey]], tasks: TaskGroup) -> None:
        """Return when orders can come from others, all of whom are open."""
        ...

    def cpu_s(self) -> float:
        """Processor seconds, so far, of what runs for it in processes of its own."""
        ...


class Nothing:
    """A host whose keyholders can tell it of an order, and nobody else."""

    def __init__(self, own: Own) -> None:
        self._own = own

    def heard(self, head: Digest) -> None:
        """Do nothing."""

    def door(self, rest: Handler) -> Handler:
        return BrakeRoutes(self._own.guard, rest, self._own.clock)

    async def open(self, tasks: TaskGroup) -> None:
        await self._own.guard.at_block(Head(1, self._own.clock.now(), bytes(32), bytes(32)), [])

    async def meet(self, others: Sequence[tuple[Endpoint, Hotkey]], tasks: TaskGroup) -> None:
        """Return at once."""

    def cpu_s(self) -> float:
        return 0.0


class Door:
    """A host's front door; a silent one leaves exchanges of orders unanswered."""

    def __init__(self, number: int, weather: Weather, rest: Handler) -> None:
        self._number, self._weather, self._rest = number, weather, rest

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        if request.method == "GET" and request.path.startswith("/brake") and self._number in self._weather.silent:
            await anyio.sleep_forever()
        return await self._rest.handle(request)


class Way:
    """A host's way to the others."""

    def __init__(self, number: int, weather: Weather, rest: Transport) -> None:
        self._number, self._weather, self._rest = number, weather, rest

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> Response:
        w = self._weather
        if w.parts(self._number, w.numbers[to.port]) or (r.method == "POST" and self._number in w.silent):
            raise Unreachable("cut off, or silent")
        return await self._rest.call(to, r, deadline=deadline)

    def stream(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> AbstractAsyncContextManager[IncomingStream]:
        return self._rest.stream(to, r, deadline=deadline)


class Exchange(Nothing):
    """Exchange between nodes whose heads differ."""

    def __init__(self, own: Own, weather: Weather, transport: HttpTransport) -> None:
        super().__init__(own)
        self._weather = weather
        self._peers = _peers(own, Way(own.number, weather, transport))

    def heard(self, head: Digest) -> None:
        self._peers.heard(head)

    def door(self, rest: Handler) -> Handler:
        return Door(self._own.number, self._weather, super().door(rest))

    async def meet(self, others: Sequence[tuple[Endpoint, Hotkey]], tasks: TaskGroup) -> None:
        await self._peers.know(others)
        tasks.start_soon(self._peers.run)


class ByGossip(Nothing):
    """A gossip process; what the host knows of others only tells where theirs are."""

    def __init__(self, own: Own, transport: HttpTransport) -> None:
        super().__init__(own)
        self._known = _peers(own, transport)
        self._route = GossipRoute(own.guard, own.keys, own.clock, LAUNCH, Listening(HOST, 0))
        meeting = Meeting(self._route, self._known, transport, own.clock, own.entropy, own.store)
        self._gossip = Gossip(self._route, meeting)

    def door(self, rest: Handler) -> Handler:
        return self._gossip.door(super().door(rest))

    async def open(self, tasks: TaskGroup) -> None:
        await super().open(tasks)
        tasks.start_soon(self._route.run)
        await self._until(lambda: self._route.place is not None)

    async def meet(self, others: Sequence[tuple[Endpoint, Hotkey]], tasks: TaskGroup) -> None:
        await self._known.know(others)
        tasks.start_soon(self._gossip.meeting.run)
        enough = min(len(others), LINKS)
        await self._until(lambda: self._route.state.dialled + self._route.state.accepted >= enough)

    def cpu_s(self) -> float:
        if self._route.pid is None:
            return 0.0
        # in nanoseconds a thread: `stat` counts whole ticks, and an order takes less than one
        times = Path(f"/proc/{self._route.pid}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in times) / 1e9

    async def _until(self, so: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE_S):
            while not so():
                await self._route.change()


class ByLedger(Nothing):
    """Blocks, followed and proved as a node does it; `opened` closes the connections."""

    def __init__(self, own: Own, ledger: RpcLedger, transport: HttpTransport, opened: AsyncExitStack) -> None:
        super().__init__(own)
        self._ledger, self._opened = ledger, opened
        attesting = Attesting(own.guard, own.keys, ledger, own.store)
        self._brake = NodeBrake(own.guard, _peers(own, transport), attesting, ledger)

    async def open(self, tasks: TaskGroup) -> None:
        await self._opened.enter_async_context(self._ledger)
        head = await self._ledger.head()
        await self._brake.look(head)
        tasks.start_soon(self._follow, head)

    async def _follow(self, head: Head) -> None:
        rng = random.Random(self._own.number)
        while True:
            try:
                async with self._ledger.blocks(head.height, newest=True) as heads:
                    async for block in heads:
                        await self._brake.look(block)
                        head = block
            except DavyError as e:  # a node goes on, too
                _log.warning("host %d lost the ledger: %s", self._own.number, e)
            await anyio.sleep(rng.uniform(0.1, 0.5))


def open_route(
    route: Route, own: Own, weather: Weather, transport: HttpTransport, chain: ChainId, ledger: str,
    opened: AsyncExitStack,
) -> HostRoute:  # fmt: skip
    """Make a host's end of a route; `ledger` is where one answers."""
    match route:
        case Route.EXCHANGE:
            return Exchange(own, weather, transport)
        case Route.GOSSIP:
            return ByGossip(own, transport)
        case Route.LEDGER:
            return ByLedger(own, RpcLedger(ledger, chain), transport, opened)
        case Route.NOTHING:
            return Nothing(own)


def _peers(own: Own, way: Transport) -> BrakePeers:
    return BrakePeers(own.guard, way, own.clock, own.entropy, own.store)
