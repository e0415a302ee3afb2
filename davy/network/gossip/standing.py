"""Whom a gossip process talks with: places, what an address may cost, and who is not talked with for a while.

Places for those that are dialled and for those that dial are counted apart: however many strangers come in, the peers
that the ledger names are dialled and kept. When the places for those that come in are taken, a peer that the node
knows gets the place of a stranger.

Peer ids cost nothing to make, so a ban keeps out a broken peer rather than an attacker; what an attacker can spend here
is bounded by the address that its connections come from.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from davy.network.meter import Meter, Rate, neighbourhood
from davy.protocol.ports import Clock
from davy.protocol.words import PublicKey, UnixMillis

_MAX_BANNED: Final = 4_096


class Bounds(NamedTuple):
    """How many peers, and how much of each."""

    dialled: int = 8
    accepted: int = 24
    greeting: int = 16
    """Connections that have not yet shown who they are."""
    address: Rate = Rate(1.0, 32)
    """New connections of one address (`davy.network.meter.neighbourhood`)."""
    all_addresses: Rate = Rate(10.0, 128)
    messages: Rate = Rate(50.0, 500)
    """Of one peer; what is beyond waits, and TCP holds the peer back."""
    asks: Rate = Rate(4.0, 64)
    """Pages that one peer is told."""
    odd: Rate = Rate(1.0, 64)
    """Orders of one peer that cannot be judged here."""
    bytes_a_second: Rate = Rate(512 * 1024.0, 4 * 1024 * 1024)
    ban_ms: int = 600_000
    greeting_s: float = 10.0
    silence_s: float = 30.0
    """After it a peer is gone, and so is one that takes so long to be written to."""
    beat_s: float = 3.0
    """Between two words to a peer when nothing happens."""


class Standing:
    """Who may come in."""

    def __init__(self, clock: Clock, bounds: Bounds) -> None:
        self._clock, self._bounds = clock, bounds
        self._addresses: Meter[str] = Meter(bounds.address, clock)
        self._all: Meter[None] = Meter(bounds.all_addresses, clock)
        self._banned: OrderedDict[PublicKey, UnixMillis] = OrderedDict()

    @property
    def banned(self) -> int:
        """Peers that are not talked with now."""
        now = self._clock.now()
        return sum(until > now for until in self._banned.values())

    def may_knock(self, address: str, greeting: int) -> bool:
        """Whether a new connection is looked at while `greeting` others have not shown who they are."""
        if greeting >= self._bounds.greeting:
            return False
        return not self._addresses.spend(neighbourhood(address)) and not self._all.spend(None)

    def ban(self, peer: PublicKey) -> None:
        """Do not talk with a peer for `Bounds.ban_ms`."""
        self._banned[peer] = self._clock.now() + self._bounds.ban_ms
        self._banned.move_to_end(peer)
        if len(self._banned) > _MAX_BANNED:
            self._banned.popitem(last=False)

    def is_banned(self, peer: PublicKey) -> bool:
        return self._banned.get(peer, 0) > self._clock.now()
