"""What a set of orders amounts to: each HALT with its LIFT and EXTENDs, each class change, each LEASE that counts.

A function of the set alone; no clock is asked here. Orders that do not count (of a roster never in office, issued after
their roster was replaced) stay in the set, since one more INSTALL may change what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from davy.killswitch.allowance import Span
from davy.killswitch.leases import LeaseInForce
from davy.killswitch.roster import FOREVER, RosterChain
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

    It is in force on an ordinary model during `free`, and during `counted` as far as the allowance goes; on a systemic
    one from `begins` until `until`; never once it is `lifted`.
    """

    order: VerifiedOrder
    target: Target
    begins: UnixMillis
    free: tuple[Span, ...]
    """What no allowance bounds: stopped by the LIFT key, or before the ledger recorded it."""
    counted: tuple[Span, ...]
    """Up to the LIFT."""
    lifted: UnixMillis | None
    """When the first LIFT of it was issued."""
    until: UnixMillis

    @property
    def ends(self) -> UnixMillis:
        """When it ends by itself on an ordinary model, the allowance aside."""
        return max(span.end for span in (*self.free, *self.counted))

    @property
    def voids(self) -> UnixMillis:
        """LEASEs up to then are void.

        A HALT dated ahead voids none of those that were given after it was lifted, or whoever stole the HALT key
        could stop systemic models beyond any LIFT.
        """
        issued = self.order.order.issued
        return issued if self.lifted is None else min(issued, self.lifted)


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


def read(orders: Iterable[VerifiedOrder], chain: RosterChain, recorded: Mapping[OrderId, UnixMillis]) -> Book:
    """Read what counts out of a set of orders, and of the block times at which the ledger recorded them."""
    counting = [(v, ends) for v in orders if (ends := chain.ends(v)) is not None]
    counting.sort(key=lambda pair: (pair[0].order.issued, pair[0].id))
    enders: dict[OrderId, list[VerifiedOrder]] = {}
    extensions: dict[OrderId, list[tuple[Span, OrderId]]] = {}
    for v, _ in counting:
        match v.order.action:
            case Lift(halts=named) | Lower(raises=named):
                for i in named:
                    enders.setdefault(i, []).append(v)
            case Extend(halt=halt, previous_end=previous_end):
                extensions.setdefault(halt, []).append((Span(previous_end, v.order.end), v.id))
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
            case Halt(target=target, authority=authority):
                lifted = ended(v, Lift)
                begins = v.order.issued - HALT_LEAD_MS
                free: list[Span] = []
                counted: list[Span] = []
                for span, i in _reach((Span(begins, v.order.end), v.id), extensions.get(v.id, [])):
                    start, end = span.start, min(span.end, until, FOREVER if lifted is None else lifted)
                    bounded = i != v.id or authority is GroupKey.HALT
                    counts = max(start, recorded[i]) if bounded and i in recorded else end
                    free.append(Span(start, min(counts, end)))
                    counted.append(Span(counts, end))
                halts.append(HaltEntry(v, target, begins, tuple(free), tuple(counted), lifted, until))
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


def _reach(own: tuple[Span, OrderId], extensions: list[tuple[Span, OrderId]]) -> list[tuple[Span, OrderId]]:
    """A HALT's own time, and that of the EXTENDs which begin where it, or an EXTEND before them, ends."""
    reached, ends = [own], {own[0].end}
    for extension in sorted(extensions):  # each ends after it begins, so none can depend on a later one
        if extension[0].start in ends:
            reached.append(extension)
            ends.add(extension[0].end)
    return reached
