"""Token buckets for many callers: what a node lets each of them do in a second, and after a pause."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from davy.protocol.words import UnixMillis

MAX_CALLERS: Final = 8_192
"""Rates kept; beyond it the one that was idle longest is forgotten."""


@dataclass
class Bucket:
    """A caller's allowance: `level` requests are left at time `at`."""

    level: float
    at: UnixMillis


def refilled(bucket: Bucket, now: UnixMillis, rate: float, burst: int) -> float:
    """min(burst, level + rate · seconds since); a clock that went back refills nothing."""
    return min(float(burst), bucket.level + rate * max(0, now - bucket.at) / 1000)


class Rates:
    """One bucket a caller.

    Parameters
    ----------
    rate
        Requests a second of one caller, in the long run.
    burst
        Requests of one caller at once, after a pause.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, caller: Hashable, now: UnixMillis) -> int:
        """Count one request and return 0, or return the milliseconds after which one is allowed again."""
        bucket = self._buckets.setdefault(caller, Bucket(float(self._burst), now))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        bucket.level, bucket.at = refilled(bucket, now, self._rate, self._burst), now
        if bucket.level < 1:
            return int((1 - bucket.level) / self._rate * 1000) + 1
        bucket.level -= 1
        return 0
