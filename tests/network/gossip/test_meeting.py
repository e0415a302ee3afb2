"""How processes find each other: by the nodes' own doors, and by what was learned there before."""

from __future__ import annotations

from random import Random

import anyio
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.brake_peers import BrakePeers
from davy.network.error_responses import answer
from davy.network.gossip.meeting import GossipDoor, Meeting
from davy.network.gossip.pipe import MAX_MET, Met
from davy.network.gossip.route import GossipRoute, Listening
from davy.network.memory import MemoryNetwork
from davy.protocol.encoding import encode
from davy.protocol.gossip import GossipPlace
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, Story
from tests.network.conftest import Answering
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def elsewhere(_: SignedRequest) -> Response:
    return Response(404, (), b"")


class Node:
    """A node with a front door; its process is only said to be there."""

    def __init__(self, hall: Hall, number: int) -> None:
        self.keys = SeededKeys(400 + number)
        self.hotkey = self.keys.public(KeyRole.HOTKEY)
        self.endpoint = Endpoint(f"node-{number}", 1, bytes([number]) * 32, b"")
        guard = Guard(first_state(hall.story.genesis), keys=self.keys, clock=hall.clock, store=MemoryStore())
        self.route = GossipRoute(guard, self.keys, hall.clock, ("never",), Listening("127.0.0.1", 0))
        self.route.place = GossipPlace(1, 4_000 + number, bytes([number + 1]) * 32)
        hall.net.serve(self.endpoint, GossipDoor(self.route, Answering(elsewhere)))
        transport = hall.net.transport(f"node-{number}")
        self.known = BrakePeers(guard, transport, hall.clock, SeededEntropy(number), MemoryStore())
        self.store = MemoryStore()
        self._make = lambda given: Meeting(
            self.route, self.known, transport, hall.clock, SeededEntropy(number), self.store, given
        )

    @property
    def met(self) -> Met:
        place = self.route.place
        assert place is not None
        return Met(self.endpoint.host, place.port, place.peer)

    @property
    def told(self) -> set[Met]:
        return set(self.route._met)  # pyright: ignore[reportPrivateUsage] - what the process is told

    async def meets(self, seconds: float, *given: Met) -> set[Met]:
        with anyio.move_on_after(seconds):
            await self._make(given).run()
        return self.told


class Hall:
    def __init__(self, count: int) -> None:
        self.story = Story()
        self.clock = LoopClock(START)
        self.net = MemoryNetwork(self.clock, 0.0, lambda r: r.uniform(5, 80), Random(3))
        self.nodes = [Node(self, n) for n in range(count)]

    async def know(self) -> None:
        for node in self.nodes:
            await node.known.know([(n.endpoint, n.hotkey) for n in self.nodes if n is not node])


async def test_a_node_says_where_its_process_listens() -> None:
    hall = Hall(1)
    door = GossipDoor(hall.nodes[0].route, Answering(elsewhere))
    reply = await answer(door, SignedRequest("GET", "/gossip", (), b""))
    assert isinstance(reply, Response)
    assert reply.body == encode(hall.nodes[0].route.place or GossipPlace(1, 1, bytes(32)))
    hall.nodes[0].route.place = None
    away = await answer(door, SignedRequest("GET", "/gossip", (), b""))
    assert isinstance(away, Response)
    assert away.status == 429
    for other in (SignedRequest("POST", "/gossip", (), b""), SignedRequest("GET", "/brake", (), b"")):
        passed = await answer(door, other)
        assert isinstance(passed, Response)
        assert passed.status == 404


async def test_nodes_that_the_ledger_names_are_met() -> None:
    hall = Hall(6)
    await hall.know()
    assert await hall.nodes[0].meets(5) == {n.met for n in hall.nodes[1:]}


async def test_a_node_without_the_route_and_one_that_says_junk_are_passed_over() -> None:
    hall = Hall(4)

    async def junk(_: SignedRequest) -> Response:
        return Response(200, (), b"\x93\x01\x00" + bytes(80))

    hall.net.serve(hall.nodes[1].endpoint, Answering(elsewhere))
    hall.net.serve(hall.nodes[2].endpoint, Answering(junk))
    await hall.know()
    assert await hall.nodes[0].meets(5) == {hall.nodes[3].met}


async def test_who_was_met_is_dialled_at_the_next_start_though_every_door_is_shut() -> None:
    hall = Hall(3)
    await hall.know()
    found = await hall.nodes[0].meets(5)
    assert len(found) == 2
    for n in hall.nodes[1:]:
        hall.net.cut("node-0", n.endpoint.host)
    hall.nodes[0].route.meet(())
    assert await hall.nodes[0].meets(5) == found


async def test_peers_by_hand_are_always_among_them() -> None:
    hall = Hall(2)
    given = Met("203.0.113.7", 4_100, bytes(31) + b"\x09")
    assert await hall.nodes[0].meets(5, given) == {given}
    await hall.know()
    assert await hall.nodes[0].meets(5, given) == {given, hall.nodes[1].met}
    many = [Met("203.0.113.7", 4_100, n.to_bytes(32, "big")) for n in range(1, MAX_MET)]
    assert hall.nodes[1].met in await hall.nodes[0].meets(5, *many)


async def test_a_damaged_list_is_begun_anew() -> None:
    hall = Hall(2)
    hall.nodes[0].store.values[b"gossip/met"] = b"junk"
    await hall.know()
    assert await hall.nodes[0].meets(5) == {hall.nodes[1].met}
