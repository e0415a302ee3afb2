"""A guard in memory: the story's keyholders, a clock that a test sets, a disk that can be full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.protocol.chain import Head
from davy.protocol.errors import Busy, ModelHalted
from davy.protocol.order import OrderId
from tests.killswitch.story import START, Story, subject
from tests.twins import MemoryStore, SeededKeys, SetClock

KEYS = SeededKeys(11)


def block(height: int, day: float = 0.0) -> Head:
    return Head(height, START + round(day * 86_400_000), bytes([height % 256]) * 32, bytes(32))


class Node:
    """What one process has; `restart` is the next one on the same, or another, disk."""

    def __init__(self, story: Story, store: MemoryStore | None = None, sources: int = 3) -> None:
        self.story, self.sources = story, sources
        self.clock = SetClock(START)
        self.store = store or MemoryStore()
        self.guard = self._guard()

    def _guard(self) -> Guard:
        first = first_state(self.story.genesis)
        return Guard(first, keys=KEYS, clock=self.clock, store=self.store, sources=self.sources)

    async def open(self, height: int = 1, *known: OrderId) -> Guard:
        """Begin, with the ledger's word on these orders."""
        await self.guard.open()
        await self.pull(height, *known)
        return self.guard

    async def pull(self, height: int, *known: OrderId) -> None:
        await self.guard.at_block(block(height), [(self.story.given[i], START) for i in known])

    async def restart(self, store: MemoryStore | None = None) -> Guard:
        """As a crash leaves it: not pulled yet."""
        self.store = store or self.store.copy()
        self.guard = self._guard()
        await self.guard.open()
        return self.guard

    async def hear(self, *ids: OrderId) -> Sequence[Exception]:
        """Take orders of the story in; return why some were refused."""
        received = await self.guard.receive_all([self.story.given[i] for i in ids])
        return [error for _, error in received.refused]

    def runs(self, **changes: Any) -> bool:
        """Whether the story's model is permitted."""
        return may(self.guard, **changes)


def may(guard: Guard, **changes: Any) -> bool:
    try:
        guard.permit(subject(**changes))
    except (ModelHalted, Busy):
        return False
    return True
