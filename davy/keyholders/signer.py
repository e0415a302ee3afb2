"""One keyholder's part in a signature: look, ask the person, commit, sign. Whoever coordinates is trusted with nothing.

It signs with the keys in office; the INSTALL that puts its next ones there, with these too (`Accede`). What is signed
is what was considered: the order's own bytes, kept here since the person said yes. Nonces live in this object only, for
one attempt of one coordinator; a restart forgets them, and that attempt fails. Before a share leaves, the order is in
the journal; one that stops is at least in memory, for a full disk must not disable a halt.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import anyio

from davy.keyholders.circle import Circle
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.keys import Held, Office, Offices, generation_id, members_of
from davy.keyholders.messages import (
    Accede,
    Answer,
    Commit,
    Committed,
    Declined,
    Finished,
    Noted,
    Proposal,
    Proposed,
    Released,
    Sign,
    Willing,
    is_rehearsal,
    matter_id,
    proposal_id,
    signed_bytes,
)
from davy.keyholders.screen import REHEARSAL, View, rehearsed, screen
from davy.keyholders.spending import allowed
from davy.keyholders.standing import (
    Left,
    SteadyJournal,
    claimed,
    drop_lapsed,
    keep_whole,
    known,
    left_of,
    named_ids,
    named_orders,
    opened,
)
from davy.keyholders.steps import unless_yes
from davy.killswitch.brake import has_lapsed
from davy.killswitch.clocks import Clocks
from davy.killswitch.frost import Nonces, SigningCommitments, commit, sign
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import (
    Expired,
    Malformed,
    Misconfigured,
    Misdirected,
    Refused,
    Replayed,
    TooLarge,
    Unauthorised,
)
from davy.protocol.limits import MAX_BRAKE_ORDERS, MAX_CEREMONY_BYTES, MAX_SHOWN_ORDERS, SIGNER_SKEW_MS
from davy.protocol.order import (
    Drill,
    Extend,
    GroupKey,
    Halt,
    Heartbeat,
    Install,
    Lease,
    Lift,
    Order,
    OrderId,
    Raise,
    VerifiedOrder,
    check_issued,
    open_order,
    order_id,
    signing_key,
    verify_order,
)
from davy.protocol.ports import Clock, Entropy
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.words import Digest, PublicKey, UnixMillis

MAX_ATTEMPTS: Final = 64
"""Attempts of one keyholder at one order: more than rounds that end with a culprit can take."""
_FLEETING: Final = (Drill, Heartbeat)
"""Orders that change nothing and are not remembered."""
STOPPING: Final = (Halt, Extend, Raise)
"""Orders that only stop: no disk may keep them from being signed, and no other order from leaving."""
_NO_DISK: Final = "the disk takes no order there, and what permits is not signed before it is written down; make room"
_REMEMBERED: Final = 2 * MAX_BRAKE_ORDERS
"""Whole orders that are not released again when they are told of again: of those that last more than a roster signs."""

_log = logging.getLogger(__name__)


class _Attempt(NamedTuple):
    id: bytes
    nonces: Nonces
    commitments: SigningCommitments
    generation: Digest


class _Acceding(NamedTuple):
    matter: Digest
    roster: Roster
    key: GroupKey


class Signer:
    """Answers those who ask for a signature.

    Parameters
    ----------
    names
        Of further keyholders that a screen may show.
    finished
        Told of each whole order once, after it was verified.
    """

    def __init__(
        self,
        circle: Circle,
        offices: Offices,
        *,
        desk: Desk,
        journal: SteadyJournal,
        clock: Clock,
        entropy: Entropy,
        names: Mapping[PublicKey, str] | None = None,
        finished: Callable[[VerifiedOrder], None] | None = None,
    ) -> None:
        self._circle, self._offices = circle, offices
        self._names = {**(names or {}), **{h.key: h.name for h in circle.holders}}
        self._desk, self._journal, self._clock, self._entropy = desk, journal, clock, entropy
        self._finished = finished
        self._attempts: dict[tuple[PublicKey, Digest], _Attempt] = {}
        self._tries: dict[tuple[PublicKey, Digest], int] = {}
        self._acceding: dict[Digest, _Acceding] = {}
        """By `proposal_id`, what people said yes to of `Accede`."""
        self._told = {passing: deque[OrderId](maxlen=_REMEMBERED) for passing in (False, True)}
        """By whether an order passes by itself: who is told of many of these forgets none that stops."""
        self._releasing = anyio.Lock()

    async def answer(self, sender: PublicKey, ask: Proposal | Commit | Sign | Finished) -> Answer:
        """Answer another keyholder, or this one as its own coordinator.

        Raises
        ------
        Refused
            Nothing was signed, and the sentence says why.
        Misconfigured
        """
        if isinstance(ask, Finished):
            return await self._note(ask)
        office = await self._seat(ask)
        if sender not in office.roster.members:
            raise Unauthorised("only keyholders of the roster in office ask for signatures; have it installed first")
        if sender not in members_of(office.keys.generation, office.roster):
            raise Unauthorised("this keyholder was removed by a refresh of the shares; it asks for no signatures")
        match ask:
            case Commit():
                return self._commit(office, sender, ask)
            case Sign():
                return await self._sign(office, sender, ask)
            case _:
                return await self._consider(office, sender, ask)

    async def _seat(self, ask: Proposal | Commit | Sign) -> Office:
        """The office in office, or the one that an INSTALL is to put there."""
        if isinstance(ask, Accede):
            action = opened(ask.order).action
            if not isinstance(action, Install):
                raise Malformed("keys that are not in office sign the order that installs them, and no other")
            return await self._offices.accession(action.roster)
        if isinstance(ask, Commit | Sign) and ask.order in self._acceding:
            return await self._offices.accession(self._acceding[ask.order].roster)
        return await self._offices.office()

    async def _consider(self, office: Office, sender: PublicKey, ask: Proposal) -> Answer:
        i = matter_id(ask)
        try:
            matter = self._desk.find(i)
        except Expired:
            try:
                order, left, view = await self._view(office, sender, ask)
                if left.must_name:
                    return Declined(_must_name(order, left), await self._claimed(left))
                until = order.issued + SIGNER_SKEW_MS
                content = encode(Proposed(ask))
                matter = Matter(i, _kind(ask, order), shown(ask, view), sender, until, content, is_order=True)
                matter = self._desk.put(matter)
            except Refused as e:
                return Declined(str(e)[:500], ())
        if (answer := await unless_yes(self._desk, matter)) is not None:
            return answer
        considered, order = self._agreed(i)
        left = await self._left(considered, order)
        if left.must_name:
            return Declined(_must_name(order, left), await self._claimed(left))
        if isinstance(ask, Accede):
            self._sweep()
            self._acceding[proposal_id(ask)] = _Acceding(i, office.roster, ask.key)
        return Willing(tuple(generation_id(h.generation) for h in office.holdings.held))

    async def _view(self, office: Office, sender: PublicKey, ask: Proposal) -> tuple[Order, Left, View]:
        """Everything that can be refused without asking the person."""
        order = opened(ask.order)
        chain, roster = await self._offices.in_office()
        if order.chain != chain:
            raise Misdirected("the order is for another chain; it is not signed here")
        if order.roster != roster_digest(roster) or order.epoch != roster.epoch:
            raise Misdirected(
                f"the roster in office here is of group epoch {roster.epoch}; propose it anew for that one"
            )
        check_issued(order, self._clock.now())
        if len(named_ids(order.action)) > MAX_SHOWN_ORDERS and not isinstance(order.action, Install):
            raise TooLarge(f"the order names more than {MAX_SHOWN_ORDERS} others; propose several that name less each")
        k = await known(self._journal)
        named = named_orders(order.action, ask.named, k)
        left = left_of(order.action, named, k, self._clock.now())
        proposer = self._circle.holder(sender).name
        view = View(ask.order, order, ask.reason, roster, proposer, named, left.rest, self._names)
        return order, left, view._replace(allowed=allowed(order, named, k))

    def _agreed(self, i: Digest) -> tuple[Proposal, Order]:
        matter = self._desk.find(self._acceding[i].matter if i in self._acceding else i)
        if not matter.decision:
            raise Unauthorised("its keyholder has not said yes to this order; wait for that")
        considered = decode(matter.content, Proposed, limit=2 * MAX_CEREMONY_BYTES).proposal
        order = opened(considered.order)
        check_issued(order, self._clock.now())
        return considered, order

    def _key(self, i: Digest, order: Order) -> GroupKey:
        return self._acceding[i].key if i in self._acceding else signing_key(order.action)

    def _commit(self, office: Office, sender: PublicKey, ask: Commit) -> Committed:
        _, order = self._agreed(ask.order)
        session = (sender, ask.order)
        self._sweep()
        begun = self._attempts.get(session)
        if begun is not None and (begun.id, begun.generation) == (ask.attempt, ask.generation):
            return Committed(begun.commitments)  # a sheet that was carried twice, or an answer that was lost
        if self._tries.get(session, 0) >= MAX_ATTEMPTS:
            raise TooLarge(f"{MAX_ATTEMPTS} attempts at one order are enough; propose it anew")
        self._tries[session] = self._tries.get(session, 0) + 1
        key, _ = _held(office, ask.generation).of(self._key(ask.order, order))
        nonces, commitments = commit(key, self._entropy)
        self._attempts[session] = _Attempt(ask.attempt, nonces, commitments, ask.generation)
        return Committed(commitments)

    async def _sign(self, office: Office, sender: PublicKey, ask: Sign) -> Released:
        attempt = self._attempts.pop((sender, ask.order), None)
        if attempt is None or attempt.id != ask.attempt:
            raise Replayed("there are no nonces for this attempt, or they were used; begin another")
        considered, order = self._agreed(ask.order)
        key, public = _held(office, attempt.generation).of(self._key(ask.order, order))
        async with self._releasing:
            await self._before_release(considered, order)
            share = sign(key, public, attempt.nonces, ask.package, signed_bytes(considered))
        return Released(share)

    async def _before_release(self, considered: Proposal, order: Order) -> None:
        """Look once more at what the order leaves, for a HALT may have been signed since; then write it down."""
        left = await self._left(considered, order)
        if left.must_name:
            raise Refused(_must_name(order, left))
        if is_rehearsal(considered) or isinstance(order.action, _FLEETING):
            return
        i = order_id(considered.order)
        if isinstance(order.action, STOPPING):
            await self._journal.keep_stop(i, considered.order)
            return
        try:
            if isinstance(order.action, Lease):
                await drop_lapsed(self._journal, self._clock.now())
            await self._journal.keep(i, considered.order)
        except Misconfigured as e:  # refused, or whoever coordinates would not be told why
            _log.error("no share for order %s leaves, for it cannot be written down here: %s", i.hex()[:16], e)
            raise Refused(_NO_DISK) from e

    async def _left(self, considered: Proposal, order: Order) -> Left:
        if not isinstance(order.action, Lift | Install):
            return Left((), ())
        k = await known(self._journal)
        return left_of(order.action, named_orders(order.action, considered.named, k), k, self._clock.now())

    async def _claimed(self, left: Left) -> tuple[bytes, ...]:
        return claimed(left, await known(self._journal))

    async def _note(self, ask: Finished) -> Noted:
        """Whole orders prove themselves, so those who are to follow hear of their INSTALL, too."""
        chain, roster = await self._offices.in_office()
        whole = verify_order(ask.signed, roster, chain)
        self._desk.withdraw(whole.id)
        told = self._told[isinstance(whole.order.action, (*_FLEETING, Lease))]
        if self._finished is not None and whole.id not in told and not _is_over(whole.order, self._clock.now()):
            told.append(whole.id)
            self._finished(whole)  # first: it goes out though it may not be written down here
        if not isinstance(whole.order.action, _FLEETING):
            await keep_whole(self._journal, whole, self._clock.now())
        elif isinstance(whole.order.action, Drill) and await self._is_newest(whole):
            await self._journal.keep_drill(whole.raw)
        return Noted()

    async def _is_newest(self, drill: VerifiedOrder) -> bool:
        kept = await self._journal.drill()
        return kept is None or open_order(kept)[1].issued < drill.order.issued

    def _sweep(self) -> None:
        """Forget attempts at orders that are no longer on the desk."""
        for session in list(self._tries):
            if not self._lies(session[1]):
                del self._tries[session]
                self._attempts.pop(session, None)
        for gone in [i for i in self._acceding if not self._lies(i)]:
            del self._acceding[gone]

    def _lies(self, i: Digest) -> bool:
        try:
            self._desk.find(self._acceding[i].matter if i in self._acceding else i)
        except Expired:
            return False
        return True


def kind(o: Order) -> str:
    """What sort of order it is, as policies name it."""
    return type(o.action).__name__.lower()


def _held(office: Office, generation: Digest) -> Held:
    held = office.holdings.find(generation)
    if held is None:
        raise Misdirected("this keyholder has no share of that generation, or has it no more; ask it for those it has")
    return held


def _is_over(o: Order, now: UnixMillis) -> bool:
    """Whether it does nothing any more wherever it arrives; what stops a systemic model never does so by time."""
    match o.action:
        case Heartbeat():
            return now > o.issued + SIGNER_SKEW_MS
        case Drill():
            return now >= o.end
        case _:
            return has_lapsed(o, Clocks(now, None))


def _kind(ask: Proposal, o: Order) -> str:
    return REHEARSAL if is_rehearsal(ask) else kind(o)


def shown(ask: Proposal, view: View) -> str:
    """The screen of a proposal; of a rehearsal, none that can be taken for a real one."""
    return rehearsed(screen(view)) if is_rehearsal(ask) else screen(view)


def _must_name(o: Order, left: Left) -> str:
    ids = ", ".join(order_id(body).hex()[:16] for body in left.must_name[:4])
    if isinstance(o.action, Install):
        return f"what stops would end with the old roster ({ids}): carry it, too"
    return f"a share was released here for HALTs that would go on stopping this ({ids}): name them in the LIFT, too"
