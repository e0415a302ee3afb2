"""What signers say that a LIFT or an INSTALL has to name, and how far its coordinator heeds them.

A signer who released a share for a HALT refuses by itself what leaves that out; to name it only wins this one signer.
So nothing is lost where somebody is not heeded, and nobody who invents HALTs may keep t others from signing. A whole
order proves itself. Of those that are no orders yet each signer's word is taken once, for a few; and no order comes to
name more than its signers look at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from davy.keyholders.standing import keeps_stopped, opened
from davy.protocol.encoding import decode
from davy.protocol.errors import Refused
from davy.protocol.limits import MAX_NAMED_ORDERS, MAX_SHOWN_ORDERS, MAX_SIGNED_ORDER_BYTES
from davy.protocol.order import Halt, Install, Lift, Order, OrderAction, Raise, SignedOrder, order_id, verify_order
from davy.protocol.roster import Roster
from davy.protocol.words import ChainId, Digest

T = TypeVar("T")
Heed = Callable[[str, Sequence[bytes]], Sequence[bytes]]
"""Of what a signer, by name, says is missing, the bodies to propose the order anew with; none: go on without it."""

MAX_WORDS: Final = 4
"""HALTs without a signature that one signer's word adds to an order."""
_CORRECTIONS: Final = 3
"""Times that an order is proposed anew because a signer knows what it leaves."""


class LeavesStanding(Refused):
    """Signers know orders that this LIFT or INSTALL would have to name too.

    Parameters
    ----------
    halts
        Their orders' bytes.
    """

    def __init__(self, message: str, halts: Sequence[bytes]) -> None:
        super().__init__(message)
        self.halts = tuple(halts)


class _Claim(NamedTuple):
    body: bytes
    order: Order
    is_proven: bool


class Claims:
    """What signers said of one order, however often it is proposed anew.

    Parameters
    ----------
    rosters
        Every one whose orders can be verified.
    """

    def __init__(self, chain: ChainId, rosters: Mapping[Digest, Roster]) -> None:
        self._chain, self._rosters = chain, rosters
        self._words: dict[str, frozenset[bytes]] = {}

    def heed(self, action: OrderAction, named: Sequence[bytes]) -> Heed:
        """For one proposal, with the orders that it names."""
        freed = [o.action.target for o in map(opened, named) if isinstance(o.action, Halt)]

        def matters(o: Order) -> bool:
            if isinstance(action, Install):
                return isinstance(o.action, Halt | Raise)
            return isinstance(o.action, Halt) and any(keeps_stopped(o.action.target, t) for t in freed)

        def missing(who: str, standing: Sequence[bytes]) -> Sequence[bytes]:
            if len(named) >= most_named(action):
                return ()
            claims = [c for c in map(self._read, standing) if c and c.body not in named and matters(c.order)]
            words = [c.body for c in claims if not c.is_proven]
            if words:
                self._words.setdefault(who, frozenset(words[:MAX_WORDS]))
            taken = self._words.get(who, frozenset())
            return [c.body for c in claims if c.is_proven or c.body in taken]

        return missing

    def _read(self, entry: bytes) -> _Claim | None:
        body = body_of(entry)
        try:
            order = opened(body)
            roster = self._rosters.get(order.roster)
            if roster is None or order.chain != self._chain:
                return None
            if body is not entry:
                verify_order(entry, roster, self._chain)
        except Refused:
            return None
        return _Claim(body, order, body is not entry)


def body_of(entry: bytes) -> bytes:
    """The order's own bytes, of a whole order or of one without a signature."""
    try:
        return decode(entry, SignedOrder, limit=MAX_SIGNED_ORDER_BYTES).order
    except Refused:
        return entry


def all_said(_: str, standing: Sequence[bytes]) -> Sequence[bytes]:
    """A `Heed`: believe everybody."""
    return [body_of(entry) for entry in standing]


def nobody(_: str, standing: Sequence[bytes]) -> Sequence[bytes]:
    """A `Heed`: go on with those who sign the order as it is."""
    return ()


def most_named(action: OrderAction) -> int:
    """How many orders one may name: of a LIFT, what a person looks at; a longer one is given in parts."""
    return MAX_SHOWN_ORDERS if isinstance(action, Lift) else MAX_NAMED_ORDERS


def naming(action: OrderAction, named: Sequence[bytes]) -> OrderAction:
    """The same LIFT or INSTALL, with these orders."""
    ids = tuple(sorted(map(order_id, named)))
    return Lift(ids) if isinstance(action, Lift) else msgspec.structs.replace(action, carried=ids)


async def until_signed(
    action: OrderAction,
    named: Sequence[bytes],
    claims: Claims,
    propose: Callable[[OrderAction, Sequence[bytes], Heed], Awaitable[T]],
) -> T:
    """Propose an order; where signers say what it leaves, a few times anew with that; then as it is.

    Raises
    ------
    DavyError
        What `propose` raises.
    """
    for _ in range(_CORRECTIONS):
        try:
            return await propose(action, named, claims.heed(action, named))
        except LeavesStanding as e:
            named = list(dict.fromkeys([*named, *e.halts]))[: most_named(action)]
            action = naming(action, named)
    return await propose(action, named, nobody)
