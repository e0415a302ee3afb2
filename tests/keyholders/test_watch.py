"""An order reaches the nodes of an address book; what nodes and the ledger say of the brake is verified here."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import anyio
import pytest

from davy.keyholders.drills import drill_released, read_release, release_line, write_release
from davy.keyholders.release import Delivery, ToNodes
from davy.keyholders.watch import (
    DrillSeen,
    Seen,
    ask_node,
    drill_seen,
    drills_of,
    in_force,
    leases_seen,
    ledger_seen,
    together,
)
from davy.killswitch.brake import first_state, head
from davy.killswitch.clocks import Clocks
from davy.killswitch.guard import Guard
from davy.network.brake_routes import BrakeRoutes
from davy.network.memory import MemoryNetwork, no_delay
from davy.protocol.brake_messages import OrderPage
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.recorded import AttestationRecord, Attested, BrakeRecord, OrderRecord, RecordedBrake
from davy.protocol.transaction import Endpoint
from tests.killswitch.story import START, Story, ms, name, order_of, subject, systemic
from tests.twins import LoopClock, MemoryStore, SeededKeys

pytestmark = pytest.mark.anyio


class Answering:
    """A handler that answers always the same."""

    def __init__(self, reply: Response) -> None:
        self._reply = reply

    async def handle(self, request: SignedRequest) -> Response:
        return self._reply


class Hall:
    """Nodes with guards, and an address book of them; certificates are nobody's."""

    def __init__(self, count: int = 3) -> None:
        self.story, self.clock = Story(), LoopClock(START)
        self.net = MemoryNetwork(self.clock, 0.0, no_delay, Random(0))
        self.guards: list[Guard] = []
        self.book = tuple(Endpoint(f"node{n}", 1, bytes(32), b"") for n in range(count))
        for n, to in enumerate(self.book):
            guard = Guard(first_state(self.story.genesis), keys=SeededKeys(n), clock=self.clock, store=MemoryStore())
            self.guards.append(guard)
            self.net.serve(to, BrakeRoutes(guard, Answering(Response(404, (), b"")), self.clock))

    async def release(self, raw: bytes) -> Sequence[Delivery]:
        return await ToNodes(self.book, self.net.transport("keyholder"), self.clock).release(order_of(raw))

    async def ask(self, n: int = 0) -> Seen:
        return await ask_node(self.story.genesis, self.book[n], self.net.transport("keyholder"), self.clock)

    def answers(self, n: int, reply: Response) -> None:
        self.net.serve(self.book[n], Answering(reply))


async def test_an_order_reaches_every_node_of_the_book_and_the_rest_is_said() -> None:
    hall = Hall()
    hall.net.stop(hall.book[1])
    halt = hall.story.halt(0, 1)
    delivered = await hall.release(hall.story.given[halt])
    assert [(d.to, d.reached) for d in delivered] == [("node0:1", True), ("node1:1", False), ("node2:1", True)]
    assert "nobody answers" in delivered[1].told
    assert [halt in g.state.orders for g in hall.guards] == [True, False, True]


async def test_who_lacks_an_order_is_behind() -> None:
    hall = Hall()
    first, second = hall.story.halt(0, 1), hall.story.halt(0, 2)
    await hall.release(hall.story.given[first])
    await hall.guards[0].receive_all([hall.story.given[second]], go_on=lambda: True)
    told = [await hall.ask(n) for n in range(3)]
    assert not any(t.fault for t in told)
    state = together(hall.story.genesis, told)
    assert set(state.orders) == {first, second}
    assert [t.head == head(state) for t in told] == [True, False, False]


async def test_pages_are_read_to_the_end() -> None:
    hall = Hall(1)
    given = [hall.story.given[hall.story.halt(n / 1000, 1)] for n in range(150)]
    await hall.guards[0].receive_all(given, go_on=lambda: True)
    told = await hall.ask()
    assert (len(told.orders), told.fault) == (150, "")


async def test_a_node_that_lies_of_its_orders_is_told_apart() -> None:
    hall = Hall(1)
    raw = hall.story.given[hall.story.halt(0, 1)]
    true_head = head(hall.story.state)
    forged = raw[:-1] + bytes([raw[-1] ^ 1])
    lies = {
        OrderPage(2, true_head, (), (), True, 0): "does not show all",
        OrderPage(2, bytes(32), (raw,), (), True, 0): "does not show all",
        OrderPage(2, true_head, (forged,), (), True, 0): "are none",
        OrderPage(2, true_head, (b"junk",), (), True, 0): "are none",
        OrderPage(2, true_head, (raw,), (b"\1" * 32,), True, 0): "again and again",
    }
    for page, words in lies.items():
        hall.answers(0, Response(200, (), encode(page)))
        told = await hall.ask()
        assert words in told.fault
        assert not [v for v in told.orders if v.raw == forged]
    for reply in (Response(200, (), b"\xc1"), Response(404, (), b"no"), Response(500, (), b"")):
        hall.answers(0, reply)
        assert (await hall.ask()).fault
    hall.answers(0, Response(200, (), encode(OrderPage(2, true_head, (raw,), (), True, 0))))
    assert (await hall.ask()).fault == ""


async def test_a_node_that_tells_one_order_at_a_time_keeps_nobody_waiting() -> None:
    hall = Hall(1)
    left = [hall.story.given[hall.story.halt(n / 1000, 1)] for n in range(20)]

    class Dripping:
        async def handle(self, request: SignedRequest) -> Response:
            await anyio.sleep(4)
            return Response(200, (), encode(OrderPage(2, bytes(32), (left.pop(),), (b"\1" * 32,), True, 0)))

    hall.net.serve(hall.book[0], Dripping())
    began = anyio.current_time()
    assert (await hall.ask()).fault
    assert anyio.current_time() - began < 20


def recorded(story: Story, orders: Sequence[bytes], drills: Sequence[bytes] = ()) -> RecordedBrake:
    rows = [OrderRecord(raw, 5, START, n) for n, raw in enumerate([*orders, *drills])]
    brake = BrakeRecord(head(story.state), bytes(32), len(orders), len(rows))
    return RecordedBrake(5, brake, tuple(rows[: len(orders)]), tuple(rows[len(orders) :]))


def test_the_ledgers_orders_and_drills() -> None:
    story = Story()
    orders = [story.given[story.halt(0, 1)]]
    drills = [story.given[story.drill(n, n + 1, recorded=False)] for n in range(3)]
    told = recorded(story, orders, drills)
    assert ledger_seen(story.genesis, "ledger", told).fault == ""
    assert [v.raw for v in drills_of(story.genesis, told)] == drills
    answers = [Attested(bytes([n]) * 32, AttestationRecord(6 + n, ms(2), ms(1), bytes(32), 0, 0)) for n in (1, 3, 2)]
    last = drills_of(story.genesis, told)[-1]
    assert drill_seen(last, told, answers) == DrillSeen(last.id, START, 3, 4), "blocks, whatever the nodes' clocks say"
    assert drill_seen(last, told, []) == DrillSeen(last.id, START, 0, None)


async def test_a_drill_is_timed_from_its_signature_however_far_ahead_it_is_dated_and_who_is_away_is_counted() -> None:
    hall = Hall()
    hall.net.stop(hall.book[1])
    raw = hall.story.given[hall.story.drill(0.003, 1, recorded=False)]
    signed_at = hall.clock.now() - 70
    assert order_of(raw).order.issued > signed_at + 200_000, "it is dated ahead"
    released = drill_released(order_of(raw), signed_at, await hall.release(raw))
    assert (released.took, released.unreached) == ((70, 70), ("node1:1",))
    assert (released.addressed, released.percentile(50), released.percentile(99)) == (3, 70, 70)
    assert read_release(write_release(released), hall.story.chain) == released
    assert read_release(write_release(released), bytes(32)) is None, "it is another chain's"
    with pytest.raises(Malformed):
        read_release(b"{}", hall.story.chain)


def test_the_percentiles_of_a_drill_and_a_clock_that_was_set_back() -> None:
    story = Story()
    order = order_of(story.given[story.drill(0, 1, recorded=False)])
    nodes = [Delivery("node", f"n{n}", True, "", START + n) for n in range(200, 0, -1)]
    many = drill_released(order, START, [Delivery("ledger", "", True, ""), *nodes])
    assert (many.addressed, [many.percentile(q) for q in (50, 99, 100)]) == (200, [100, 198, 200])
    assert drill_released(order, START + 50, nodes[-1:]).took == (0,)
    none = drill_released(order, START, [Delivery("node", "n", False, "away")])
    assert (none.addressed, none.percentile(50)) == (1, None)
    assert release_line(none) == "of the nodes in the book answered 0 of 1, unreached 1 (n)"
    strangers = [Delivery("named", f"s{n}", True, "", START + 9_000) for n in range(5)]
    assert drill_released(order, START, [*nodes, *strangers]) == many, "whoever is on a ledger slows down no drill"
    alone = drill_released(order, START, strangers)
    assert (alone.addressed, alone.of) == (5, "ledger")
    assert read_release(write_release(alone), story.chain) == alone
    assert "no node was addressed" in release_line(drill_released(order, START, [Delivery("ledger", "", True, "")]))


def test_leases_are_seen_by_who_is_systemic_and_the_first_to_stop_comes_first() -> None:
    story = Story()
    story.lease(0, 10, "model")
    story.lease(0, 30, "other")
    asked = [systemic("other"), systemic("model"), systemic("third"), subject("fourth")]
    at = Clocks(ms(9.5), ms(9.5))
    found = leases_seen(story.state, asked, at)
    assert [row.model for row in found] == [name("third"), name("model"), name("other")]
    assert [(row.days, row.lapsed) for row in found] == [(None, True), (1, False), (None, False)]
    assert (found[1].ends, found[1].stops) == (ms(10), ms(13))
    (late,) = leases_seen(story.state, [systemic("model")], Clocks(ms(13), ms(13)))
    assert (late.days, late.lapsed) == (0, True)
    (graced,) = leases_seen(story.state, [systemic("model")], Clocks(ms(11), ms(11)))
    assert (graced.days, graced.lapsed) == (0, False)


async def test_a_node_says_what_it_saw_last_and_who_saw_nothing_fresh_is_stale() -> None:
    hall = Hall(2)
    for n, day in ((0, 0.0), (1, -0.01)):
        await hall.guards[n].at_block(Head(1, ms(day), bytes(32), bytes(32)), [])
    told = [await hall.ask(n) for n in range(2)]
    assert [t.newest for t in told] == [ms(0), ms(-0.01)]
    assert [t.stale(hall.clock.now()) for t in told] == [False, True]
    assert not ledger_seen(hall.story.genesis, "ledger", recorded(hall.story, [])).stale(ms(5)), "it is no node"
    never = Hall(1)
    assert (await never.ask()).stale(never.clock.now())


def test_what_is_in_force() -> None:
    story = Story()
    halt = story.halt(0, 2)
    other = story.halt(0, 5)
    assert [h.order.id for h in in_force(story.state, ms(1))] == sorted([halt, other])
    assert [h.order.id for h in in_force(story.state, ms(3))] == [other]
    story.extend(1, halt, 2, 6)
    assert len(in_force(story.state, ms(3))) == 2
    assert in_force(story.state, ms(9)) == []
    assert len(in_force(story.state, ms(9), [systemic("other"), systemic("model")])) == 2, "they go on until the LIFT"
    assert in_force(story.state, ms(9), [systemic("other")]) == []
    story.lift(9, halt, other)
    assert in_force(story.state, ms(9), [systemic("model")]) == []
