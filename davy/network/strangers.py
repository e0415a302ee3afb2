"""Addresses that strangers wrote down: which are asked, and how their names are looked up.

Who has a hotkey may name any host on the ledger: also one in the private network of who reads it, or a name that its
owner's slow server resolves. So such names are looked up in threads of their own, which no process waits for at its
end, before anything is sent to them, and what they resolve to is looked at as well.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from davy.network.room import Rank, Room

LOOK_UPS: Final = 160
"""At a time: a server that never answers holds each of them for some 20 s, and a file of the process."""
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_Resolved = list[tuple[socket.AddressFamily, int, str]]
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
    look_ups
        For the threads; one for a whole process.
    """

    def __init__(self, *, within: Within = Within.NOTHING, look_ups: Room | None = None) -> None:
        self.within = within
        self._look_ups = look_ups or Room(LOOK_UPS)
        self._found: dict[str, _Resolved] = {}

    def admits(self, host: str) -> bool:
        """Whether anything is sent to an address; of a name that shows when it is looked up."""
        ip = _address(host)
        if ip is None:
            return True
        if ip.is_unspecified or ip.is_multicast or ip.is_link_local:
            return False
        return ip.is_global or self.within >= (Within.MACHINE if ip.is_loopback else Within.PRIVATE)

    async def find(self, host: str, rank: Rank = (0, 0)) -> None:
        """Look a name up for `resolve`, as soon as there is a thread for it.

        Raises
        ------
        OSError
            There is no such name.
        """
        if host not in self._found and _address(host) is None:
            await self._look_ups.take(rank)
            self._found[host] = await _looked_up(host, self._look_ups.leave)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See aiohttp; only what `admits` an address is returned, and one address of each family.

        Raises
        ------
        OSError
            There is no such name, or all its addresses are in a private network.
        """
        await self.find(host)
        asked = [each for each in self._found.get(host, []) if family in (socket.AF_UNSPEC, each[0])]
        # One of each family: a name with a hundred addresses is not to open a hundred connections.
        kept = {
            kind: ResolveResult(hostname=host, host=ip, port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for kind, protocol, ip in reversed(asked)
            if self.admits(ip)
        }
        if not kept:
            raise OSError("its name leads into a private network")
        return list(kept.values())

    async def close(self) -> None:
        """Nothing is kept open."""


def is_numeric(host: str) -> bool:
    """Whether a host is an address, for which nothing needs to be looked up."""
    return _address(host) is not None


async def lies_within(host: str) -> Within:
    """Which network a host is in, by its address or by all those of its name."""
    if (ip := _address(host)) is not None:
        return _network(ip)
    try:
        found = await _looked_up(host, lambda: None)
    except OSError:
        return Within.NOTHING
    ips = {_address(ip) for *_, ip in found}
    networks = {Within.NOTHING if ip is None else _network(ip) for ip in ips} or {Within.NOTHING}
    return Within.NOTHING if Within.NOTHING in networks else max(networks)


async def _looked_up(host: str, ended: Callable[[], None]) -> _Resolved:
    """Look a name up in a thread that holds up nothing: `ended` is called when it has ended, also after a cancellation.

    Raises
    ------
    OSError
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Resolved | OSError] = loop.create_future()

    def told(found: _Resolved | OSError) -> None:
        ended()
        if not answer.done():
            answer.set_result(found)

    def look_up() -> None:
        found: _Resolved | OSError
        try:
            rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = [(kind, protocol, str(where[0])) for kind, _, protocol, _, where in rows]
        except OSError as e:
            found = e
        except Exception as e:  # what is no name at all, such as one with a label of a hundred characters
            found = OSError(f"this name cannot be looked up: {e}")
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(told, found)

    try:
        threading.Thread(target=look_up, daemon=True, name="a stranger's name").start()
    except RuntimeError as e:
        told(OSError(f"no thread could be begun: {e}"))
    found = await answer
    if isinstance(found, OSError):
        raise found
    return found


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
