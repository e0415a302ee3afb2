"""What a set of orders amounts to: each HALT with its LIFT and EXTENDs, each class change, each LEASE that counts.

A function of the set alone; no clock is asked here. Orders that do not count (of a roster never in office, issued after
their roster was replaced) stay in the set, since one more INSTALL may change what counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from davy.killswitch.allowance import Span
from davy.killswitch.leases import LeaseInForce
from davy.killswitch.roster import RosterChain
from davy.protocol.limits import HALT_LEAD_MS
from davy.protocol.order import (
    Extend,
    GroupKey,
    Halt,
    Lease,
    Lift,
    Lower,
    Models,
    OrderId,
    Raise,
    Target,
    VerifiedOrder,
)
from davy.protocol.words import ModelId, UnixMillis


class HaltEntry(NamedTuple):
    """A HALT that counts.

    It is in force on an ordinary model during `spans`, as far as the allowance goes if they are `counted`; on a
    systemic one from `begins` on; never longer than `until`, nor once it is `lifted`.
    """

    order: VerifiedOrder
    target: Target
    begins: UnixMillis
    spans: tuple[tuple[Span, bool], ...]
    """Each with whether it counts in the allowance."""
    lifted: UnixMillis | None
    """When the first LIFT of it was issued."""
    until: UnixMillis

    @property
    def voids(self) -> UnixMillis:
        """LEASEs up to then are void.

        A HALT dated ahead voids none of those that were given after it was lifted, or whoever stole the HALT key
        could stop systemic models beyond any LIFT.
        """
        issued = self.order.order.issued
        return issued if self.lifted is None else min(issued, self.lifted)

    def counted(self) -> list[Span]:
        """What it asks of the allowance: nothing after it was lifted."""
        return self._until_lifted(counted=True)

    def uncounted(self) -> list[Span]:
        """What the LIFT key stopped, which no allowance bounds."""
        return self._until_lifted(counted=False)

    def _until_lifted(self, *, counted: bool) -> list[Span]:
        end = self.until if self.lifted is None else min(self.until, self.lifted)
        return [Span(s.start, min(s.end, end)) for s, c in self.spans if c is counted]


class RaiseEntry(NamedTuple):
    """A Raise that counts and that no Lower has ended."""

    models: Models
    until: UnixMillis


class LowerEntry(NamedTuple):
    """A Lower that counts."""

    models: tuple[ModelId, ...]
    until: UnixMillis


class Book(NamedTuple):
    """Everything that counts. HALTs by time of issue, then id."""

    halts: tuple[HaltEntry, ...]
    raises: tuple[RaiseEntry, ...]
    lowers: tuple[LowerEntry, ...]
    leases: tuple[LeaseInForce, ...]


def read(orders: Iterable[VerifiedOrder], chain: RosterChain) -> Book:
    """Read what counts out of a set of orders."""
    counting = [(v, ends) for v in orders if (ends := chain.ends(v)) is not None]
    counting.sort(key=lambda pair: (pair[0].order.issued, pair[0].id))
    enders: dict[OrderId, list[VerifiedOrder]] = {}
    extensions: dict[OrderId, list[Span]] = {}
    for v, _ in counting:
        match v.order.action:
            case Lift(halts=named) | Lower(raises=named):
                for i in named:
                    enders.setdefault(i, []).append(v)
            case Extend(halt=halt, previous_end=previous_end):
                extensions.setdefault(halt, []).append(Span(previous_end, v.order.end))
            case _:
                pass

    def ended(v: VerifiedOrder, by: type[Lift | Lower]) -> UnixMillis | None:
        powers = [e for e in enders.get(v.id, ()) if isinstance(e.order.action, by) and chain.may_end(e, v)]
        return min((e.order.issued for e in powers), default=None)

    halts: list[HaltEntry] = []
    raises: list[RaiseEntry] = []
    lowers: list[LowerEntry] = []
    leases: list[LeaseInForce] = []
    for v, until in counting:
        match v.order.action:
            case Halt(target=target) as halt:
                spans = _spans(v, halt, extensions.get(v.id, []))
                halts.append(HaltEntry(v, target, spans[0][0].start, spans, ended(v, Lift), until))
            case Raise(models=models):
                if ended(v, Lower) is None:
                    raises.append(RaiseEntry(models, until))
            case Lower(models=models):
                lowers.append(LowerEntry(models, until))
            case Lease(models=models):
                leases.append(LeaseInForce(models, v.order.issued, v.order.end, until))
            case _:
                pass
    return Book(tuple(halts), tuple(raises), tuple(lowers), tuple(leases))


def _spans(v: VerifiedOrder, halt: Halt, extensions: list[Span]) -> tuple[tuple[Span, bool], ...]:
    """The HALT's own time, and that of EXTENDs which begin where it, or an EXTEND before them, ends."""
    own = Span(v.order.issued - HALT_LEAD_MS, v.order.end)
    spans, ends = [(own, halt.authority is GroupKey.HALT)], {own.end}
    for extension in sorted(extensions):  # each ends after it starts, so none can depend on a later one
        if extension.start in ends:
            spans.append((extension, True))
            ends.add(extension.end)
    return tuple(spans)
