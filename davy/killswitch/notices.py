"""What a node's operator should hear before it stops: a LEASE that ends, one that has, and that the node is stale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from davy.killswitch.brake import BrakeState
from davy.killswitch.clocks import Clocks, clock_was_ahead, moment
from davy.killswitch.leases import days_warned
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Lapsed, lease_of, model_class, verdict
from davy.protocol.limits import FRESH_MS
from davy.protocol.manifest import ModelClass
from davy.protocol.words import ModelId


class Notice(NamedTuple):
    """Something to be told once; `topic` is a model's id, empty for the node itself."""

    topic: ModelId
    urgency: int
    """Told anew when it changes: 7, 3 and 1 days ahead, in the grace, at the end, and after a new LEASE."""
    text: str


STALE, AHEAD = 1, 2
_URGENCY = {7: 1, 3: 2, 1: 3, 0: 4}
_LAPSED = 5


def notices(s: BrakeState, serving: Iterable[Subject], at: Clocks, ahead: int = 0) -> list[Notice]:
    """Return what should be told now of what a node serves, and of the node.

    Parameters
    ----------
    s
        What permits must stand on the ledger: see `davy.killswitch.brake.on_record`.
    ahead
        See `davy.killswitch.guard.Guard.ahead`. What follows from that alone is not told besides.
    """
    if ahead > FRESH_MS and s.first is not None:
        mend = f"until {moment(at.own)}, or until you stop it and type `davy brake clock`"
        return [Notice(b"", AHEAD, f"{clock_was_ahead(ahead)}: it runs no systemic model {mend}")]
    found = {n.topic: n for x in serving if (n := _of_lease(s, x, at)) is not None}
    if at.fresh_until is None and s.first is not None:
        seen = f"the newest is of {moment(at.seen)}" if at.seen else "it never saw one"
        seen = f"{seen}, its clock says {moment(at.own)}"
        text = f"this node is stale: it sees neither blocks nor heartbeats ({seen}); no systemic model runs on it"
        found[b""] = Notice(b"", STALE, text)
    return list(found.values())


def _of_lease(s: BrakeState, x: Subject, at: Clocks) -> Notice | None:
    if x.model is None or model_class(s, x, at) is not ModelClass.SYSTEMIC:
        return None
    name = f"model {x.model.id.hex()[:16]}"
    lease = lease_of(s, x, at)
    if lease is None or at.ahead >= lease.lapses:
        if not isinstance(verdict(s, x, at), Lapsed):
            return None  # it is halted, which says more
        how = "has no LEASE that counts" if lease is None else f"had a LEASE that lapsed {moment(lease.lapses)}"
        return Notice(x.model.id, _LAPSED, f"{name} stands still: it {how}; ask the keyholders for one")
    days = days_warned(lease, at)
    if days is None:
        return None
    ends = f"ended {moment(lease.ends)}" if days == 0 else f"ends {moment(lease.ends)}, in {_within(days)}"
    text = f"the LEASE of {name} {ends}; without another it stops {moment(lease.lapses)}: ask the keyholders"
    return Notice(x.model.id, _URGENCY[days], text)


def _within(days: int) -> str:
    return "a day or less" if days == 1 else f"{days} days or less"
