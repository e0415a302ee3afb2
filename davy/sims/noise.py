"""Chance, from a seed: each run draws from streams of its own, and a normal number is an integer out of a table.

A run's streams hang on (seed, run, purpose) only, so it gives the same bits in whatever chunk and on whatever worker it
is played, and an attack's draws never move the market's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.random import SFC64, SeedSequence
from numpy.typing import NDArray

from davy.incentive.fixed_point import Bool, Int64

UNIT_BITS = 14
UNIT = 1 << UNIT_BITS
"""Quality and scores: 1 is 16384, so that a score of up to 4 fits the u16 of a weight."""

LEVELS = 1 << 16

Item = TypeVar("Item")


class Purpose(IntEnum):
    """What a stream is for; the last word of its spawn key."""

    STAKE = 0
    QUALITY = 1
    SCORES = 2
    ATTACK = 3
    ENTRY = 4
    SPREAD = 5
    PRICES = 6
    AUDITS = 16


class Streams:
    """One after the other."""

    def __init__(self, streams: Sequence[SFC64]) -> None:
        self._streams = streams

    def raw(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words of each, [runs, count]."""
        return np.array([stream.random_raw(count) for stream in self._streams], dtype=np.uint64)


class Draws:
    """One stream a run; `compiled` are they drawn from faster, for the same words."""

    def __init__(self, seed: int, runs: range, purpose: Purpose, *, compiled: bool = False) -> None:
        streams = [SFC64(SeedSequence(seed, spawn_key=(run, purpose))) for run in runs]
        self.runs = len(streams)
        if compiled:
            from davy.sims.noise_compiled import Streams as Together

            self._raw = Together(streams).raw
        else:
            self._raw = Streams(streams).raw

    def words(self, *shape: int) -> NDArray[np.uint16]:
        """[runs, *shape] of 16 random bits each."""
        count = int(np.prod(shape))
        raw = self._raw(-(-count // 4))
        return raw.astype("<u8", copy=False).view("<u2")[:, :count].reshape(-1, *shape)

    def below(self, bound: int, *shape: int) -> Int64:
        """[runs, *shape], even over 0 to bound − 1 to within 2^-16; bound ≤ 2^16."""
        return (self.words(*shape).astype(np.int64) * bound) >> 16

    def chance(self, probability: float, *shape: int) -> Bool:
        """[runs, *shape], each True with `probability`, to the nearest 2^-16."""
        return self.words(*shape) < round(probability * LEVELS)

    def of(self, table: NDArray[np.int32], *shape: int) -> Int64:
        """[runs, *shape], each an entry of a table of `LEVELS`."""
        return table.take(self.words(*shape)).astype(np.int64)


@lru_cache(maxsize=64)
def normal(deviation: float, mean: float = 0.0, low: float = -np.inf) -> NDArray[np.int32]:
    """max(low, mean + deviation·z) in units of 1/`UNIT`, z at the 2^16 quantiles (k + ½) / 2^16 of a normal number.

    |z| ≤ 4.3, and the variance is .9999 of a normal one's. Multiplied with z before it is rounded, so a deviation
    of 0 gives `mean` everywhere.
    """
    z = NormalDist()
    half = [z.inv_cdf((k + 0.5) / LEVELS) for k in range(LEVELS // 2, LEVELS)]
    values = [-x for x in reversed(half)] + half
    table = np.array([round(max(low, mean + deviation * x) * UNIT) for x in values], dtype=np.int32)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=64)
def lognormal(median: float, spread: float) -> tuple[int, ...]:
    """Median · e^(spread·z), to the nearest integer, z at the 2^16 quantiles (k + ½) / 2^16 of a normal number."""
    z = NormalDist()
    return tuple(round(median * math.exp(spread * z.inv_cdf((k + 0.5) / LEVELS))) for k in range(LEVELS))


def in_units(x: float) -> int:
    """A proportion in units of 1/`UNIT`, to the nearest."""
    return round(x * UNIT)


class Stream:
    """One run's numbers, one after the other: for what is played event by event."""

    def __init__(self, seed: int, run: int, purpose: Purpose) -> None:
        self._bits = SFC64(SeedSequence(seed, spawn_key=(run, purpose)))
        self._words: list[int] = []

    def word(self) -> int:
        """64 random bits."""
        if not self._words:
            self._words = self._bits.random_raw(256).tolist()
        return self._words.pop()

    def below(self, bound: int) -> int:
        """Even over 0 to bound − 1, to within bound · 2^-64."""
        return (self.word() * bound) >> 64

    def chance(self, probability: float) -> bool:
        """True with `probability`, to the nearest 2^-32."""
        return self.word() >> 32 < round(probability * (1 << 32))

    def of(self, table: Sequence[int]) -> int:
        """An entry of a table of `LEVELS`."""
        return table[self.word() >> 48]

    def sample(self, among: Sequence[Item], count: int) -> list[Item]:
        """`count` different entries, in the order they were drawn."""
        left = list(among)
        for i in range(count):
            j = i + self.below(len(left) - i)
            left[i], left[j] = left[j], left[i]
        return left[:count]
