"""Rows that attackers can look back on, only as long as they are read."""

from __future__ import annotations

from collections import deque

from davy.incentive.fixed_point import UInt16
from davy.protocol.errors import Misconfigured


class Revealed:
    """Honest rows [runs, h, M] of the last `epochs` epochs."""

    def __init__(self, epochs: int) -> None:
        self._kept: deque[UInt16] = deque(maxlen=epochs)
        self._epochs = epochs

    def add(self, rows: UInt16) -> None:
        """Those of the newest epoch, which nobody writes to any more."""
        self._kept.appendleft(rows)

    def ago(self, lag: int) -> UInt16:
        """Those `lag` epochs before the newest, or the oldest where there are none so old.

        Raises
        ------
        Misconfigured
            They are not kept.
        """
        if lag >= self._epochs:
            raise Misconfigured(f"rows of {lag} epochs ago are not kept: the attack's `looks_back` is {self._epochs}")
        return self._kept[min(lag, len(self._kept) - 1)]
