"""The streams of `davy.sims.noise` for all runs in one call, word for word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import SFC64
from numpy.typing import NDArray

from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.lanes import U


class Streams:
    """Goes on where NumPy's generators are, and leaves these there."""

    def __init__(self, streams: Sequence[SFC64]) -> None:
        self._states = np.array([stream.state["state"]["state"] for stream in streams], dtype=np.uint64)

    def raw(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words of each, [runs, count]."""
        found = np.empty((len(self._states), count), dtype=np.uint64)
        _draw(self._states, found)
        return found


@compiled
def _draw(states: NDArray[np.uint64], found: NDArray[np.uint64]) -> None:
    """SFC64 (Doty-Humphrey, PractRand): three words that are mixed, and a counter."""
    for run in range(len(states)):
        a, b, c, counter = states[run]
        for i in range(found.shape[1]):
            word = a + b + counter
            counter += U(1)
            a = b ^ (b >> U(11))
            b = c + (c << U(3))
            c = ((c << U(24)) | (c >> U(40))) + word
            found[run, i] = word
        states[run, 0], states[run, 1], states[run, 2], states[run, 3] = a, b, c, counter
