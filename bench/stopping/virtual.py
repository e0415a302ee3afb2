"""The same guards, routes and exchanges in virtual time: ten thousand nodes at published distances, in one process.

No streams: a node has stopped when what its guard let run has been cancelled. A call is a new connection, so it takes
three round trips (TCP, TLS 1.3, the request) and one message more is lost than real TCP would lose: as a whole, until
the caller's patience ends. Computing takes no time here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, NamedTuple

import anyio
import trio
from trio._core import _run  # pyright: ignore[reportMissingImports] - hidden by stubs that libp2p brings

from bench.stopping.council import Council, Given
from bench.stopping.distances import Distances
from davy.killswitch.brake import BrakeState
from davy.killswitch.guard import Guard
from davy.killswitch.scope import ModelFacts, Subject
from davy.network.brake_peers import KNOWN, BrakePeers
from davy.network.brake_routes import BrakeRoutes
from davy.network.fan_out import Addressee, Spreading, spread
from davy.network.memory import MemoryNetwork, no_delay
from davy.protocol.chain import Head
from davy.protocol.errors import ModelHalted, NotEnabled, Unreachable
from davy.protocol.ports import Handler, IncomingStream, Response, SignedRequest, StreamReply, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.simulated.clock import VirtualClock
from tests.twins import MemoryStore, SeededEntropy, SeededKeys

CHAIN = hashlib.sha256(b"a chain in virtual time").digest()
ROUND_TRIPS = 3
LOSS = 0.001
"""Of messages; a lost one costs its caller the whole patience."""
KEYHOLDER = -1


class Plan(NamedTuple):
    """One history."""

    nodes: int
    distances: Distances
    silent: float = 0.0
    known: float = 1.0
    """Share of nodes that the keyholders have an address of."""
    island: float = 0.0
    heals_after_s: float = 0.0
    seed: int = 1
    patience_s: float = 60.0


class Stopped(NamedTuple):
    """Milliseconds to each node's stop, from the last share or from the partition's end; None where it went on."""

    plan: Plan
    took: dict[int, float | None]
    far: frozenset[int]
    """Nodes behind the partition, whose times count from its healing."""


class Nobody:
    """What is behind the brake's routes: nothing is asked here."""

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        raise NotEnabled("nothing is served here")


class Silent:
    """The door of a relay that leaves exchanges unanswered."""

    def __init__(self, rest: Handler) -> None:
        self._rest = rest

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        if request.method == "GET":
            await anyio.sleep_forever()
        return await self._rest.handle(request)


class World:
    """Who is where, and who cannot reach whom now."""

    def __init__(self, plan: Plan, clock: VirtualClock) -> None:
        self.plan, self.clock, self.rng = plan, clock, Random(plan.seed)
        self.regions = plan.distances.regions(plan.nodes, self.rng)
        self.regions.append(self.rng.choice(self.regions))  # the keyholders', at KEYHOLDER
        numbers = range(plan.nodes)
        self.silent = frozenset(self.rng.sample(numbers, round(plan.silent * plan.nodes)))
        self.island = frozenset(self.rng.sample(numbers, round(plan.island * plan.nodes)))
        self.far = self.island
        self.net = MemoryNetwork(clock, LOSS, no_delay, self.rng, sleep=clock.sleep)

    def one_way(self, a: int, b: int) -> float:
        return self.plan.distances.one_way_s(self.regions[a], self.regions[b], self.rng)


class Far:
    """One node's way to the others, as far as they are."""

    def __init__(self, world: World, number: int, *, pinned: bool = True) -> None:
        self._world, self._number = world, number
        self._rest: Transport = world.net.transport(str(number), pinned=pinned)

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> Response:
        w, other = self._world, to.port - 1
        if r.method == "POST" and self._number in w.silent:
            raise Unreachable("silent")
        with anyio.move_on_after(max(0, deadline - w.clock.now()) / 1000):
            ways = 2 * ROUND_TRIPS - 1  # all but the answer's
            await w.clock.sleep(sum(w.one_way(self._number, other) for _ in range(ways)))
            if (self._number in w.far) != (other in w.far):
                await anyio.sleep_forever()  # no packet comes back
            answer = await self._rest.call(to, r, deadline=deadline)
            await w.clock.sleep(w.one_way(other, self._number))
            return answer
        raise Unreachable("no answer in time")

    def stream(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> AbstractAsyncContextManager[IncomingStream]:
        return self._rest.stream(to, r, deadline=deadline)


class Node:
    """A guard, its door and its exchanges; something runs, until it is stopped."""

    def __init__(self, world: World, number: int, council: Council) -> None:
        keys = SeededKeys(number)
        self.number, self.hotkey = number, keys.public(KeyRole.HOTKEY)
        self.endpoint = Endpoint("node", number + 1, hashlib.sha256(self.hotkey).digest(), b"")
        self.guard = Guard(BrakeState(CHAIN, council.roster), keys=keys, clock=world.clock, store=MemoryStore())
        routes = BrakeRoutes(self.guard, Nobody(), world.clock)
        world.net.serve(self.endpoint, Silent(routes) if number in world.silent else routes)
        way = Far(world, number)
        self.peers = BrakePeers(self.guard, way, world.clock, SeededEntropy(number), MemoryStore())
        self.stopped: int | None = None

    async def live(self, world: World) -> None:
        """Begin at a moment of its own, so that nodes' rounds are not in step; then run what is to be stopped."""
        await self.guard.at_block(Head(1, world.clock.now(), bytes(32), bytes(32)), [])
        subject = Subject(1, self.hotkey, ModelFacts(hashlib.sha256(b"model").digest(), frozenset(), bytes(32)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._exchange, world, world.rng.uniform(0, 5))
            try:
                async with self.guard.running(subject):
                    await anyio.sleep_forever()
            except ModelHalted:
                self.stopped = world.clock.now()

    async def _exchange(self, world: World, after_s: float) -> None:
        await world.clock.sleep(after_s)
        await self.peers.run()


def play(plan: Plan) -> Stopped:
    """Play one history; the same plan gives the same figures."""
    clock = VirtualClock()
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # pyright: ignore[reportPrivateUsage]
    _run._r = Random(plan.seed)  # pyright: ignore[reportPrivateUsage] - as in tests/simulated/play.py

    async def main() -> Stopped:
        return await _play(World(plan, clock), Council())

    return trio.run(main, clock=clock)


async def _play(world: World, council: Council) -> Stopped:
    plan, clock = world.plan, world.clock
    nodes = [Node(world, n, council) for n in range(plan.nodes)]
    for node in nodes:
        others = world.rng.sample(range(plan.nodes), min(plan.nodes, KNOWN + 1))
        await node.peers.know((nodes[n].endpoint, nodes[n].hotkey) for n in others if n != node.number)
    book = world.rng.sample(nodes, max(1, round(plan.known * plan.nodes)))
    begun = healed = 0
    async with anyio.create_task_group() as tasks:
        for node in nodes:
            tasks.start_soon(node.live, world)
        await clock.sleep(6)
        given, begun = council.halt(CHAIN, clock.now()), clock.now()
        healed = begun
        tasks.start_soon(_spread, world, given, book)
        if plan.island:
            await clock.sleep(plan.heals_after_s)
            world.far, healed = frozenset(), clock.now()
        with anyio.move_on_after(plan.patience_s):
            while any(node.stopped is None for node in nodes):
                await clock.sleep(0.05)
        tasks.cancel_scope.cancel()
    return Stopped(plan, dict(_took(nodes, world.island, begun, healed)), world.island)


def _took(nodes: Iterable[Node], island: frozenset[int], begun: int, healed: int) -> Iterable[tuple[int, float | None]]:
    for node in nodes:
        since = healed if node.number in island else begun
        yield node.number, None if node.stopped is None else float(node.stopped - since)


async def _spread(world: World, given: Given, book: list[Node]) -> None:
    to = [Addressee(node.endpoint, node.hotkey) for node in book]
    transport: Any = Far(world, KEYHOLDER, pinned=False)
    await spread([given.raw], to, transport, world.clock, how=Spreading())
