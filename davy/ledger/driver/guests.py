"""Who is connected to the front door: so many in all, so many from one address, and nobody who does not read.

A connection takes one of the files that a process may have open, and a ledger that has none left can neither read nor
write its own. So some are always left, and whoever comes when there is no room is hung up on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections.abc import Callable
from typing import Final, Protocol, cast

_MOST: Final = 2_000
_A_QUARTER: Final = 4
_IPV6_BITS: Final = 64
"""Of an address: what one customer of a network has to himself."""


class _Server(Protocol):
    """`aiohttp.web.Server`: makes a protocol for a connection, and knows those whose connection is not lost."""

    @property
    def connections(self) -> list[asyncio.Protocol]: ...

    def __call__(self) -> asyncio.Protocol: ...


class _Guest:
    def __init__(self, transport: asyncio.Transport, origin: str) -> None:
        self.transport, self.origin = transport, origin
        self.unread = 0


def room() -> int:
    """For how many there is room: half of the files that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, soft // 2)


class Guests:
    """The connections of one server.

    Parameters
    ----------
    places
        For how many there is room; a quarter of it for those of one address, except this machine's own, from which all
        come where something stands in front.
    """

    def __init__(self, server: object, places: int) -> None:
        self._server = cast("_Server", server)
        self._places = places
        self._known: dict[asyncio.Protocol, _Guest] = {}

    def protocol(self) -> asyncio.Protocol:
        """What a listener makes for each that comes."""
        return _AtTheDoor(self._come)

    def drop_idle_readers(self) -> None:
        """Hang up on those who have read nothing of what waits for them since the last call."""
        for guest in self._present().values():
            unread = guest.transport.get_write_buffer_size()
            if unread and unread == guest.unread:
                guest.transport.abort()
            guest.unread = unread

    def _come(self, transport: asyncio.Transport) -> None:
        present = self._present()
        peer: tuple[str, ...] | str | None = transport.get_extra_info("peername")
        whose = origin(peer[0] if isinstance(peer, tuple) else None)
        beside = sum(guest.origin == whose for guest in present.values()) if whose else 0
        if len(present) >= self._places or beside >= max(self._places // _A_QUARTER, 1):
            transport.abort()
            return
        protocol = self._server()
        present[protocol] = _Guest(transport, whose)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _present(self) -> dict[asyncio.Protocol, _Guest]:
        alive = set(self._server.connections)
        self._known = {protocol: guest for protocol, guest in self._known.items() if protocol in alive}
        return self._known


class _AtTheDoor(asyncio.Protocol):
    def __init__(self, come: Callable[[asyncio.Transport], None]) -> None:
        self._come = come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._come(cast("asyncio.Transport", transport))


def origin(host: str | None) -> str:
    """Whose share of the places a caller takes: its address, of IPv6 its network; empty for this machine, or nobody."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return ""
    bits = _IPV6_BITS if address.version == 6 else address.max_prefixlen
    return str(ipaddress.ip_network((address, bits), strict=False))
