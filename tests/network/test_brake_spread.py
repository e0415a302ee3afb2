"""Fan-out and pull between guards in memory, in virtual time: under loss, delay and partitions."""

from __future__ import annotations

import contextlib
from random import Random

import anyio
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network import brake_routes, fan_out
from davy.network.brake_peers import BrakePeers, settle
from davy.network.brake_routes import BrakeRoutes
from davy.network.fan_out import Addressee, Spreading, Told, order_bodies, spread
from davy.network.memory import MemoryNetwork
from davy.protocol.brake_messages import OrderPage, OrderSet
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Malformed, ModelHalted, Unreachable
from davy.protocol.limits import MAX_REQUEST_BYTES
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.killswitch.guarded import block
from tests.killswitch.story import START, Story, models, subject
from tests.network.conftest import Answering
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
OTHER = b"\xee" * 32


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Node:
    def __init__(self, hall: Hall, number: int) -> None:
        self.name = f"node-{number}"
        self.keys = SeededKeys(100 + number)
        self.hotkey = self.keys.public(KeyRole.HOTKEY)
        self.endpoint = Endpoint(self.name, 1, bytes([number]) * 32, b"")
        self.guard = Guard(first_state(hall.story.genesis), keys=self.keys, clock=hall.clock, store=MemoryStore())
        hall.net.serve(self.endpoint, BrakeRoutes(self.guard, Answering(nothing), hall.clock))
        self.transport = hall.net.transport(self.name)
        self.peers = BrakePeers(self.guard, self.transport, hall.clock, SeededEntropy(number), MemoryStore())

    def is_halted(self, word: str = "model") -> bool:
        try:
            self.guard.permit(subject(word))
        except ModelHalted:
            return True
        return False


class Hall:
    """Open guards that can reach each other."""

    def __init__(self, count: int, loss: float = 0.0, opened: int | None = None) -> None:
        self.story = Story()
        self.clock = LoopClock(START)
        self.net = MemoryNetwork(self.clock, loss, lambda r: r.uniform(5, 80), Random(3))
        self.nodes = [Node(self, n) for n in range(count)]
        for node in self.nodes[:opened]:
            for source in range(3):
                node.guard.pulled(bytes([source]) * 32)

    async def spread(self, *orders: bytes, **how: int) -> list[Told]:
        to = [Addressee(Endpoint(n.name, 1, OTHER, b""), n.hotkey) for n in self.nodes]  # nobody's certificate
        transport = self.net.transport("keyholder", pinned=False)
        return await spread(orders, to, transport, self.clock, how=Spreading(**how))

    async def know_each_other(self) -> None:
        for node in self.nodes:
            await node.peers.know([(n.endpoint, n.hotkey) for n in self.nodes if n is not node])


def deaf(hall: Hall, node: Node) -> None:
    """Make a node one that obeys and tells nobody."""
    routes = BrakeRoutes(node.guard, Answering(nothing), hall.clock)

    async def handle(request: SignedRequest) -> Response:
        if request.method == "GET":
            await anyio.sleep_forever()
        reply = await routes.handle(request)
        assert isinstance(reply, Response)
        return reply

    class Mute:
        async def call(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> Response:
            if r.method == "POST":
                raise Unreachable("not brought")
            return await hall.net.transport(node.name).call(to, r, deadline=deadline)

    hall.net.serve(node.endpoint, Answering(handle))
    node.peers = BrakePeers(node.guard, Mute(), hall.clock, SeededEntropy(1), MemoryStore())  # type: ignore[arg-type]


async def nothing(_: SignedRequest) -> Response:
    return Response(404, (), b"")


class TestFanOut:
    async def test_every_node_attests_though_messages_are_lost(self) -> None:
        hall = Hall(20, loss=0.2)
        halt = hall.story.halt(0, 3)
        told = await hall.spread(hall.story.given[halt], attempt_ms=1_000, patience_ms=30_000)
        assert all(t.is_reached for t in told), [t.fault for t in told]
        assert [t.attested[0].attestation.node for t in told] == [n.hotkey for n in hall.nodes]
        assert {t.attested[0].attestation.order for t in told} == {halt}
        assert {t.head for t in told} == {hall.nodes[0].guard.head}
        assert all(n.is_halted() for n in hall.nodes)

    async def test_who_does_not_answer_counts_as_unreached(self) -> None:
        hall = Hall(4)
        hall.net.cut("keyholder", "node-1")
        hall.net.serve(hall.nodes[2].endpoint, Answering(nothing))
        told = await hall.spread(hall.story.given[hall.story.halt(0, 3)], patience_ms=3_000)
        assert [t.is_reached for t in told] == [True, False, False, True]
        assert "nobody answers" in told[1].fault

    async def test_a_pinned_transport_would_not_reach_them(self) -> None:
        hall = Hall(1)
        lost = Addressee(Endpoint("node-0", 1, OTHER, b""))
        raw = hall.story.given[hall.story.halt(0, 3)]
        how = Spreading(1_000, 500)
        assert not (await spread([raw], [lost], hall.net.transport("keyholder"), hall.clock, how=how))[0].is_reached

    async def test_another_node_at_an_address_does_not_count(self) -> None:
        hall = Hall(2)
        wrong = Addressee(hall.nodes[0].endpoint, hall.nodes[1].hotkey)
        raw = hall.story.given[hall.story.halt(0, 3)]
        (told,) = await spread([raw], [wrong], hall.net.transport("k"), hall.clock, how=Spreading(2_000))
        assert (told.is_reached, told.attested) == (False, ())
        assert "another node" in told.fault

    async def test_an_order_that_nodes_refuse_is_not_sent_for_ever(self) -> None:
        hall = Hall(1)
        thief = Keyholders(name="thief")
        raw = hall.story.given[hall.story.halt(0, 3, by=thief, quietly=True)]
        began = hall.clock.now()
        (told,) = await hall.spread(raw, patience_ms=60_000)
        assert "roster" in told.fault
        assert hall.clock.now() - began < 1_000

    async def test_what_is_no_order_is_not_sent(self) -> None:
        with pytest.raises(Malformed):
            await Hall(1).spread(b"junk")

    def test_bodies_fit_and_hold_everything(self) -> None:
        orders = [bytes([n]) * 20_000 for n in range(10)] + [b"x"] * 3
        bodies = order_bodies(orders)
        assert all(len(body) <= MAX_REQUEST_BYTES for body in bodies)
        assert [raw for b in bodies for raw in decode(b, OrderSet, limit=MAX_REQUEST_BYTES).orders] == orders
        assert order_bodies([]) == []


class TestPull:
    async def test_settling_gives_both_the_union(self) -> None:
        hall = Hall(2)
        a, b = hall.nodes
        mine, theirs = hall.story.halt(0, 3), hall.story.halt(0, 3, models("other"))
        await a.guard.receive_all([hall.story.given[mine]])
        await b.guard.receive_all([hall.story.given[theirs]])
        assert (await settle(a.guard, b.endpoint, a.transport, hall.clock)).head == a.guard.head == b.guard.head
        assert a.is_halted()
        assert a.is_halted("other")
        assert b.is_halted()

    async def test_over_many_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(brake_routes, "_PAGE_BYTES", 700)
        hall = Hall(2)
        a, b = hall.nodes
        for n in range(20):
            hall.story.halt(0, 1 + n / 100, models(f"m{n}"))
        await b.guard.receive_all(hall.story.given.values())
        await settle(a.guard, b.endpoint, a.transport, hall.clock)
        assert a.guard.head == b.guard.head
        assert len(a.guard.state.orders) == 20

    async def test_over_more_pages_than_a_brake_of_small_orders_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(brake_routes, "_PAGE_BYTES", 300)
        hall = Hall(2)
        a, b = hall.nodes
        for n in range(80):
            hall.story.halt(0, 1 + n / 100, models(f"m{n}"))
        await b.guard.receive_all(hall.story.given.values())
        await settle(a.guard, b.endpoint, a.transport, hall.clock)
        assert len(a.guard.state.orders) == 80

    async def test_who_tells_the_same_page_for_ever_is_left(self) -> None:
        hall = Hall(2)
        a, b = hall.nodes
        page = OrderPage(2, OTHER, (hall.story.given[hall.story.halt(0, 3)],), (OTHER,), True, 0)

        async def again(_: SignedRequest) -> Response:
            return Response(200, (), encode(page))

        hall.net.serve(b.endpoint, Answering(again))
        with pytest.raises(Malformed):
            await settle(a.guard, b.endpoint, a.transport, hall.clock)
        assert a.is_halted()

    @pytest.mark.parametrize("kind", ["of unknown keyholders", "lapsed"])
    async def test_an_order_that_is_not_taken_hides_none_behind_it(
        self, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """Of a roster that no bound leaves room for here, or a LEASE that others have not forgotten yet."""
        monkeypatch.setattr(brake_routes, "_PAGE_BYTES", 700)
        hall = Hall(2)
        a, b = hall.nodes
        stranger = Keyholders(name="stranger")
        odd = [hall.story.lease(0, 1 + n, quietly=True) for n in range(5)]
        if kind != "lapsed":
            odd = [hall.story.halt(0, 1, by=stranger, quietly=True) for _ in range(5)]
        pages = [hall.story.given[i] for i in (*odd, hall.story.halt(9, 12, quietly=True))]
        await a.guard.at_block(block(2, 9), [])

        async def tell(r: SignedRequest) -> Response:
            at = int(r.path.partition("after=")[2] or "0", 16)
            after = (bytes(31) + bytes([at + 1]),) if at + 1 < len(pages) else ()
            return Response(200, (), encode(OrderPage(2, OTHER, (pages[at],), after, True, 0)))

        hall.net.serve(b.endpoint, Answering(tell))
        with contextlib.suppress(DavyError):  # it takes none that it is brought
            assert (await settle(a.guard, b.endpoint, a.transport, hall.clock)).pulled == (kind == "lapsed")
        assert a.is_halted()

    async def test_who_remembers_what_has_lapsed_brings_the_rest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fan_out, "MAX_ORDER_SET", 4)
        hall = Hall(2)
        a, b = hall.nodes
        over = [hall.story.lease(0, 1, quietly=True) for _ in range(5)]
        halt = hall.story.halt(0, 6, quietly=True)
        await a.guard.receive_all([hall.story.given[i] for i in (*over, halt)])
        await b.guard.at_block(block(2, 5), [])
        told = await settle(a.guard, b.endpoint, a.transport, hall.clock)
        assert told.pulled
        assert b.guard.state.orders.keys() == {halt}

    async def test_a_node_that_tells_junk_teaches_nothing(self) -> None:
        hall = Hall(2)
        a, b = hall.nodes

        async def junk(_: SignedRequest) -> Response:
            return Response(200, (), encode(OrderPage(2, OTHER, (b"junk",), (OTHER,), True, 0)))

        hall.net.serve(b.endpoint, Answering(junk))
        with pytest.raises(Malformed):
            await settle(a.guard, b.endpoint, a.transport, hall.clock)
        hall.net.stop(b.endpoint)
        with pytest.raises(Unreachable):
            await settle(a.guard, b.endpoint, a.transport, hall.clock)

    async def test_nodes_that_were_restored_together_do_not_open_each_other(self) -> None:
        """Each holds what an old backup held; one that has pulled opens those that ask it, if they ask enough."""
        hall = Hall(5, opened=1)
        await hall.know_each_other()
        async with anyio.create_task_group() as tasks:
            for node in hall.nodes:
                tasks.start_soon(node.peers.run)
            await anyio.sleep(60)
            tasks.cancel_scope.cancel()
        assert [n.guard.is_open for n in hall.nodes] == [True, False, False, False, False]

    async def test_a_different_head_in_a_receipt_is_settled(self) -> None:
        hall = Hall(2)
        a, b = hall.nodes
        await b.guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(a.peers.run)
            a.peers.note(b.guard.head, b.endpoint, b.hotkey)
            await a.guard.change()
            tasks.cancel_scope.cancel()
        assert a.is_halted()

    async def test_one_node_that_knows_tells_all(self) -> None:
        """Nobody exchanges anything else: a halted network is silent."""
        hall = Hall(30, loss=0.1)
        await hall.know_each_other()
        async with anyio.create_task_group() as tasks:
            for node in hall.nodes:
                tasks.start_soon(node.peers.run)
            await hall.nodes[0].guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
            with anyio.fail_after(60):
                for node in hall.nodes:
                    while not node.is_halted():
                        await node.guard.change()
            tasks.cancel_scope.cancel()

    async def test_a_third_that_pass_nothing_on_delay_nobody_until_the_next_round(self) -> None:
        """They take what they are told, answer no exchange, and bring nobody an order."""
        hall = Hall(60)
        for node in hall.nodes[1::3]:
            deaf(hall, node)
        await hall.know_each_other()
        async with anyio.create_task_group() as tasks:
            for node in hall.nodes:
                tasks.start_soon(node.peers.run)
            await anyio.sleep(1)  # their rounds are now due together, in four seconds
            await hall.nodes[0].guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
            await anyio.sleep(3)
            tasks.cancel_scope.cancel()
        assert [n.name for n in hall.nodes if not n.is_halted()] == []

    async def test_who_always_shows_another_head_is_not_all_that_a_node_asks(self) -> None:
        hall = Hall(24)
        await hall.know_each_other()
        asked: list[str] = []
        for node in hall.nodes[1:]:
            liar = node in hall.nodes[1:5]

            async def tell(_: SignedRequest, name: str = node.name, liar: bool = liar) -> Response:
                asked.append(name)
                head = OTHER if liar else hall.nodes[0].guard.head
                return Response(200, (), encode(OrderPage(2, head, (), (), True, 0)))

            hall.net.serve(node.endpoint, Answering(tell))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hall.nodes[0].peers.run)
            await hall.nodes[0].guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
            await anyio.sleep(300)
            tasks.cancel_scope.cancel()
        liars = {n.name for n in hall.nodes[1:5]}
        assert len(asked) > 200
        assert sum(name in liars for name in asked) < len(asked) / 2
        assert set(asked) == {n.name for n in hall.nodes[1:]}

    async def test_a_start_without_the_ledger_needs_several_nodes(self) -> None:
        hall = Hall(4)
        await hall.know_each_other()
        for knows in hall.nodes[1:3]:
            await knows.guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
        new = Node(hall, 9)
        await new.peers.know([(n.endpoint, n.hotkey) for n in hall.nodes])
        assert not new.guard.is_open
        for silent in hall.nodes[1:]:
            hall.net.cut("node-9", silent.name)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(new.peers.run)
            await anyio.sleep(30)
            assert not new.guard.is_open  # one node is not three
            hall.net.heal()
            while not new.guard.is_open:
                await new.guard.change()
            tasks.cancel_scope.cancel()
        assert new.is_halted()  # of any three of the four, one knew

    async def test_whom_a_node_knew_it_knows_after_a_restart(self) -> None:
        hall = Hall(3)
        store = MemoryStore()
        first = BrakePeers(hall.nodes[0].guard, hall.nodes[0].transport, hall.clock, SeededEntropy(), store)
        await first.know([(n.endpoint, n.hotkey) for n in hall.nodes[1:]])
        await hall.nodes[1].guard.receive_all([hall.story.given[hall.story.halt(0, 3)]])
        again = BrakePeers(hall.nodes[0].guard, hall.nodes[0].transport, hall.clock, SeededEntropy(), store.copy())
        await again.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(again.run)
            again.heard(hall.nodes[1].guard.head)
            await hall.nodes[0].guard.change()
            tasks.cancel_scope.cancel()
        assert hall.nodes[0].is_halted()
