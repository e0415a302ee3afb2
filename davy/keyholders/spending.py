"""How long the allowance of the HALT key lets an order last, by the orders that one signer knows.

A node counts from the block that recorded each order, and by model; a signer knows neither the blocks nor what is whose
descendant. So this counts from the moment of issue, and what names the same: whoever signs is told before that a HALT
will end sooner than it says, and a node that knows more orders of the same may end it sooner still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from davy.keyholders.standing import Known, keeps_stopped
from davy.killswitch.allowance import Span, intersect, within_allowance
from davy.protocol.limits import ALLOWANCE_WINDOW_MS
from davy.protocol.order import Extend, GroupKey, Halt, Lift, Order, OrderId, Target
from davy.protocol.words import UnixMillis


class Allowed(NamedTuple):
    """What the allowance leaves of an order, for an ordinary model."""

    used: int
    """Of it, in milliseconds, within the window before the order begins to count."""
    until: UnixMillis
    """When it ends what the order stops: the order's own end, or sooner."""


def allowed(o: Order, named: Sequence[Order], k: Known) -> Allowed | None:
    """Count a HALT or an EXTEND by the HALT key; None of what uses no allowance.

    Parameters
    ----------
    named
        The HALT that an EXTEND names (`named_orders`).
    """
    match o.action:
        case Halt(target=target, authority=GroupKey.HALT):
            own = Span(o.issued, o.end)
        case Extend(previous_end=previous_end) if named and isinstance(named[0].action, Halt):
            target, own = named[0].action.target, Span(previous_end, o.end)
        case _:
            return None
    spent = [*_spent(target, k), *_extended(o, named)]
    window = Span(own.start - ALLOWANCE_WINDOW_MS, own.start)
    used = sum(span.end - span.start for span in intersect([window], within_allowance(spent)))
    until = own.start
    for span in intersect([own], within_allowance([*spent, own])):
        if span.start <= until:
            until = span.end
    return Allowed(used, until)


def _extended(o: Order, named: Sequence[Order]) -> list[Span]:
    """What the HALT that an EXTEND names counts for up to it, though no whole order of it may be known here."""
    if not isinstance(o.action, Extend):
        return []
    (halt,) = named
    by_lift = isinstance(halt.action, Halt) and halt.action.authority is GroupKey.LIFT
    return [Span(halt.end if by_lift else halt.issued, o.action.previous_end)]


def _spent(target: Target, k: Known) -> Iterator[Span]:
    """What whole HALTs of the same, and EXTENDs of these, count for; up to the LIFT."""
    orders = {i: k.orders[i][1] for i in k.whole}
    lifted: dict[OrderId, UnixMillis] = {}
    for o in orders.values():
        if isinstance(o.action, Lift):
            lifted |= {i: min(o.issued, lifted.get(i, o.issued)) for i in o.action.halts}
    for i, o in orders.items():
        match o.action:
            case Halt(target=other, authority=authority):
                halt, start, of_same = i, o.issued, keeps_stopped(other, target) and authority is GroupKey.HALT
            case Extend(halt=halt, previous_end=start):
                extended = orders.get(halt)
                of_same = (
                    extended is not None
                    and isinstance(extended.action, Halt)
                    and keeps_stopped(extended.action.target, target)
                )
            case _:
                continue
        if of_same:
            yield Span(start, min(o.end, lifted.get(halt, o.end)))
