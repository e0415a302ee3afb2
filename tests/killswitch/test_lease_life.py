"""A systemic model through a month of a node's life, in virtual time: leased, warned of, stopped, leased again."""

from __future__ import annotations

import logging

import anyio
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.telling import Telling
from davy.protocol.chain import Head
from davy.protocol.errors import ModelHalted
from davy.protocol.limits import DAY_MS, FRESH_MS
from davy.protocol.order import OrderId
from tests.killswitch.guarded import KEYS
from tests.killswitch.story import MINUTE, START, Story, ms, systemic
from tests.twins import LoopClock, MemoryStore

pytestmark = pytest.mark.anyio
BLOCK_S = 30.0


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Life:
    """One node's guard and notices, on a ledger that a test gives blocks to."""

    def __init__(self, story: Story) -> None:
        self.story, self.clock, self.height = story, LoopClock(START), 0
        self.guard = Guard(first_state(story.genesis), keys=KEYS, clock=self.clock, store=MemoryStore())
        self.guard.serving = (systemic(),)
        self.telling = Telling(self.guard)
        self.recorded: list[OrderId] = []

    async def block(self) -> None:
        self.height += 1
        head = Head(self.height, self.clock.now(), bytes([self.height % 256]) * 32, bytes(32))
        await self.guard.at_block(head, [(self.story.given[i], START) for i in self.recorded])

    async def until(self, day: float) -> None:
        await self.clock.sleep_until(ms(day))
        await self.block()
        self.telling.look()

    def runs(self) -> bool:
        try:
            self.guard.permit(systemic())
        except ModelHalted:
            return False
        return True


async def test_a_month_from_lease_to_lapse_and_back(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "davy.network.telling")
    life = Life(story)
    await life.until(0)
    assert not life.runs(), "systemic, and not leased"
    life.recorded.append(story.lease(0, 30))
    await life.until(0.001)
    assert life.runs()
    caplog.clear()
    heard: dict[float, list[str]] = {}
    for tenth in range(1, 341):
        before = len(caplog.records)
        await life.until(tenth / 10)
        heard[tenth / 10] = [r.getMessage() for r in caplog.records[before:]]
        assert life.runs() == (tenth < 330), tenth
    said = {day: texts for day, texts in heard.items() if texts}
    assert list(said) == [23.0, 27.0, 29.0, 30.0, 33.0], "each is told once"
    assert ["stands still" in t for texts in said.values() for t in texts] == [False] * 4 + [True]
    life.recorded.append(story.lease(34, 60))
    await life.until(34.1)
    assert life.runs()


async def test_a_stream_ends_when_its_lease_lapses(story: Story) -> None:
    life = Life(story)
    life.recorded.append(story.lease(0, 1))
    await life.until(4 - 5 * MINUTE)
    ended: list[int] = []

    async def stream() -> None:
        with pytest.raises(ModelHalted) as stopped:
            async with life.guard.running(systemic()):
                await anyio.sleep_forever()
        assert stopped.value.order == b"", "no order stops it: a permission ran out"
        ended.append(life.clock.now())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.guard.run)
        tasks.start_soon(stream)
        while not ended:
            await life.block()
            await anyio.sleep(BLOCK_S)
        tasks.cancel_scope.cancel()
    assert ms(4) <= ended[0] <= ms(4) + 2_000


async def test_a_node_without_ledger_and_heartbeat_stops_and_says_so(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "davy.network.telling")
    life = Life(story)
    life.recorded.append(story.lease(0, 30))
    await life.until(1)
    ended: list[int] = []

    async def stream() -> None:
        try:
            async with life.guard.running(systemic()):
                await anyio.sleep_forever()
        except ModelHalted:
            ended.append(life.clock.now())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.guard.run)
        tasks.start_soon(life.telling.run)
        tasks.start_soon(stream)
        await anyio.sleep(59)
        assert not ended
        await life.guard.receive_all([story.given[story.heartbeat(1 + MINUTE * 59 / 60, quietly=True)]])
        await anyio.sleep(59)
        assert not ended, "a heartbeat keeps it running for a minute more"
        await anyio.sleep(3)
        assert ended == [pytest.approx(ms(1) + 59_000 + FRESH_MS, abs=2_000)]
        await anyio.sleep(15)
        assert [r.getMessage() for r in caplog.records if "stale" in r.getMessage()] != []
        assert not life.runs()
        await life.block()
        assert life.runs()
        await anyio.sleep(11)
        tasks.cancel_scope.cancel()
    told = [r.getMessage() for r in caplog.records]
    assert [("not stale any more" in t) for t in told] == [False, True]


async def test_the_ledger_s_return_after_the_grace_does_not_bring_a_lapsed_lease_back(story: Story) -> None:
    life = Life(story)
    life.recorded.append(story.lease(0, 10))
    await life.until(9)
    await life.clock.sleep_until(START + 14 * DAY_MS)
    assert not life.runs()
    await life.block()
    assert not life.runs()
