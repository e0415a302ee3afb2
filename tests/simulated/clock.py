"""Virtual time for a trio run: when nothing can run, it is at once the time at which something can.

trio's own MockClock does the same with one more turn of the loop for each jump and a cancel scope for each sleeper; a
history is little else than sleepers.
"""

from __future__ import annotations

import heapq
import math
from itertools import count

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

_PATIENCE = 1.0
"""Real seconds."""


class VirtualClock(trio.abc.Clock):
    """The loop's clock, and the `davy.protocol.ports.Clock` of every node in it.

    Parameters
    ----------
    start
        What `now` tells at the loop's time zero, in Unix milliseconds.
    """

    def __init__(self, start: int = 1_800_000_000_000) -> None:
        self._start = start
        self._time = 0.0
        self._sleepers: list[tuple[float, int, Task]] = []
        self._woken_early: set[int] = set()
        self._number = count()
        self._stuck = 0

    @property
    def asleep(self) -> int:
        """How many wait in `sleep`."""
        return len(self._sleepers) - len(self._woken_early)

    def now(self) -> int:
        return self._start + int(self._time * 1000)

    async def sleep_until(self, t: int) -> None:
        await self.sleep((t - self._start) / 1000 - self._time)

    async def sleep(self, seconds: float) -> None:
        """Wait until so much later; a checkpoint even where it is no time at all."""
        number = next(self._number)
        heapq.heappush(self._sleepers, (self._time + max(0.0, seconds), number, current_task()))

        def cancelled(_: object) -> Abort:
            self._woken_early.add(number)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(cancelled)

    def start_clock(self) -> None:
        """Time stands until the first jump."""

    def current_time(self) -> float:
        return self._time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to what comes first, a deadline or a sleeper; called when no task can run.

        Raises
        ------
        RuntimeError
            Neither will come, and no call from outside came in `_PATIENCE` either: every task waits for another.
        """
        sleepers = self._sleepers
        while sleepers and sleepers[0][1] in self._woken_early:
            self._woken_early.remove(heapq.heappop(sleepers)[1])
        first = min(deadline, sleepers[0][0] if sleepers else math.inf)
        if first == math.inf:
            self._stuck += 1
            if self._stuck > 3:
                raise RuntimeError("nothing more can happen in this history: every task waits for another")
            return _PATIENCE  # trio ends its runs with a call from outside, which wakes the loop at once
        self._stuck = 0
        self._time = max(self._time, first)
        while sleepers and sleepers[0][0] <= self._time:
            _, number, task = heapq.heappop(sleepers)
            if number in self._woken_early:
                self._woken_early.remove(number)
            else:
                reschedule(task)
        return 0.0
