"""The real time, as `davy.protocol.ports.Clock`."""

from __future__ import annotations

import time
from typing import Final

import anyio

from davy.protocol.words import UnixMillis

_LONGEST_NAP_MS: Final = 1_000


class SystemClock:
    """Unix milliseconds of this machine. It may be set back: whoever needs time that only rises keeps a maximum."""

    def now(self) -> UnixMillis:
        return time.time_ns() // 1_000_000

    async def sleep_until(self, t: UnixMillis) -> None:
        """Return once `now()` ≥ t; at least one checkpoint.

        The wall clock is read again every second, so the wait ends in time when the clock is set or the machine slept.
        """
        await anyio.lowlevel.checkpoint()
        while (left := t - self.now()) > 0:  # noqa: ASYNC110 - waits for time, not for an event
            await anyio.sleep(min(left, _LONGEST_NAP_MS) / 1_000)
