"""An order reaches nodes that no book names: those that the ledger names now, and those that it named before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from davy.host.journal import FileJournal
from davy.keyholders.drills import drill_released, release_line
from davy.keyholders.listening import (
    MAX_LISTENING,
    Address,
    Listening,
    Named,
    Remembered,
    Source,
    ToListening,
    Way,
    keep_remembering,
    merged,
    read_remembered,
    where_named,
)
from davy.keyholders.release import Delivery, Release, ToLedger, ToNodes, release_by_all, told_lines
from davy.network.brake_routes import BrakeRoutes
from davy.network.fan_out import order_bodies
from davy.network.room import Rank, Room
from davy.network.strangers import Strangers, Within
from davy.protocol.errors import Busy, Malformed, StoreFailed, Unreachable
from davy.protocol.limits import DAY_MS
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.keyholders.test_watch import Answering, Hall
from tests.killswitch.story import START, order_of
from tests.twins import SeededEntropy, SeededKeys

pytestmark = pytest.mark.anyio
LOCAL = "127.0.0.1"
NOTHING, PRIVATE = Within.NOTHING, Within.PRIVATE


def key_of(a: Address) -> bytes:
    """Whom a ledger names at an address: a hall's node where it is one of them."""
    n = a[0].removeprefix("node")
    if n != a[0] and n.isdigit():
        return SeededKeys(int(n)).public(KeyRole.HOTKEY)
    return sha256(repr(a).encode()).digest()


def named_at(*addresses: Address) -> list[Named]:
    return [Named(key_of(a), *a) for a in addresses]


class Silent:
    """A node that takes a connection, and never answers."""

    async def handle(self, request: SignedRequest) -> Response:
        await anyio.sleep_forever()
        raise AssertionError


class Ledger:
    """Names nodes, and takes no order: its mempool is full."""

    def __init__(self, chain: bytes, *subnets: Sequence[Address]) -> None:
        self.chain, self.named, self.is_up, self.asked = chain, list(subnets), True, 0
        self.slow: dict[int, float] = {}
        self.keys: dict[Address, bytes] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Any]:
        if not self.is_up:
            raise Unreachable("the ledger does not answer")
        yield self

    async def head(self) -> Any:
        return SimpleNamespace(height=1)

    async def submit(self, raw: bytes) -> bytes:
        raise Busy("the mempool is full")

    async def outcome(self, h: bytes, *, until: int) -> Any:
        raise AssertionError("nothing was taken")

    async def subnets(self) -> Any:
        self.asked += 1
        return [SimpleNamespace(netuid=n) for n in range(len(self.named))]

    async def metagraph(self, netuid: int) -> Any:
        await anyio.sleep(self.slow.get(netuid, 0))
        if not self.named[netuid]:
            raise Unreachable("this subnet is not shown")
        rows = [
            SimpleNamespace(hotkey=self.keys.get(a, key_of(a)), endpoint=(Endpoint(*a, bytes(32), b""),))
            for a in self.named[netuid]
        ]
        return SimpleNamespace(neurons=[SimpleNamespace(hotkey=bytes(32), endpoint=()), *rows])


class Names(Strangers):
    """Finds every name at once; those that begin with "slow" in a while."""

    async def find(self, host: str, rank: Rank = (0, 0)) -> None:
        if host.startswith("slow"):
            await anyio.sleep(10)


class Memory:
    """As `davy.host.journal` keeps it."""

    def __init__(self) -> None:
        self.raw: bytes | None = None
        self.full = False

    async def nodes(self) -> bytes | None:
        return self.raw

    async def keep_nodes(self, told: bytes) -> None:
        if self.full:
            raise StoreFailed("the disk is full; free some space")
        self.raw = told


class Reach:
    """A keyholder with the first node of a hall in its book, before a ledger that names all of them."""

    def __init__(self, count: int = 3) -> None:
        self.hall, self.memory = Hall(count), Memory()
        self.ledger = Ledger(self.hall.story.chain, [(to.host, to.port) for to in self.hall.book])
        self.source = Source(LOCAL, self.ledger.open)
        self.transport = self.hall.net.transport("keyholder", pinned=False)
        self.order = order_of(self.hall.story.given[self.hall.story.halt(0, 1)])

    def routes(self, book: int = 1) -> list[Release]:
        nodes = ToNodes(self.hall.book[:book], self.transport, self.hall.clock)
        way = Way(self.transport, Names(), self.hall.clock, SeededEntropy(1))
        return [ToLedger(self.ledger.open), nodes, ToListening(self.source, self.memory, way, nodes)]

    async def release(self, book: int = 1) -> list[Delivery]:
        return await release_by_all(self.routes(book), self.order)

    def obeyed(self) -> list[bool]:
        return [self.order.id in g.state.orders for g in self.hall.guards]


def reached(deliveries: Sequence[Delivery]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for d in deliveries:
        found.setdefault(d.route, []).extend([d.to] if d.reached else [])
    return {route: sorted(each) for route, each in found.items()}


async def test_nodes_of_no_book_hear_of_it_while_the_ledger_takes_no_order() -> None:
    reach = Reach()
    told = await reach.release()
    assert reached(told) == {"ledger": [], "node": ["node0:1"], "named": ["node1:1", "node2:1"]}
    assert reach.obeyed() == [True] * 3


async def test_they_hear_of_it_when_the_ledger_is_gone_after_it_was_seen_once() -> None:
    reach = Reach()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            keep_remembering, reach.source, reach.memory, reach.hall.story.chain, reach.hall.clock, SeededEntropy(2)
        )
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    reach.ledger.is_up = False
    assert reached(await reach.release()) == {"ledger": [], "node": ["node0:1"], "named": ["node1:1", "node2:1"]}
    assert reach.obeyed() == [True] * 3


async def test_what_one_order_learnt_the_next_one_knows() -> None:
    reach = Reach()
    await reach.release(book=0)
    reach.ledger.is_up = False
    assert reached(await reach.release(book=0))["named"] == ["node0:1", "node1:1", "node2:1"]


async def test_nodes_are_remembered_again_and_again_while_serve_runs() -> None:
    reach = Reach()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            keep_remembering, reach.source, reach.memory, reach.hall.story.chain, reach.hall.clock, SeededEntropy(2)
        )
        await anyio.sleep(1)
        reach.ledger.is_up = False
        await anyio.sleep(3_600)
        reach.ledger.is_up = True
        reach.ledger.named[0] = [("late", 7)]
        await anyio.sleep(3_600)
        tasks.cancel_scope.cancel()
    kept = read_remembered(reach.memory.raw or b"", reach.hall.story.chain)
    assert kept is not None
    assert {n.host for n in kept.nodes} == {"node0", "node1", "node2", "late"}
    assert 5 <= reach.ledger.asked <= 10


async def test_a_ledger_that_never_answers_holds_up_neither_the_book_nor_what_is_remembered() -> None:
    reach = Reach()
    reach.memory.raw = read(reach, [("node1", 1)])
    reach.ledger.slow[0] = 10_000.0
    began = reach.hall.clock.now()
    at = {d.to: d.at - began for d in await reach.release() if d.reached}
    assert at == {"node0:1": 0, "node1:1": 0}
    assert reach.obeyed() == [True, True, False]


def read(reach: Reach, addresses: Sequence[Address], *, within: Within = PRIVATE) -> bytes:
    """A memory of these."""
    return msgspec.json.encode(merged(None, reach.hall.story.chain, named_at(*addresses), within, START))


async def test_whatever_goes_wrong_with_the_ledger_ends_neither_this_route_nor_serve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reach = Reach()
    reach.memory.raw = read(reach, [("node1", 1)])

    async def fails(*_: Any) -> Any:
        raise LookupError("nobody foresaw this")

    monkeypatch.setattr(reach.ledger, "subnets", fails)
    assert reached(await reach.release())["named"] == ["node1:1"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            keep_remembering, reach.source, reach.memory, reach.hall.story.chain, reach.hall.clock, SeededEntropy(2)
        )
        await anyio.sleep(1)
        monkeypatch.undo()
        await anyio.sleep(3_600)
        tasks.cancel_scope.cancel()
    kept = read_remembered(reach.memory.raw, reach.hall.story.chain)
    assert kept is not None
    assert len(kept.nodes) == 3
    assert "nobody foresaw this" in caplog.text


async def test_a_book_whose_nodes_are_all_dead_delays_nobody_else() -> None:
    reach = Reach()
    reach.hall.net.stop(reach.hall.book[0])
    began = reach.hall.clock.now()
    at = {d.to: d.at - began for d in await reach.release() if d.reached}
    assert set(at) == {"node1:1", "node2:1"}
    assert max(at.values()) <= 500


async def test_4096_nodes_that_never_answer_keep_nobody_from_one_that_does_and_take_half_a_minute() -> None:
    reach = Reach()
    reach.ledger.named[0] = [(f"silent{n}", 1) for n in range(MAX_LISTENING)]
    for a in reach.ledger.named[0]:
        reach.hall.net.serve(Endpoint(*a, bytes(32), b""), Silent())
    reach.memory.raw = read(reach, [("node1", 1), ("node2", 1)])
    began = anyio.current_time()
    nodes = reach.routes()[1:]
    told = await release_by_all(nodes, reach.order)
    assert anyio.current_time() - began <= 31
    assert reach.obeyed() == [True] * 3
    assert len(told) == 1 + 2 + MAX_LISTENING
    assert reached(told)["named"] == ["node1:1", "node2:1"]
    lines = told_lines(told)
    assert lines[0].startswith("node node0:1: attested")
    assert lines[1].startswith(f"named: reached 2 of {MAX_LISTENING + 2}; not silent")
    assert len(lines) == 2
    assert max(map(len, lines)) < 200


async def test_several_orders_at_once_open_no_more_connections_than_there_is_room_for_and_the_last_goes_first() -> None:
    reach, room, told = Reach(), Room(20), list[bytes]()
    inside = most = 0

    class Counting(Silent):
        async def handle(self, request: SignedRequest) -> Response:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            told.append(request.body)
            try:
                return await super().handle(request)
            finally:
                inside -= 1

    named = [(f"1.1.1.{n}", 1) for n in range(1, 100)]
    reach.memory.raw = read(reach, named)
    for a in named:
        reach.hall.net.serve(Endpoint(*a, bytes(32), b""), Counting())
    story = reach.hall.story
    orders = [order_of(story.given[story.halt(n / 1_000, 1)]) for n in range(5)]
    way = Way(reach.transport, Names(), reach.hall.clock, SeededEntropy(1), room)
    async with anyio.create_task_group() as tasks:
        for order in orders:
            tasks.start_soon(ToListening(None, reach.memory, way).release, order)
            await anyio.wait_all_tasks_blocked()
    assert most == 20
    bodies = [order_bodies([order.raw])[0] for order in orders]
    assert told[:100] == [bodies[0]] * 20 + [bodies[4]] * 80


async def test_names_that_are_found_slowly_hold_up_no_other_and_are_asked_when_they_are_found() -> None:
    reach = Reach()
    others = [(f"slow{n}", 1) for n in range(2, 200)]
    there = [("slow0", 1), ("node1", 1), ("1.1.1.1", 1)]
    reach.ledger.named[0] = [*others, *there]
    for n, a in enumerate(there):
        reach.ledger.keys[a] = SeededKeys(n).public(KeyRole.HOTKEY)
        guard = BrakeRoutes(reach.hall.guards[n], Answering(Response(404, (), b"")), reach.hall.clock)
        reach.hall.net.serve(Endpoint(*a, bytes(32), b""), guard)
    began = reach.hall.clock.now()
    at = {d.to: d.at - began for d in await reach.release(book=0) if d.reached}
    assert at == {"1.1.1.1:1": 0, "node1:1": 0, "slow0:1": 10_000}


async def test_a_node_that_was_busy_is_asked_once_more_and_one_that_is_none_is_not() -> None:
    reach = Reach()
    counted = {"busy": 0, "none": 0}

    class Once(Answering):
        async def handle(self, request: SignedRequest) -> Response:
            counted["busy"] += 1
            if counted["busy"] == 1:
                raise Busy("ask again")
            return Response(404, (), b"")

    class Nothing(Answering):
        async def handle(self, request: SignedRequest) -> Response:
            counted["none"] += 1
            return Response(404, (), b"")

    reply = Response(404, (), b"")
    reach.ledger.named[0] = [("busy", 1), ("none", 1)]
    reach.hall.net.serve(Endpoint("busy", 1, bytes(32), b""), Once(reply))
    reach.hall.net.serve(Endpoint("none", 1, bytes(32), b""), Nothing(reply))
    told = await reach.release()
    assert reached(told)["named"] == []
    assert counted["busy"] == 2
    assert counted["none"] <= 2


async def test_a_drill_counts_them_where_there_is_no_book() -> None:
    reach = Reach()
    raw = reach.hall.story.given[reach.hall.story.drill(0.001, 1, recorded=False)]
    reach.order = order_of(raw)
    released = drill_released(reach.order, START, await reach.release())
    assert (released.addressed, released.unreached, released.of) == (1, (), "book")
    assert release_line(released).startswith("of the nodes in the book answered 1 of 1, unreached 0")
    reach = Reach()
    reach.order = order_of(raw)
    released = drill_released(reach.order, START, await reach.release(book=0))
    assert (released.addressed, released.unreached, released.of) == (3, (), "ledger")
    assert release_line(released).startswith("of the nodes named by the ledger answered 3 of 3, unreached 0")


async def test_nodes_of_another_chain_are_not_asked_and_what_was_kept_of_one_is_none() -> None:
    reach = Reach()
    reach.ledger.chain = bytes(32)
    reach.memory.raw = read(reach, [("node1", 1)]).replace(reach.hall.story.chain.hex().encode(), b"00" * 32)
    assert "named" not in reached(await reach.release())
    assert reach.obeyed() == [True, False, False]


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 100_000])
async def test_a_memory_that_cannot_be_read_holds_up_nothing_and_is_written_anew(raw: bytes) -> None:
    reach = Reach()
    reach.memory.raw = raw
    assert reached(await reach.release())["named"] == ["node1:1", "node2:1"]
    kept = read_remembered(reach.memory.raw, reach.hall.story.chain)
    assert kept is not None
    assert len(kept.nodes) == 3


async def test_a_full_disk_holds_up_no_order() -> None:
    reach = Reach()
    reach.memory.full = True
    assert reached(await reach.release())["named"] == ["node1:1", "node2:1"]
    assert reach.memory.raw is None


async def test_a_ledger_that_lies_pushes_out_nobody_that_was_known_before_it_and_not_the_book() -> None:
    chain, now = bytes(32), START
    honest = named_at(*((f"host{n}", 1) for n in range(100)))
    kept = merged(None, chain, honest, NOTHING, now)
    for day in range(1, 29):
        lies = named_at(*((f"lie{day}x{n}", 1) for n in range(MAX_LISTENING)))
        lies[:100] = [n._replace(host=f"lie{day}") for n in honest]
        kept = merged(kept, chain, lies, NOTHING, now + day * DAY_MS)
    assert len(kept.nodes) == MAX_LISTENING
    assert {n.named for n in kept.nodes[:100]} == set(honest)
    kept = merged(kept, chain, honest[:1], NOTHING, now + 29 * DAY_MS)
    later = merged(kept, chain, [], NOTHING, now + 31 * DAY_MS)
    assert [n.host for n in later.nodes if n.host.startswith("host")] == ["host0"], "who is named no more is forgotten"
    assert later.nodes[0] == Listening(honest[0].node.hex(), "host0", 1, now, now + 29 * DAY_MS)


async def test_only_who_signs_as_the_ledger_names_it_is_reached() -> None:
    reach = Reach()
    reach.ledger.keys = {("node1", 1): b"\1" * 32}
    told = {d.to: d for d in await reach.release(book=0)}
    assert reached(list(told.values()))["named"] == ["node0:1", "node2:1"]
    assert "another node answered" in told["node1:1"].told


async def test_who_claims_another_s_address_keeps_it_from_no_order_and_from_no_answer() -> None:
    reach = Reach()
    reach.memory.raw = read(reach, [("node1", 1)])
    reach.ledger.keys = {("node1", 1): b"\1" * 32}
    assert reached(await reach.release(book=0))["named"] == ["node0:1", "node1:1", "node2:1"]


async def test_no_subnet_crowds_out_another_and_no_hotkey_comes_twice() -> None:
    crowd = [(f"crowd{n}", 1) for n in range(MAX_LISTENING)]
    few = [(f"few{n}", 1) for n in range(50)]
    ledger = Ledger(bytes(32), crowd, few, [("few0", 1), ("FEW1", 1), ("moved", 1)], [])
    ledger.keys = {("FEW1", 1): key_of(("few1", 1)), ("moved", 1): key_of(("few2", 1))}
    drawn = [await where_named(ledger, SeededEntropy(n), patience_ms=1_000) for n in range(6)]
    for found in drawn:
        assert len(found) == len({n.node for n in found}) == MAX_LISTENING
        assert {n.node for n in named_at(*few)} <= {n.node for n in found}
        assert all(n.host == n.host.lower() for n in found)
    assert len({found[2] for found in drawn}) > 3, "nobody arranges to be first"


async def test_a_subnet_that_is_shown_slowly_costs_no_more_than_the_patience() -> None:
    ledger = Ledger(bytes(32), [("a", 1)], [("b", 1)])
    ledger.slow = {0: 100.0}
    drawn: list[list[Named]] = []
    for n in range(8):
        began = anyio.current_time()
        drawn.append(await where_named(ledger, SeededEntropy(n), patience_ms=1_000))
        assert anyio.current_time() - began <= 1
    assert drawn.count([]) + drawn.count(named_at(("b", 1))) == 8
    assert 0 < drawn.count([]) < 8, "no subnet is read first for its number"


@pytest.mark.parametrize(
    ("near", "asked"), [(LOCAL, {"127.0.0.1:5"}), ("10.0.0.1", None), ("fd00::1", None), ("64:ff9b::a00:1", None)]
)
async def test_in_a_private_network_private_addresses_are_asked(near: str, asked: set[str] | None) -> None:
    reach = Reach()
    reach.source = reach.source._replace(host=near)
    inner = [("127.0.0.1", 5), ("10.1.2.3", 5), ("fd00::2", 5)]
    reach.ledger.named[0] = inner
    for a in inner:
        reach.hall.net.serve(Endpoint(*a, bytes(32), b""), Silent())
    everywhere = {f"{host}:{port}" for host, port in inner}
    assert {d.to for d in await reach.release() if d.route == "named"} == (asked or everywhere)


async def test_from_outside_no_private_address_is_asked() -> None:
    reach = Reach()
    reach.source = reach.source._replace(host="1.1.1.1")
    inner = ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1", "fd00::2", "::ffff:10.0.0.1"]
    inner.append("64:ff9b::a00:1")
    reach.ledger.named[0] = [*((host, 443) for host in inner), ("node1", 1)]
    assert [d.to for d in await reach.release() if d.route == "named"] == ["node1:1"]
    reach.ledger.is_up = False
    assert [d.to for d in await reach.release() if d.route == "named"] == ["node1:1"], "nor when it is remembered"


async def test_a_home_keeps_them(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "orders")
    many = named_at(*((f"{n}." + "h" * 248, 65_535) for n in range(1_000, 1_000 + MAX_LISTENING)))
    kept = merged(None, bytes(32), many, PRIVATE, START)
    assert await journal.nodes() is None
    await journal.keep_nodes(msgspec.json.encode(kept))
    assert read_remembered(await journal.nodes() or b"", bytes(32)) == kept
    assert await journal.orders() == await journal.signed() == []


def test_what_was_kept_is_read_strictly() -> None:
    node = bytes(32).hex()
    good = Remembered(2, bytes(32).hex(), PRIVATE, (Listening(node, "a", 1, 0, 0),))
    encode = msgspec.json.encode
    assert read_remembered(encode(good), bytes(32)) == good
    assert read_remembered(encode(good), b"\1" * 32) is None
    for bad in (
        Remembered(2, "", PRIVATE, (Listening(node, "a b", 1, 0, 0),)),
        Remembered(2, "", PRIVATE, (Listening(node, "a", 0, 0, 0),)),
        Remembered(2, "", PRIVATE, (Listening(node, "a", 1, 0, 0),) * (MAX_LISTENING + 1)),
        Remembered(2, "", PRIVATE, (Listening("a", "a", 1, 0, 0),)),
    ):
        with pytest.raises(Malformed):
            read_remembered(encode(bad), bytes(32))
