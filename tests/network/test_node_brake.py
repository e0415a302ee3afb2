"""What a node asks of the ledger about models: by blocks, never by requests, and at no cost in time but a block's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from trio.testing import MockClock

from davy.network.node_brake import NodeBrake, Place
from davy.protocol.chain import Head
from davy.protocol.errors import Refused, Unreachable
from davy.protocol.order import Global, GroupKey, Halt
from davy.protocol.recorded import BrakeRecord, Facts, OrderRecord, RecordedBrake, SubjectFacts
from tests.killswitch.story import Story
from tests.twins import LoopClock, SeededKeys
from tests.twins.brake import REGISTRANT, brake_of

pytestmark = pytest.mark.anyio
KEYS = SeededKeys(9)
BLOCK_S = 1.0
PLACES: list[Place] = [(1, bytes([n]) * 32, bytes([n]) * 32) for n in range(1, 31)]
FIRST = PLACES[0]


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Ledger:
    """What it says is proved by its next block; `refuses` are models of which it proves nothing."""

    def __init__(self) -> None:
        self.height = 1
        self.orders: list[OrderRecord] = []
        self.asked: list[Place] = []
        self.refuses: set[bytes] = set()
        self.changed = 0
        self.silent = False
        self._new = anyio.Event()

    async def produce(self) -> None:
        while True:
            await anyio.sleep(BLOCK_S)
            self.height += 1
            new, self._new = self._new, anyio.Event()
            new.set()

    async def next_block(self) -> Head:
        await self._new.wait()
        return self.head()

    def head(self) -> Head:
        return Head(self.height, LoopClock().now(), bytes(32), bytes(32))

    async def told_brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        record = BrakeRecord(bytes(32), bytes(32), len(self.orders), len(self.orders))
        return RecordedBrake(self.height, record, tuple(self.orders), ())

    async def brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        if self.silent:
            raise Unreachable("nobody answers")
        told = await self.told_brake()
        await self.next_block()
        return told

    async def subject(self, netuid: int, hotkey: bytes, model: bytes) -> SubjectFacts:
        self.asked.append((netuid, hotkey, model))
        at = self.height
        await self.next_block()
        if model in self.refuses:
            raise Refused("the ledger leaves out a row")
        return SubjectFacts(at, netuid, hotkey, (Facts(model, (), REGISTRANT),), (), (), False)

    def unchanged(self, netuid: int, since: int) -> bool:
        return since >= self.changed

    async def submit(self, raw: bytes) -> bytes:
        return bytes(32)

    def taken(self) -> list[Place]:
        told, self.asked = self.asked, []
        return told


@asynccontextmanager
async def noded() -> AsyncIterator[tuple[NodeBrake, Ledger, Story]]:
    story, ledger = Story(), Ledger()
    brake = brake_of(KEYS, LoopClock(), ledger, story.chain, story.keyholders.roster)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.produce)
        await brake.look(ledger.head())
        yield brake, ledger, story
        tasks.cancel_scope.cancel()


async def follow(brake: NodeBrake, ledger: Ledger, blocks: int = 1) -> float:
    """Look at the newest block, some times; the seconds that the last one took."""
    took = 0.0
    for _ in range(blocks):
        began = anyio.current_time()
        await brake.look(ledger.head())
        took = anyio.current_time() - began
    return took


async def test_asking_often_costs_one_question() -> None:
    async with noded() as (brake, ledger, _):
        for _ in range(50):
            await brake.permit(*FIRST)
        assert ledger.taken() == [FIRST]


async def test_many_are_learned_within_one_block() -> None:
    async with noded() as (brake, ledger, _):
        began = anyio.current_time()
        await brake.learn(PLACES + PLACES)
        for place in PLACES:
            await brake.permit(*place)
        assert anyio.current_time() - began <= BLOCK_S
        assert sorted(ledger.taken()) == PLACES


async def test_what_is_used_is_looked_up_again_beside_the_orders_and_stays_known_meanwhile() -> None:
    async with noded() as (brake, ledger, _):
        await brake.learn(PLACES[:3])
        ledger.taken()
        for place in PLACES[:2]:
            await brake.subject(*place)
        await follow(brake, ledger, 10)
        assert ledger.taken() == []
        while not ledger.asked:
            assert await follow(brake, ledger) <= BLOCK_S
            began = anyio.current_time()
            await brake.subject(*FIRST)
            assert anyio.current_time() == began
        assert sorted(ledger.taken()) == PLACES[:2]
        await brake.subject(*PLACES[2])  # nobody had asked for it
        assert ledger.taken() == [PLACES[2]]


async def test_an_order_has_all_looked_up_again() -> None:
    async with noded() as (brake, ledger, story):
        await brake.learn(PLACES)
        for place in PLACES:
            await brake.subject(*place)
        ledger.taken()
        now = LoopClock().now()
        order = story.keyholders.order(story.chain, Halt(Global(), GroupKey.HALT), now, now + 60_000)
        raw = story.keyholders.sign(order)
        ledger.orders.append(OrderRecord(raw, ledger.height, now, 0))
        assert await follow(brake, ledger) <= BLOCK_S
        assert sorted(ledger.taken()) == PLACES
        for place in PLACES:
            await brake.subject(*place)
        assert ledger.taken() == []


async def test_an_order_by_another_route_while_the_ledger_proves_its_own_has_all_forgotten() -> None:
    async with noded() as (brake, ledger, story):
        await brake.subject(*FIRST)
        now = LoopClock().now()
        order = story.keyholders.order(story.chain, Halt(Global(), GroupKey.HALT), now, now + 60_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(brake.look, ledger.head())
            await anyio.sleep(BLOCK_S / 2)
            await brake.guard.receive(story.keyholders.sign(order))
        ledger.taken()
        await brake.subject(*FIRST)
        assert ledger.taken() == [FIRST]


async def test_what_is_served_is_looked_up_again_when_something_changed() -> None:
    async with noded() as (brake, ledger, _):
        brake.guard.serving = (await brake.subject(*FIRST, anew=True),)
        await brake.subject(*PLACES[1])
        await follow(brake, ledger, 3)
        ledger.taken()
        await brake.subject(*FIRST, anew=True)
        assert ledger.taken() == [], "nothing changed"
        ledger.changed = ledger.height
        assert await follow(brake, ledger) <= BLOCK_S
        assert ledger.taken() == [FIRST]
        ledger.changed = ledger.height + 9
        await brake.subject(*FIRST, anew=True)
        assert ledger.taken() == [], "it is as of the block that was looked at"
        await brake.subject(*PLACES[1], anew=True)
        assert ledger.taken() == [PLACES[1]]


async def test_what_is_not_proved_again_is_not_known_any_more() -> None:
    async with noded() as (brake, ledger, _):
        brake.guard.serving = (await brake.subject(*FIRST),)
        ledger.refuses.add(FIRST[2])
        ledger.changed = ledger.height + 1
        await follow(brake, ledger, 2)
        with pytest.raises(Refused):
            await brake.permit(*FIRST)


async def test_a_brake_that_is_not_proved_stops_a_block_from_being_seen() -> None:
    async with noded() as (brake, ledger, _):
        brake.guard.serving = (await brake.subject(*FIRST),)
        ledger.silent, ledger.changed = True, ledger.height + 1
        await ledger.next_block()
        with pytest.raises(Unreachable):
            await brake.look(ledger.head())
        ledger.silent = False
        ledger.taken()
        await follow(brake, ledger)
        assert ledger.taken() == [FIRST]


async def test_on_a_chain_that_nobody_can_halt_nothing_is_asked() -> None:
    ledger = Ledger()
    brake = brake_of(KEYS, LoopClock(), ledger, Story().chain)
    await brake.look(ledger.head())
    await brake.learn(PLACES)
    assert (await brake.subject(*FIRST)).model is None
    assert ledger.taken() == []
