"""What a node writes into its log once, and again when it gets worse or comes back."""

from __future__ import annotations

import logging

import pytest

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.telling import Telling
from davy.protocol.limits import DAY_MS, FRESH_MS
from tests.killswitch.guarded import KEYS, Node, block
from tests.killswitch.story import START, Story, genesis, systemic
from tests.twins import MemoryStore, SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def story() -> Story:
    return Story()


async def test_each_is_told_once_and_again_when_it_gets_worse(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "davy.network.telling")
    node = Node(story)
    telling = Telling(node.guard)
    telling.look()
    assert caplog.messages == [], "nothing before the pull at boot"
    await node.open(1, story.lease(0, 2))
    node.guard.serving = (systemic(),)
    await see(node, 2, 1)
    for _ in range(3):
        telling.look()
    assert ["in a day or less" in m for m in caplog.messages] == [True]
    await see(node, 3, 2)
    telling.look()
    telling.look()
    assert ["without another it stops" in m for m in caplog.messages] == [True, True]
    node.clock.time += FRESH_MS + 1
    telling.look()
    telling.look()
    assert ["stale" in m for m in caplog.messages] == [False, False, True]
    await see(node, 4, 2.1)
    telling.look()
    assert "not stale any more" in caplog.messages[-1]
    node.clock.time += FRESH_MS + 1
    telling.look()
    assert "this node is stale" in caplog.messages[-1], "a second time is told, too"


async def test_a_renewed_lease_is_warned_of_anew(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "davy.network.telling")
    node = Node(story)
    telling = Telling(node.guard)
    node.guard.serving = (systemic(),)
    first = story.lease(0, 2)
    await node.open(1, first)
    await see(node, 2, 1.5)
    telling.look()
    second = story.lease(1.6, 21)
    node.clock.time = START + round(1.7 * DAY_MS)
    await node.guard.at_block(block(3, 1.7), [(story.given[i], START) for i in (first, second)])
    telling.look()
    await see(node, 4, 20.5)
    telling.look()
    assert ["in a day or less" in m for m in caplog.messages] == [True, True]


async def test_a_short_lease_after_none_is_warned_of(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "davy.network.telling")
    node = Node(story)
    telling = Telling(node.guard)
    node.guard.serving = (systemic(),)
    await node.open(1)
    telling.look()
    await node.pull(2, story.lease(0, 2.5))
    telling.look()
    telling.look()
    assert ["stands still" in m for m in caplog.messages] == [True, False]
    assert "in 3 days or less" in caplog.messages[-1]


async def test_a_chain_that_nobody_can_halt_has_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(first_state(genesis(())), keys=KEYS, clock=SetClock(START), store=MemoryStore())
    Telling(guard).look()
    assert caplog.messages == []


async def see(node: Node, height: int, day: float) -> None:
    node.clock.time = START + round(day * DAY_MS)
    await node.guard.at_block(block(height, day), [])
