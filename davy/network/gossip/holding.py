"""What a gossip process knows of the brake: the same join of verified orders as the guard's, without any verdict.

An order is verified before it is handed on, so nothing unsigned by the keyholders gets further than one peer. Drills
and heartbeats leave no trace in a brake; they are handed on once, while they are new by this machine's clock.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from davy.killswitch.brake import BrakeState, head, record, take
from davy.network.gossip.pipe import first_batch
from davy.protocol.errors import BadSignature, Misdirected, Refused
from davy.protocol.gossip import Page
from davy.protocol.limits import FRESH_MS, SIGNER_SKEW_MS
from davy.protocol.order import Drill, Heartbeat, Install, OrderId, VerifiedOrder, open_order, order_id
from davy.protocol.ports import Clock
from davy.protocol.roster import Roster
from davy.protocol.words import ChainId, Digest

_PASSED: Final = 1_024
"""Drills and heartbeats that are remembered, so that each is handed on once."""


class Learned(NamedTuple):
    """What came of orders from one peer.

    `news` are to be handed on. `forged` says that one bears a signature that does not hold, or is of another chain:
    no honest peer sends that. `odd` counts those that cannot be judged here: of a roster that is unknown, or in words
    that a later version may know.
    """

    news: tuple[bytes, ...]
    forged: bool
    odd: int


class Holding:
    """Orders of one chain."""

    def __init__(self, chain: ChainId, first: Roster, clock: Clock) -> None:
        self._state = BrakeState(chain, first)
        self._head = head(self._state)
        self._clock = clock
        self._raws: set[bytes] = set()
        """Digests of what was verified, as bytes: asking again costs no signature."""
        self._passed: OrderedDict[OrderId, bytes] = OrderedDict()

    @property
    def head(self) -> Digest:
        """`davy.killswitch.brake.head` of what is known here."""
        return self._head

    def learn(self, raws: Sequence[bytes], *, on_record: bool = False) -> Learned:
        """Verify orders and keep those that hold; after the first signature that does not, none is looked at.

        Parameters
        ----------
        on_record
            The own node has seen them on the ledger.
        """
        unseen = [raw for raw in raws if on_record or _mark(raw) not in self._raws]
        state = self._state
        if on_record:
            state = record(state, {order_id(open_order(raw)[0].order): 0 for raw in raws})
        taken = take(state, unseen, go_on=lambda: False)
        news = [v.raw for v in taken.orders if self._is_new(v, taken.state)]
        if taken.state is not self._state:
            self._state, self._head = taken.state, head(taken.state)
            kept = [v.raw for v in taken.state.orders.values()]
            self._raws = {_mark(raw) for raw in (*kept, *self._passed.values())}
        forged = any(isinstance(e, BadSignature | Misdirected) for _, e in taken.refused)
        return Learned(tuple(news), forged, len(taken.refused))

    def page(self, theirs: Digest, after: OrderId | None) -> Page:
        """What to tell one that has the head `theirs` and was told up to the order `after`; INSTALLs come first."""
        if theirs == self._head:
            return Page(self._head, (), more=False)
        ordered = sorted(self._state.orders.values(), key=_place)
        start = next((n + 1 for n, v in enumerate(ordered) if v.id == after), 0)
        rest = [v.raw for v in ordered[start:]]
        part = first_batch(rest)
        return Page(self._head, part, more=len(part) < len(rest))

    def _is_new(self, v: VerifiedOrder, after: BrakeState) -> bool:
        """What the bounds keep out is no news: nobody would remember it, and it would go round for ever."""
        if not isinstance(v.order.action, Drill | Heartbeat):
            return v.id in after.orders and v.id not in self._state.orders
        patience = FRESH_MS if isinstance(v.order.action, Heartbeat) else SIGNER_SKEW_MS
        if v.id in self._passed or abs(self._clock.now() - v.order.issued) > patience:
            return False
        self._passed[v.id] = v.raw
        self._raws.add(_mark(v.raw))
        if len(self._passed) > _PASSED:
            _, raw = self._passed.popitem(last=False)
            self._raws.discard(_mark(raw))
        return True


def last_of(raws: Sequence[bytes]) -> OrderId | None:
    """The id of the last of some orders; None if there is none, or if it cannot be read."""
    try:
        return order_id(open_order(raws[-1])[0].order) if raws else None
    except Refused:
        return None


def _mark(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _place(v: VerifiedOrder) -> tuple[bool, int, bytes]:
    return not isinstance(v.order.action, Install), v.order.epoch, v.id
