"""Addresses that strangers wrote down: which are asked, and how their names are looked up.

Who has a hotkey may name any host on the ledger: also one in the private network of who reads it, or a name that its
owner's slow server resolves. So such names are looked up in threads of their own, a few at a time, and what they
resolve to is looked at as well.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from functools import partial
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from anyio import CapacityLimiter, to_thread

_AT_ONCE: Final = 16
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Within(IntEnum):
    """Which networks are asked besides the public one: those that the ledger which names the nodes is in itself."""

    NOTHING = 0
    MACHINE = 1
    """Loopback addresses only."""
    PRIVATE = 2


class Strangers(AbstractResolver):
    """The names and addresses of strangers.

    Parameters
    ----------
    within
        See `lies_within`.
    """

    def __init__(self, *, within: Within = Within.NOTHING) -> None:
        self.within = within
        self._limit = CapacityLimiter(_AT_ONCE)

    def admits(self, host: str) -> bool:
        """Whether anything is sent to an address; of a name that shows when it is looked up."""
        ip = _address(host)
        if ip is None:
            return True
        if ip.is_unspecified or ip.is_multicast or ip.is_link_local:
            return False
        return ip.is_global or self.within >= (Within.MACHINE if ip.is_loopback else Within.PRIVATE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See aiohttp; only what `admits` an address is returned.

        Raises
        ------
        OSError
            There is no such name, or all its addresses are in a private network.
        """
        ask = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        found = await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limit)
        kept = [
            ResolveResult(hostname=host, host=str(where[0]), port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for kind, _, protocol, _, where in found
            if self.admits(str(where[0]))
        ]
        if not kept:
            raise OSError("its name leads into a private network")
        return kept

    async def close(self) -> None:
        """Nothing is kept open."""


async def lies_within(host: str) -> Within:
    """Which network a host is in, by its address or by all those of its name."""
    if (ip := _address(host)) is not None:
        return _network(ip)
    try:
        found = await to_thread.run_sync(socket.getaddrinfo, host, None, abandon_on_cancel=True)
    except OSError:
        return Within.NOTHING
    ips = {_address(str(where[0])) for *_, where in found}
    networks = {Within.NOTHING if ip is None else _network(ip) for ip in ips} or {Within.NOTHING}
    return Within.NOTHING if Within.NOTHING in networks else max(networks)


def _network(ip: _Address) -> Within:
    if ip.is_global:
        return Within.NOTHING
    return Within.MACHINE if ip.is_loopback else Within.PRIVATE


def _address(host: str) -> _Address | None:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return ipaddress.IPv4Address(ip.packed[12:])
        return ip.ipv4_mapped or ip
    return ip
