"""Token buckets: how much somebody may ask for in the long run, and at once after a pause."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from davy.protocol.ports import Clock
from davy.protocol.words import UnixMillis

MAX_METERED: Final = 8_192
"""Buckets kept; beyond it the one that was idle longest is forgotten."""
K = TypeVar("K", bound=Hashable)


class Rate(NamedTuple):
    """`a_second` in the long run, `burst` at once after a pause."""

    a_second: float
    burst: int


@dataclass
class Bucket:
    """What is left of an allowance: `level` requests at time `at`."""

    level: float
    at: UnixMillis


def refilled(bucket: Bucket, now: UnixMillis, rate: Rate) -> float:
    """min(burst, level + a_second · seconds since); a clock that went back refills nothing."""
    return min(float(rate.burst), bucket.level + rate.a_second * max(0, now - bucket.at) / 1000)


class Meter(Generic[K]):
    """One bucket for each key, all of the same rate."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[K, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, key: K) -> int:
        """Take one and return 0, or return the milliseconds after which one can be taken."""
        now = self._clock.now()
        bucket = self._buckets.setdefault(key, Bucket(float(self._rate.burst), now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_METERED:
            self._buckets.popitem(last=False)
        bucket.level, bucket.at = refilled(bucket, now, self._rate), now
        if bucket.level < 1:
            return int((1 - bucket.level) / self._rate.a_second * 1000) + 1
        bucket.level -= 1
        return 0


def neighbourhood(address: str) -> str:
    """What one sender has of addresses: an IPv4 address, or the /64 that an IPv6 one lies in; else the text itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((ip, 64), strict=False))
    return address
