"""The verdict of a brake on a subject at given clocks: permitted, halted, lapsed or stale.

Where clocks or orders leave a doubt, it is the verdict that stops more.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeAlias

from davy.killswitch.allowance import intersect, unite, within_allowance
from davy.killswitch.book import HaltEntry
from davy.killswitch.brake import BrakeState
from davy.killswitch.clocks import Clocks
from davy.killswitch.leases import LeaseInForce, last_lease
from davy.killswitch.roster import FOREVER
from davy.killswitch.scope import Subject
from davy.protocol.limits import HALT_TERM_MS
from davy.protocol.manifest import ModelClass
from davy.protocol.order import VerifiedOrder
from davy.protocol.words import ModelId, UnixMillis


class Cause(StrEnum):
    """Why something is halted."""

    ORDER = "order"
    DISPUTE = "dispute"
    """Two rosters claim to be the next; see `davy.killswitch.roster`."""
    FULL = "full"
    """A roster's keys signed more orders than a brake keeps."""


class Permitted(NamedTuple):
    """Until the later clock, or for freshness the own one, reaches `until`; unless an order arrives."""

    until: UnixMillis


class Halted(NamedTuple):
    """By `order`, which anyone can verify; it ends by itself once all clocks are past `ends`, or never."""

    order: VerifiedOrder
    cause: Cause
    ends: UnixMillis | None


class Lapsed(NamedTuple):
    """A systemic model without a LEASE: the last one known ran out at `ended`, or none is known that is not void."""

    ended: UnixMillis | None


class Stale(NamedTuple):
    """A systemic model on a node that sees neither the chain nor a heartbeat; the newest was of `seen`."""

    seen: UnixMillis | None


Verdict: TypeAlias = Permitted | Halted | Lapsed | Stale


def verdict(s: BrakeState, x: Subject, at: Clocks) -> Verdict:
    """Whether `x` may run now: it must be covered by no HALT in force; if systemic, also be leased, and fresh.

    A HALT is in force once the later clock has reached its beginning, and until both are past its end; a LEASE lapses
    when either is.
    """
    if s.succession.rivals:
        return Halted(s.succession.rivals[0], Cause.DISPUTE, None)
    for place, link in enumerate(s.succession.links):
        later = s.succession.after(place)
        ends = later[0].since + HALT_TERM_MS if later and later[0].recorded is not None else None
        if link.roster in s.overflows and (ends is None or at.behind < ends):
            return Halted(s.overflows[link.roster], Cause.FULL, ends)
    halts = s.naming.halts(x)
    if model_class(s, x, at) is ModelClass.SYSTEMIC:
        return _systemic(s, x, halts, at)
    return _ordinary(s, x, halts, at)


def model_class(s: BrakeState, x: Subject, at: Clocks) -> ModelClass:
    """The class that counts: systemic by a Raise in force on it or an ancestor; else ordinary by a Lower; else its own.

    A Lower stands above the choice of subnet and registrant, and ends only the Raises that it names.
    """
    if any(at.behind < r.until for r in s.naming.raises(x)):
        return ModelClass.SYSTEMIC
    return ModelClass.ORDINARY if any(at.ahead < end for end in _lowered(s, x)) else x.model_class


def _lowered(s: BrakeState, x: Subject) -> list[UnixMillis]:
    return [low.until for low in s.naming.lowers(x)]


def _ordinary(s: BrakeState, x: Subject, halts: list[HaltEntry], at: Clocks) -> Permitted | Halted:
    allowed = within_allowance(span for h in halts for span in h.counted)
    changes = [end for end in _lowered(s, x) if end > at.ahead]
    for h in halts:
        if h.lifted is not None:
            continue
        spans = unite([*h.free, *intersect(h.counted, allowed)])
        ends = [span.end for span in spans if span.start <= at.ahead and at.behind < span.end]
        if ends:
            return Halted(h.order, Cause.ORDER, max(ends))
        changes += [span.start for span in spans if span.start > at.ahead]
    return Permitted(min(changes, default=FOREVER))


def _systemic(s: BrakeState, x: Subject, halts: list[HaltEntry], at: Clocks) -> Verdict:
    begun = [h for h in halts if h.begins <= at.ahead]
    for h in begun:
        if h.lifted is None and at.behind < h.until:
            return Halted(h.order, Cause.ORDER, None if h.until == FOREVER else h.until)
    changes = [h.begins for h in halts if h.begins > at.ahead]
    if x.model is None:
        return Permitted(min(changes, default=FOREVER))
    lease = _lease(s, x.model.id, begun, at)
    if lease is None or at.ahead >= lease.lapses:
        return Lapsed(None if lease is None else lease.lapses)
    if at.fresh_until is None:
        return Stale(max((t for t in (at.block, at.heartbeat) if t is not None), default=None))
    return Permitted(min(lease.lapses, at.fresh_until, *changes))


def lease_of(s: BrakeState, x: Subject, at: Clocks) -> LeaseInForce | None:
    """The LEASE by which a systemic model runs, or ran until it lapsed; None without one that is not void."""
    if x.model is None:
        return None
    return _lease(s, x.model.id, [h for h in s.naming.halts(x) if h.begins <= at.ahead], at)


def _lease(s: BrakeState, model: ModelId, begun: list[HaltEntry], at: Clocks) -> LeaseInForce | None:
    voided = max((h.voids for h in begun), default=None)
    return last_lease(s.naming.leases(model), model, voided, at)
