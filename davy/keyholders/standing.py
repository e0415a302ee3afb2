"""Which orders a LIFT or an INSTALL must name, as one signer knows them.

A signature may exist of every HALT that a signer released a share for, whether or not anybody was seen to use it: who
kept one back could use it right after the LIFT. So a LIFT that frees a scope must name all of them that cover it, and
ends them in advance. Others are only shown as what stays stopped: to leave those is what a LIFT by ids is for.

An INSTALL must carry every HALT that was not lifted and every Raise that was not lowered: what it leaves out ends with
the old roster. A HALT that ended by itself is no exception, for no signer knows which models are systemic. Where there
are more than an order can name, those that were signed here come first, and the rest is shown as what ends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from davy.killswitch.brake import has_lapsed
from davy.killswitch.clocks import Clocks
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, Misconfigured, Misdirected
from davy.protocol.limits import (
    MAX_BRAKE_ORDERS,
    MAX_CEREMONY_BYTES,
    MAX_NAMED_ORDERS,
    MAX_ORDER_BYTES,
    MAX_RELEASED,
    MAX_SHOWN_ORDERS,
    SIGNER_SKEW_MS,
)
from davy.protocol.order import (
    Extend,
    Global,
    Halt,
    Install,
    Lease,
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
    VerifiedOrder,
    check_order,
    open_order,
    order_id,
)
from davy.protocol.words import UnixMillis

_NAMED: Final[dict[type[OrderAction], tuple[type[OrderAction], ...]]] = {
    Lower: (Raise,),
    Install: (Halt, Raise, Lease, Lower),
}
"""The kinds that an action names; HALTs where it does not stand here."""


_FRAME: Final = 4_096
"""What surrounds orders in a message: its other fields, and a reason or a sentence."""
_log = logging.getLogger(__name__)


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

    async def drop(self, order: OrderId) -> None: ...

    async def keep_drill(self, signed: bytes) -> None:
        """Remember the newest drill; it stops nothing, and one is enough."""
        ...

    async def drill(self) -> bytes | None: ...

    async def orders(self) -> list[bytes]: ...

    async def signed(self) -> list[bytes]: ...


class SteadyJournal:
    """A journal that takes orders that stop although the disk takes none: in memory until it does.

    One that a restart forgets can only leave something stopped for longer, which another LIFT ends.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._unwritten: dict[OrderId, bytes] = {}

    async def keep(self, order: OrderId, body: bytes) -> None:
        """See `Journal.keep`."""
        await self._journal.keep(order, body)

    async def keep_stop(self, order: OrderId, body: bytes) -> None:
        """Remember an order that stops; what the disk does not take is written with a later question."""
        self._unwritten[order] = body
        if len(self._unwritten) > MAX_RELEASED:
            del self._unwritten[next(iter(self._unwritten))]
        if (fault := await self._write()) is not None:
            _log.warning(
                "order %s stops something, so a share for it leaves although it is not written down here (%s); "
                "make room before you restart: it is only in memory until then",
                order.hex()[:16],
                fault,
            )

    async def keep_signed(self, order: OrderId, signed: bytes) -> None:
        await self._journal.keep_signed(order, signed)

    async def drop(self, order: OrderId) -> None:
        self._unwritten.pop(order, None)
        await self._journal.drop(order)

    async def keep_drill(self, signed: bytes) -> None:
        """See `Journal.keep_drill`."""
        await self._journal.keep_drill(signed)

    async def drill(self) -> bytes | None:
        return await self._journal.drill()

    async def orders(self) -> list[bytes]:
        """Return those on the disk, and those that it has not taken yet."""
        await self._write()
        unwritten = list(self._unwritten.values())  # first: one may be written while the disk is read
        return list(dict.fromkeys([*await self._journal.orders(), *unwritten]))

    async def signed(self) -> list[bytes]:
        await self._write()  # every question asks who is in office, and so comes here
        return await self._journal.signed()

    async def _write(self) -> Misconfigured | None:
        for order, body in list(self._unwritten.items()):
            try:
                await self._journal.keep(order, body)
            except Misconfigured as e:  # StoreFailed is one
                return e
            self._unwritten.pop(order, None)
        return None


class Known(NamedTuple):
    """What a signer knows, by id; each with its exact bytes."""

    orders: dict[OrderId, tuple[bytes, Order]]
    ended: frozenset[OrderId]
    """HALTs that a whole LIFT names, and Raises that a whole Lower does."""
    released: frozenset[OrderId]
    """Those that a share was released for, here."""
    whole: dict[OrderId, bytes]
    """Those that are signed, with their signatures."""

    def lasting(self) -> list[tuple[OrderId, bytes, Order]]:
        """What nothing ended, that which was signed here first: whoever stole a key put nothing among it."""
        found = [(i not in self.released, i, body, o) for i, (body, o) in self.orders.items() if i not in self.ended]
        return [(i, body, o) for _, i, body, o in sorted(found, key=lambda each: each[:2])]


class Left(NamedTuple):
    """What a LIFT leaves in force, or an INSTALL does not carry on."""

    must_name: tuple[bytes, ...]
    """HALTs that would keep stopped what a LIFT frees; HALTs and Raises that would end with the old roster."""
    rest: tuple[Order, ...]
    """HALTs of other scopes, which stay; LEASEs and Lowers, which end."""


async def known(journal: Journal) -> Known:
    """Read the journal.

    Raises
    ------
    Malformed, Misconfigured
        An entry is broken: what was signed here is not known any more.
    """
    orders: dict[OrderId, tuple[bytes, Order]] = {}
    ended: set[OrderId] = set()
    whole: dict[OrderId, bytes] = {}
    for body in await journal.orders():
        orders[order_id(body)] = (body, decode(body, Order, limit=MAX_ORDER_BYTES))
    released = frozenset(orders)
    for raw in await journal.signed():
        signed, order = open_order(raw)
        i = order_id(signed.order)
        orders[i], whole[i] = (signed.order, order), raw
        if isinstance(order.action, Lift | Lower):
            ended.update(named_ids(order.action))
    return Known(orders, frozenset(ended), released, whole)


async def keep_whole(journal: Journal, v: VerifiedOrder, now: UnixMillis) -> None:
    """Remember a whole order, unless it has lapsed, or its roster signed more of its kind than a brake keeps.

    So whoever stole a key fills nobody's journal: LIFTs, INSTALLs and what comes from the ledger still have room.

    Raises
    ------
    StoreFailed, Malformed, Misconfigured
    """
    if isinstance(v.order.action, Lease):
        await drop_lapsed(journal, now)
    if has_lapsed(v.order, Clocks(now, None)):
        return
    there = {order_id(signed.order): order for signed, order in map(open_order, await journal.signed())}
    like = [o for o in there.values() if o.roster == v.order.roster and _room(o) == _room(v.order)]
    if v.id not in there and len(like) <= MAX_BRAKE_ORDERS:
        await journal.keep_signed(v.id, v.raw)


async def drop_lapsed(journal: Journal, now: UnixMillis) -> None:
    """Forget LEASEs that nobody takes any more, or a keyholder that signs for long enough could sign no more.

    Raises
    ------
    StoreFailed, Malformed, Misconfigured
    """
    k = await known(journal)
    for i, (_, order) in k.orders.items():
        if has_lapsed(order, Clocks(now - SIGNER_SKEW_MS, None)):
            await journal.drop(i)


def _room(o: Order) -> type[Install | Lease] | None:
    """Which orders one takes the room of in a journal, as in a brake."""
    match o.action:
        case Install():
            return Install
        case Lease():
            return Lease
        case _:
            return None


def named_ids(action: OrderAction) -> tuple[OrderId, ...]:
    """Return the ids of the orders that one names."""
    match action:
        case Lift(halts=halts):
            return halts
        case Extend(halt=halt):
            return (halt,)
        case Lower(raises=raises):
            return raises
        case Install(carried=carried):
            return carried
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
    kinds = _NAMED.get(type(action), (Halt,))
    found: list[Order] = []
    for i in named_ids(action):
        if i not in by_id:
            raise Misdirected(f"the order {i.hex()[:16]}… that this one names is not known here; send it along")
        order = opened(by_id[i])
        if not isinstance(order.action, kinds):
            names = " or ".join(kind.__name__.upper() for kind in kinds)
            raise Malformed(f"the order {i.hex()[:16]}… is no {names}; name another")
        found.append(order)
    return tuple(found)


def left_of(action: OrderAction, named: Sequence[Order], k: Known, now: UnixMillis) -> Left:
    """Sort what an order leaves out of what this signer knows, into what it must name and the rest.

    Parameters
    ----------
    named
        The orders that it names (`named_orders`).
    """
    match action:
        case Lift():
            return _left_standing(action, named, k)
        case Install():
            return _left_behind(action, k, now)
        case _:
            return Left((), ())


def in_force(k: Known, now: UnixMillis) -> list[bytes]:
    """What a new roster should carry on, as it is known here: all that stops, and what permits and has not ended."""
    found = k.lasting()
    return [body for _, body, o in found if _stops(o)] + [body for _, body, o in found if _permits(o, now)]


def _stops(o: Order) -> bool:
    return isinstance(o.action, Halt | Raise)


def _permits(o: Order, now: UnixMillis) -> bool:
    return isinstance(o.action, Lower) or (isinstance(o.action, Lease) and now < o.end)


def _left_behind(install: Install, k: Known, now: UnixMillis) -> Left:
    stops = [(i, body, o) for i, body, o in k.lasting() if _stops(o)]
    left = [(body, o) for i, body, o in stops if i not in install.carried]
    ends = [o for i, _, o in k.lasting() if i not in install.carried and _permits(o, now)]
    if len(stops) > MAX_NAMED_ORDERS == len(install.carried):  # or who stole the HALT key could keep its successor out
        return Left((), (*(o for _, o in left), *ends))
    return Left(tuple(body for body, _ in left), tuple(ends))


def _left_standing(lift: Lift, freed: Sequence[Order], k: Known) -> Left:
    """HALTs that a LIFT does not name, and that no whole LIFT ended. One that is full need name no more.

    What it leaves stays stopped, so that costs no more than another LIFT.
    """
    must: list[bytes] = []
    stay: list[Order] = []
    freed_targets = [o.action.target for o in freed if isinstance(o.action, Halt)]
    is_full = len(lift.halts) >= MAX_SHOWN_ORDERS
    for i, body, order in k.lasting():
        if not isinstance(order.action, Halt) or i in lift.halts:
            continue
        if not is_full and any(keeps_stopped(order.action.target, t) for t in freed_targets):
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


def claimed(left: Left, k: Known) -> tuple[bytes, ...]:
    """What a signer says is missing, as its answer takes it: whole orders where there are any."""
    return fitting([k.whole.get(order_id(body), body) for body in left.must_name[:MAX_SHOWN_ORDERS]])


def fitting(bodies: Iterable[bytes], beside: int = 0) -> tuple[bytes, ...]:
    """The first of some orders, as many as one message between keyholders carries beside so many bytes."""
    found: list[bytes] = []
    room = MAX_CEREMONY_BYTES - _FRAME - beside
    for body in bodies:
        room -= len(body) + 8
        if room < 0:
            break
        found.append(body)
    return tuple(found)


def opened(body: bytes) -> Order:
    """Decode an order's bytes and check its form; no signature is there to be checked.

    Raises
    ------
    TooLarge, Malformed
    """
    order = decode(body, Order, limit=MAX_ORDER_BYTES)
    check_order(order)
    return order
