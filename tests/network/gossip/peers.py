"""Nodes that have no route but gossip: a guard each, and a real gossip process."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.gossip.joining import LAUNCH
from davy.network.gossip.pipe import Met
from davy.network.gossip.route import GossipRoute, Listening
from davy.protocol.errors import ModelHalted
from tests.killswitch.story import START, Story, subject
from tests.twins import LoopClock, MemoryStore, SeededKeys

PATIENCE_S = 400.0
"""For a process to load its packages on a machine that does much else. Nothing is concluded from how long it takes."""


class Node:
    """A node whose other routes are all cut: it has none."""

    def __init__(self, story: Story, number: int, launch: Sequence[str] = LAUNCH) -> None:
        self.clock = LoopClock(START - int(anyio.current_time() * 1000))
        keys = SeededKeys(300 + number)
        self.guard = Guard(first_state(story.genesis), keys=keys, clock=self.clock, store=MemoryStore())
        for source in range(3):
            self.guard.pulled(bytes([source]) * 32)
        self.route = GossipRoute(self.guard, keys, self.clock, launch, Listening("127.0.0.1", 0))

    @property
    def met(self) -> Met:
        place = self.route.place
        assert place is not None, "the process is not up"
        return Met("127.0.0.1", place.port, place.peer)

    @property
    def links(self) -> int:
        return self.route.state.dialled + self.route.state.accepted

    def is_halted(self, word: str = "model") -> bool:
        try:
            self.guard.permit(subject(word))
        except ModelHalted:
            return True
        return False

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait for something that the guard or the route tells of."""
        with anyio.fail_after(PATIENCE_S):
            while not so():
                async with anyio.create_task_group() as tasks:

                    async def one(wait: Callable[[], object], scope: anyio.CancelScope = tasks.cancel_scope) -> None:
                        await wait()  # type: ignore[misc] # pyright: ignore[reportGeneralTypeIssues]
                        scope.cancel()

                    tasks.start_soon(one, self.guard.change)
                    tasks.start_soon(one, self.route.change)
                    tasks.start_soon(one, lambda: anyio.sleep(0.25))  # what changed before these two waited

    async def up(self) -> None:
        await self.until(lambda: self.route.place is not None)

    def kill(self) -> None:
        assert self.route.pid is not None
        os.kill(self.route.pid, signal.SIGKILL)


@asynccontextmanager
async def nodes(story: Story, count: int) -> AsyncGenerator[list[Node]]:
    """So many nodes whose processes are up and know nobody."""
    made = [Node(story, n) for n in range(count)]
    async with anyio.create_task_group() as tasks:
        for node in made:
            tasks.start_soon(node.route.run)
        for node in made:
            await node.up()
        yield made
        tasks.cancel_scope.cancel()
