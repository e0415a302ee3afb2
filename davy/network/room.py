"""Places for what a process can only do so much of at once, such as connections; the most urgent is let in first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from heapq import heappop, heappush

import anyio

Rank = tuple[int, int]
"""How urgent something is: the least comes first, and of the same who came first."""


class Room:
    """So many places at once."""

    def __init__(self, places: int) -> None:
        self._free, self._came = places, 0
        self._waiting: list[tuple[Rank, int, anyio.Event]] = []
        self._gone: set[int] = set()

    @asynccontextmanager
    async def place(self, rank: Rank) -> AsyncGenerator[None]:
        """Hold a place while the context is open."""
        await self.take(rank)
        try:
            yield
        finally:
            self.leave()

    async def take(self, rank: Rank) -> None:
        """Take a place, to be left by `leave`."""
        if self._free:
            self._free -= 1
            return
        self._came += 1
        mine, called = self._came, anyio.Event()
        heappush(self._waiting, (rank, mine, called))
        try:
            await called.wait()
        except anyio.get_cancelled_exc_class():
            if called.is_set():
                self.leave()
            else:
                self._gone.add(mine)
            raise

    def leave(self) -> None:
        """Give a place to whoever waits for it most urgently."""
        while self._waiting:
            _, each, called = heappop(self._waiting)
            if each not in self._gone:
                called.set()
                return
            self._gone.remove(each)
        self._free += 1
