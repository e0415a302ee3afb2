"""Which HALTs a LIFT must name, as one signer knows them.

A signature may exist of every HALT that a signer released a share for, whether or not anybody was seen to use it: who
kept one back could use it right after the LIFT. So a LIFT that frees a scope must name all of them that cover it, and
ends them in advance. Others are only shown as what stays stopped: to leave those is what a LIFT by ids is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, Misdirected
from davy.protocol.limits import MAX_ORDER_BYTES
from davy.protocol.order import (
    Extend,
    Global,
    Halt,
    Lift,
    Lower,
    Miner,
    Models,
    Order,
    OrderAction,
    OrderId,
    Raise,
    Subnet,
    Target,
    check_order,
    open_order,
    order_id,
)


class Journal(Protocol):
    """What a keyholder released shares for, and whole orders that it saw; durable."""

    async def keep(self, order: OrderId, body: bytes) -> None:
        """Remember an order for which a share is about to be released.

        Raises
        ------
        StoreFailed, Misconfigured
            The share must not be released.
        """
        ...

    async def keep_signed(self, order: OrderId, signed: bytes) -> None: ...

    async def keep_drill(self, signed: bytes) -> None:
        """Remember the newest drill; it stops nothing, and one is enough."""
        ...

    async def drill(self) -> bytes | None: ...

    async def orders(self) -> list[bytes]: ...

    async def signed(self) -> list[bytes]: ...


class Known(NamedTuple):
    """What a signer knows, by id; each with its exact bytes."""

    orders: dict[OrderId, tuple[bytes, Order]]
    lifted: frozenset[OrderId]
    """HALTs that a whole LIFT names."""


class Left(NamedTuple):
    """What a LIFT leaves in force."""

    must_name: tuple[bytes, ...]
    """HALTs that would keep stopped what it frees."""
    stay: tuple[Order, ...]
    """HALTs of other scopes."""


async def known(journal: Journal) -> Known:
    """Read the journal.

    Raises
    ------
    Malformed, Misconfigured
        An entry is broken: what was signed here is not known any more.
    """
    orders: dict[OrderId, tuple[bytes, Order]] = {}
    lifted: set[OrderId] = set()
    for body in await journal.orders():
        orders[order_id(body)] = (body, decode(body, Order, limit=MAX_ORDER_BYTES))
    for raw in await journal.signed():
        signed, order = open_order(raw)
        orders[order_id(signed.order)] = (signed.order, order)
        if isinstance(order.action, Lift):
            lifted.update(order.action.halts)
    return Known(orders, frozenset(lifted))


def named_ids(action: OrderAction) -> tuple[OrderId, ...]:
    """Return the ids of the orders that one names."""
    match action:
        case Lift(halts=halts):
            return halts
        case Extend(halt=halt):
            return (halt,)
        case Lower(raises=raises):
            return raises
        case _:
            return ()


def named_orders(action: OrderAction, shown: Iterable[bytes], k: Known) -> tuple[Order, ...]:
    """Return the orders that one names: from the journal, or else as they came with the proposal.

    An id is the digest of an order's bytes, so nobody can show another order in its place.

    Raises
    ------
    Malformed
        One of them cannot be read, or is of another kind than the action ends or extends.
    Misdirected
        One is neither known nor shown: nobody signs what cannot be shown.
    """
    by_id = {i: body for i, (body, _) in k.orders.items()} | {order_id(body): body for body in shown}
    kind = Raise if isinstance(action, Lower) else Halt
    found: list[Order] = []
    for i in named_ids(action):
        if i not in by_id:
            raise Misdirected(f"the order {i.hex()[:16]}… that this one names is not known here; send it along")
        order = opened(by_id[i])
        if not isinstance(order.action, kind):
            raise Malformed(f"the order {i.hex()[:16]}… is no {kind.__name__.upper()}; name another")
        found.append(order)
    return tuple(found)


def left_standing(lift: Lift, freed: Sequence[Order], k: Known) -> Left:
    """Sort the HALTs that a LIFT does not name, and that no whole LIFT ended, into those it must name and others."""
    must: list[bytes] = []
    stay: list[Order] = []
    freed_targets = [o.action.target for o in freed if isinstance(o.action, Halt)]
    for i, (body, order) in sorted(k.orders.items()):
        if not isinstance(order.action, Halt) or i in lift.halts or i in k.lifted:
            continue
        if any(keeps_stopped(order.action.target, t) for t in freed_targets):
            must.append(body)
        else:
            stay.append(order)
    return Left(tuple(must), tuple(stay))


def keeps_stopped(halt: Target, freed: Target) -> bool:
    """Whether a HALT of one target still stops some of another."""
    match halt, freed:
        case Global(), _:
            return True
        case Subnet(), Subnet():
            return halt.netuid == freed.netuid
        case Miner(), Miner():
            return halt.hotkey == freed.hotkey
        case Models(), Models():
            pairs = ((halt.ids, freed.ids), (halt.files, freed.files), (halt.registrants, freed.registrants))
            return any(set(a) & set(b) for a, b in pairs)
        case _:
            return False


def opened(body: bytes) -> Order:
    """Decode an order's bytes and check its form; no signature is there to be checked.

    Raises
    ------
    TooLarge, Malformed
    """
    order = decode(body, Order, limit=MAX_ORDER_BYTES)
    check_order(order)
    return order
