"""Virtual time: everything happens at its own time, in order, and a sleeper that is cancelled wakes once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from tests.simulated.clock import VirtualClock

ROOT = Path(__file__).parents[2]
START = 1_000_000


def run(story: Callable[[VirtualClock], Any]) -> Any:
    clock = VirtualClock(START)
    return trio.run(story, clock, clock=clock)


def test_sleepers_and_deadlines_come_in_the_order_of_their_times() -> None:
    async def story(clock: VirtualClock) -> list[tuple[str, int]]:
        told: list[tuple[str, int]] = []

        async def by_clock(name: str, at: int) -> None:
            await clock.sleep_until(START + at)
            told.append((name, clock.now() - START))

        async def by_loop(name: str, at: int) -> None:
            await trio.sleep(at / 1000)
            told.append((name, clock.now() - START))

        async with trio.open_nursery() as tasks:
            for sleep, name, at in ((by_clock, "d", 40), (by_loop, "a", 10), (by_clock, "b", 20), (by_loop, "c", 30)):
                tasks.start_soon(sleep, name, at)
        return told

    assert run(story) == [("a", 10), ("b", 20), ("c", 30), ("d", 40)]


def test_time_stands_while_anything_can_run() -> None:
    async def story(clock: VirtualClock) -> tuple[int, int]:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(clock.sleep, 1.0)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            busy = clock.now() - START
        return busy, clock.now() - START

    assert run(story) == (0, 1_000)


def test_a_time_that_has_passed_is_a_checkpoint() -> None:
    async def story(clock: VirtualClock) -> int:
        await clock.sleep(2.0)
        with trio.move_on_after(0):  # cancelled by the checkpoint, were it none it would not be
            await clock.sleep_until(START)
            await clock.sleep_until(START)
        await clock.sleep_until(START)
        return clock.now() - START

    assert run(story) == 2_000


def test_a_sleeper_cancelled_at_its_own_moment_or_before_leaves_nothing() -> None:
    async def story(clock: VirtualClock) -> list[int]:
        told: list[int] = []
        for patience, sleep in ((0.5, 1.0), (1.0, 1.0), (1.0, 0.5)):
            with trio.move_on_after(patience):
                await clock.sleep(sleep)
            told.append(clock.now() - START)
        await clock.sleep(10.0)  # past where the cancelled ones would have woken
        return [*told, clock.now() - START, clock.asleep]

    assert run(story) == [500, 1_500, 2_000, 12_000, 0]


STUCK = """
import trio
from tests.simulated.clock import VirtualClock
async def story(clock):
    await clock.sleep(1.0)
    await trio.Event().wait()
clock = VirtualClock()
trio.run(story, clock, clock=clock)
"""


def test_a_history_that_cannot_go_on_ends_with_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], cwd=ROOT, capture_output=True, check=False)  # trio does not
    assert b"every task waits for another" in done.stderr  # recover from an error of its clock's
