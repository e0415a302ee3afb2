"""Rows that attackers can look back on: in 16 bits, as a ledger has them, and only as long as they are read."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from davy.incentive.fixed_point import Int64
from davy.protocol.errors import Misconfigured


class Revealed:
    """Honest rows [runs, h, M] of the last `epochs` epochs."""

    def __init__(self, epochs: int) -> None:
        self._kept: deque[NDArray[np.uint16]] = deque(maxlen=epochs)
        self._epochs = epochs

    def add(self, rows: Int64) -> None:
        """Those of the newest epoch, each weight 0 to 65535."""
        self._kept.appendleft(rows.astype(np.uint16))

    def ago(self, lag: int) -> Int64:
        """Those `lag` epochs before the newest, or the oldest where there are none so old.

        Raises
        ------
        Misconfigured
            They are not kept.
        """
        if lag >= self._epochs:
            raise Misconfigured(f"rows of {lag} epochs ago are not kept: the attack's `looks_back` is {self._epochs}")
        return self._kept[min(lag, len(self._kept) - 1)].astype(np.int64)
