"""The chain of rosters, from the genesis alone, and what becomes of a replaced roster's orders.

Each INSTALL names the roster before it and is signed by that one's LIFT key. Two that install different rosters after
the same one prove that a LIFT key was stolen or misused. No rule can tell them apart that a thief could not turn to his
use, so nothing runs until one is known to stand on the ledger, which takes no second.

A replaced roster's order counts only if it was issued before the replacement: evicted members cannot go on. As they can
still date back, an order outlives its roster only when the INSTALL carries it; others end with a delay that leaves the
new keyholders time to sign anew. A roster is replaced when the ledger records the INSTALL, not when that was signed:
who keeps one back and hands it in later ends nothing that the old roster halted meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from davy.protocol.errors import UnknownRoster
from davy.protocol.limits import HALT_TERM_MS, LEASE_GRACE_MS, SIGNER_SKEW_MS
from davy.protocol.order import Install, Lease, Lift, Lower, OrderId, VerifiedOrder, open_order, verify_order
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.words import ChainId, Digest, UnixMillis

FOREVER: Final = 2**64
"""Later than any moment on a wire."""
PERMITS: Final = (Lift, Lease, Lower, Install)
"""Actions that let something run; the others stop, or do nothing."""


class Link(NamedTuple):
    """A roster, and by which INSTALL it is in office; the genesis' by none."""

    roster: Digest
    install: OrderId
    issued: UnixMillis
    recorded: UnixMillis | None
    carried: frozenset[OrderId]

    @property
    def since(self) -> UnixMillis:
        """When the roster before was replaced, for what stops; `FOREVER` until the ledger has recorded it."""
        return FOREVER if self.recorded is None else max(self.issued, self.recorded)

    @property
    def permits_since(self) -> UnixMillis:
        """The same for what permits: where the ledger's word is missing, the sooner moment."""
        return self.issued if self.recorded is None else self.since


class RosterChain(NamedTuple):
    """The rosters in office, first to last, and the INSTALLs that dispute who comes next."""

    links: tuple[Link, ...]
    rivals: tuple[VerifiedOrder, ...]

    def place(self, roster: Digest) -> int | None:
        """Where in the chain a roster stands; None if it never was in office."""
        return next((n for n, link in enumerate(self.links) if link.roster == roster), None)

    def after(self, place: int) -> tuple[Link, ...]:
        """The rosters that came after one in the chain."""
        return self.links[place + 1 :]

    def ends(self, v: VerifiedOrder) -> UnixMillis | None:
        """When an order ends with its roster: `FOREVER` in office or carried, None if it never counts."""
        place = self.place(v.order.roster)
        if place is None:
            return None
        permits = isinstance(v.order.action, PERMITS)
        later = [(link.permits_since if permits else link.since, link) for link in self.after(place)]
        if later and v.order.issued > later[0][0] + SIGNER_SKEW_MS:
            return None
        delay = LEASE_GRACE_MS if permits else HALT_TERM_MS
        return min([FOREVER, *(since + delay for since, link in later if v.id not in link.carried)])

    def may_end(self, ender: VerifiedOrder, ended: VerifiedOrder) -> bool:
        """Whether a LIFT or Lower has power over an order: one of its own or an earlier roster, not carried past it."""
        mine, its = self.place(ender.order.roster), self.place(ended.order.roster)
        if mine is None or its is None or its > mine or self.ends(ender) is None:
            return False
        return all(ended.id not in link.carried for link in self.after(mine))


def follow(
    first: Roster | None, installs: Iterable[VerifiedOrder], recorded: Mapping[OrderId, UnixMillis]
) -> RosterChain:
    """Return the chain as far as it is undisputed. Of INSTALLs of one roster that with the smallest id counts."""
    if first is None:
        return RosterChain((), ())
    after: dict[Digest, dict[Digest, tuple[VerifiedOrder, Install]]] = {}
    for v in sorted(installs, key=lambda v: (v.id not in recorded, v.id)):
        action = v.order.action
        if isinstance(action, Install):
            after.setdefault(v.order.roster, {}).setdefault(roster_digest(action.roster), (v, action))
    links = [Link(roster_digest(first), b"", 0, 0, frozenset())]
    while rivals := after.get(links[-1].roster):
        chosen = {r: (v, x) for r, (v, x) in rivals.items() if v.id in recorded} or rivals
        if len(chosen) > 1:
            return RosterChain(tuple(links), tuple(sorted((v for v, _ in chosen.values()), key=lambda v: v.id)))
        ((roster, (v, install)),) = chosen.items()
        links.append(Link(roster, v.id, v.order.issued, recorded.get(v.id), frozenset(install.carried)))
    return RosterChain(tuple(links), ())


def admit(raw: bytes, rosters: Mapping[Digest, Roster], chain: ChainId) -> VerifiedOrder:
    """Open and verify an order from outside, under the roster it names.

    Raises
    ------
    UnknownRoster
        Its INSTALL is not known here. Nothing is kept for later: whoever sends an order has its INSTALLs.
    TooLarge, Malformed, Misdirected, BadSignature
        See `davy.protocol.order.verify_order`.
    """
    _, order = open_order(raw)
    roster = rosters.get(order.roster)
    if roster is None:
        raise UnknownRoster(f"this roster of group epoch {order.epoch} is not known here; send its INSTALLs first")
    return verify_order(raw, roster, chain)
