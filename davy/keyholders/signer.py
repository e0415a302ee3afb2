"""One keyholder's part in a signature: look, ask the person, commit, sign. Whoever coordinates is trusted with nothing.

What is signed is what was considered: the order's own bytes, kept here since the person said yes. Nonces live in this
object only, for one attempt of one coordinator; a restart forgets them, and that attempt fails. Before a share leaves,
the order is in the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import anyio

from davy.keyholders.circle import Circle
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.keys import Held, Office, generation_id, members_of
from davy.keyholders.messages import (
    Answer,
    Commit,
    Committed,
    Consider,
    Declined,
    Finished,
    Noted,
    Proposed,
    Rehearse,
    Released,
    Sign,
    Waiting,
    Willing,
    proposal_id,
    signed_bytes,
)
from davy.keyholders.screen import View, rehearsed, screen
from davy.keyholders.standing import Journal, Left, known, left_standing, named_ids, named_orders, opened
from davy.killswitch.frost import Nonces, commit, sign
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Expired, Misdirected, Refused, Replayed, TooLarge, Unauthorised
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_SHOWN_ORDERS, SIGNER_SKEW_MS
from davy.protocol.order import (
    Drill,
    Heartbeat,
    Install,
    Lift,
    Order,
    OrderId,
    VerifiedOrder,
    check_issued,
    open_order,
    order_id,
    signing_key,
    verify_order,
)
from davy.protocol.ports import Clock, Entropy
from davy.protocol.roster import roster_digest
from davy.protocol.words import Digest, PublicKey

MAX_ATTEMPTS: Final = 64
"""Attempts of one keyholder at one order: more than rounds that end with a culprit can take."""
REHEARSAL: Final = "rehearsal"
"""As policies name it, whatever is rehearsed: who signs real orders unseen rehearses none so, and the other way."""
_FLEETING: Final = (Drill, Heartbeat)
"""Orders that change nothing and are not remembered."""
_REMEMBERED: Final = 1_024
"""Whole orders that are not released again when they are told of again."""


class _Attempt(NamedTuple):
    id: bytes
    nonces: Nonces
    generation: Digest


class Signer:
    """Answers those who ask for a signature.

    Parameters
    ----------
    office
        Reads for which chain and roster this keyholder signs; raises Misconfigured where there is none yet.
    finished
        Told of each whole order once, after it was verified.
    """

    def __init__(
        self,
        circle: Circle,
        office: Callable[[], Awaitable[Office]],
        *,
        desk: Desk,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        finished: Callable[[VerifiedOrder], None] | None = None,
    ) -> None:
        self._circle, self._office = circle, office
        self._desk, self._journal, self._clock, self._entropy = desk, journal, clock, entropy
        self._finished = finished
        self._attempts: dict[tuple[PublicKey, Digest], _Attempt] = {}
        self._tries: dict[tuple[PublicKey, Digest], int] = {}
        self._told: deque[OrderId] = deque(maxlen=_REMEMBERED)
        self._releasing = anyio.Lock()

    async def answer(self, sender: PublicKey, ask: Consider | Rehearse | Commit | Sign | Finished) -> Answer:
        """Answer another keyholder, or this one as its own coordinator.

        Raises
        ------
        Refused
            Nothing was signed, and the sentence says why.
        Misconfigured
        """
        office = await self._office()
        if sender not in office.roster.members:
            raise Unauthorised("only keyholders of the roster in office ask for signatures; have it installed first")
        if sender not in members_of(office.keys.generation, office.roster):
            raise Unauthorised("this keyholder was removed by a refresh of the shares; it asks for no signatures")
        match ask:
            case Consider() | Rehearse():
                return await self._consider(office, sender, ask)
            case Commit():
                return self._commit(office, sender, ask)
            case Sign():
                return await self._sign(office, sender, ask)
            case Finished():
                return await self._note(office, ask)

    async def _consider(self, office: Office, sender: PublicKey, ask: Consider | Rehearse) -> Answer:
        i = proposal_id(ask)
        try:
            matter = self._desk.find(i)
        except Expired:
            try:
                order, left, view = await self._view(office, sender, ask)
                if left.must_name:
                    return Declined(_must_name(left), left.must_name[:MAX_SHOWN_ORDERS])
                matter = self._desk.put(
                    Matter(
                        i,
                        _kind(ask, order),
                        shown(ask, view),
                        sender,
                        order.issued + SIGNER_SKEW_MS,
                        encode(Proposed(ask)),
                    )
                )
            except Refused as e:
                return Declined(str(e)[:500], ())
        decision = await self._desk.settled(matter)
        if decision is None:
            return Waiting()
        if not decision:
            return Declined("its keyholder said no", ())
        left = await self._left(*self._agreed(i))
        return Declined(_must_name(left), left.must_name[:MAX_SHOWN_ORDERS]) if left.must_name else _willing(office)

    async def _view(self, office: Office, sender: PublicKey, ask: Consider | Rehearse) -> tuple[Order, Left, View]:
        """Everything that can be refused without asking the person."""
        order = opened(ask.order)
        if order.chain != office.chain:
            raise Misdirected("the order is for another chain; it is not signed here")
        if order.roster != roster_digest(office.roster) or order.epoch != office.roster.epoch:
            raise Misdirected("the order is not for the roster in office; propose it anew for that one")
        if isinstance(order.action, Install):
            raise Refused("a roster is installed in a ceremony of its own; it is not signed like other orders")
        check_issued(order, self._clock.now())
        if len(named_ids(order.action)) > MAX_SHOWN_ORDERS:
            raise TooLarge(f"the order names more than {MAX_SHOWN_ORDERS} others; propose several that name less each")
        k = await known(self._journal)
        named = named_orders(order.action, ask.named, k)
        left = left_standing(order.action, named, k) if isinstance(order.action, Lift) else Left((), ())
        proposer = self._circle.holder(sender).name
        view = View(ask.order, order, ask.reason, office.roster, proposer, named, left.stay)
        return order, left, view

    def _agreed(self, i: Digest) -> tuple[Consider | Rehearse, Order]:
        matter = self._desk.find(i)
        if not matter.decision:
            raise Unauthorised("its keyholder has not said yes to this order; wait for that")
        considered = decode(matter.content, Proposed, limit=2 * MAX_CEREMONY_BYTES).proposal
        order = opened(considered.order)
        check_issued(order, self._clock.now())
        return considered, order

    def _commit(self, office: Office, sender: PublicKey, ask: Commit) -> Committed:
        _, order = self._agreed(ask.order)
        session = (sender, ask.order)
        self._sweep()
        if self._tries.get(session, 0) >= MAX_ATTEMPTS:
            raise TooLarge(f"{MAX_ATTEMPTS} attempts at one order are enough; propose it anew")
        self._tries[session] = self._tries.get(session, 0) + 1
        key, _ = _held(office, ask.generation).of(signing_key(order.action))
        nonces, commitments = commit(key, self._entropy)
        self._attempts[session] = _Attempt(ask.attempt, nonces, ask.generation)
        return Committed(commitments)

    async def _sign(self, office: Office, sender: PublicKey, ask: Sign) -> Released:
        attempt = self._attempts.pop((sender, ask.order), None)
        if attempt is None or attempt.id != ask.attempt:
            raise Replayed("there are no nonces for this attempt, or they were used; begin another")
        considered, order = self._agreed(ask.order)
        key, public = _held(office, attempt.generation).of(signing_key(order.action))
        async with self._releasing:
            await self._before_release(considered, order)
            share = sign(key, public, attempt.nonces, ask.package, signed_bytes(considered))
        return Released(share)

    async def _before_release(self, considered: Consider | Rehearse, order: Order) -> None:
        """Look once more at what a LIFT leaves, for a HALT may have been signed since; then write the order down."""
        left = await self._left(considered, order)
        if left.must_name:
            raise Refused(_must_name(left))
        if isinstance(considered, Consider) and not isinstance(order.action, _FLEETING):
            await self._journal.keep(order_id(considered.order), considered.order)

    async def _left(self, considered: Consider | Rehearse, order: Order) -> Left:
        if not isinstance(order.action, Lift):
            return Left((), ())
        k = await known(self._journal)
        return left_standing(order.action, named_orders(order.action, considered.named, k), k)

    async def _note(self, office: Office, ask: Finished) -> Noted:
        whole = verify_order(ask.signed, office.roster, office.chain)
        if not isinstance(whole.order.action, _FLEETING):
            await self._journal.keep_signed(whole.id, whole.raw)
        elif isinstance(whole.order.action, Drill) and await self._is_newest(whole):
            await self._journal.keep_drill(whole.raw)
        self._desk.withdraw(whole.id)
        if self._finished is not None and whole.id not in self._told:
            self._told.append(whole.id)
            self._finished(whole)
        return Noted()

    async def _is_newest(self, drill: VerifiedOrder) -> bool:
        kept = await self._journal.drill()
        return kept is None or open_order(kept)[1].issued < drill.order.issued

    def _sweep(self) -> None:
        """Forget attempts at orders that are no longer on the desk."""
        for session in list(self._tries):
            try:
                self._desk.find(session[1])
            except Expired:
                del self._tries[session]
                self._attempts.pop(session, None)


def kind(o: Order) -> str:
    """What sort of order it is, as policies name it."""
    return type(o.action).__name__.lower()


def _willing(office: Office) -> Willing:
    return Willing(tuple(generation_id(h.generation) for h in office.holdings.held))


def _held(office: Office, generation: Digest) -> Held:
    held = office.holdings.find(generation)
    if held is None:
        raise Misdirected("this keyholder has no share of that generation, or has it no more; ask it for those it has")
    return held


def _kind(ask: Consider | Rehearse, o: Order) -> str:
    return kind(o) if isinstance(ask, Consider) else REHEARSAL


def shown(ask: Consider | Rehearse, view: View) -> str:
    """The screen of a proposal; of a rehearsal, none that can be taken for a real one."""
    return screen(view) if isinstance(ask, Consider) else rehearsed(screen(view))


def _must_name(left: Left) -> str:
    ids = ", ".join(order_id(body).hex()[:16] for body in left.must_name[:4])
    return f"a share was released here for HALTs that would go on stopping this ({ids}): name them in the LIFT, too"
