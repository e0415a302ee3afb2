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
    """`a_second` in the long run, `burst` at once."""

    a_second: float
    burst: int


@dataclass
class _Bucket:
    level: float
    at: UnixMillis


class Meter(Generic[K]):
    """One bucket for each key, all of the same rate."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[K, _Bucket] = OrderedDict()

    def wait_ms(self, key: K) -> int:
        """0 while something is left for `key`; else in how many milliseconds there will be.

        level = min(burst, level + a_second · seconds since); a clock that went back refills nothing.
        """
        now = self._clock.now()
        bucket = self._buckets.setdefault(key, _Bucket(float(self._rate.burst), now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_METERED:
            self._buckets.popitem(last=False)
        since = max(0, now - bucket.at) / 1000
        bucket.level, bucket.at = min(float(self._rate.burst), bucket.level + self._rate.a_second * since), now
        return 0 if bucket.level >= 1 else int((1 - bucket.level) / self._rate.a_second * 1000) + 1

    def take(self, key: K) -> bool:
        """Take one from the bucket of `key`; False where nothing is left."""
        if self.wait_ms(key):
            return False
        self._buckets[key].level -= 1
        return True


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
