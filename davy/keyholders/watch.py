"""How the brake stands: what each node and the ledger know of the orders, verified here, and what is in force.

What a node says of its orders is checked order by order, from the genesis alone; that it says all of them shows in its
head. Whoever lacks what others have is behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from davy.killswitch.book import HaltEntry
from davy.killswitch.brake import BrakeState, first_state, head, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.leases import days_warned
from davy.killswitch.scope import Subject, covers
from davy.killswitch.verdict import lease_of, model_class
from davy.network.error_responses import response_error
from davy.protocol.brake_messages import OrderPage
from davy.protocol.chain import Head
from davy.protocol.encoding import decode
from davy.protocol.errors import DavyError, Refused
from davy.protocol.genesis import Genesis
from davy.protocol.limits import FRESH_MS, MAX_RESPONSE_BYTES
from davy.protocol.manifest import ModelClass
from davy.protocol.order import OrderId, VerifiedOrder
from davy.protocol.ports import Clock, SignedRequest, Transport
from davy.protocol.recorded import Attested, RecordedBrake
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Digest, ModelId, UnixMillis

_PATIENCE_MS: Final = 5_000
_ALL_PAGES_MS: Final = 15_000
"""A node that tells slowly, or for ever, keeps nobody from signing."""


class Seen(NamedTuple):
    """What one place says. A node that does not answer, or whose orders do not give its head, has a `fault`."""

    where: str
    head: Digest | None
    orders: tuple[VerifiedOrder, ...]
    fault: str
    newest: UnixMillis | None = None
    """Of a node the time of the newest block or heartbeat that it verified; 0 before the first."""
    recorded: tuple[tuple[OrderId, UnixMillis], ...] = ()
    """Of the ledger when its blocks recorded these orders."""

    def stale(self, now: UnixMillis) -> bool:
        """Whether it is a node that runs no systemic model, for it saw nothing fresh."""
        return self.newest is not None and abs(now - self.newest) > FRESH_MS


class LeaseSeen(NamedTuple):
    """How a systemic model stands. Without a LEASE that counts there is neither `ends` nor `stops`."""

    model: ModelId
    ends: UnixMillis | None
    stops: UnixMillis | None
    """When the grace is over."""
    days: int | None
    """Of the warnings the nearest that has come; 0 from its end on."""
    lapsed: bool


class DrillSeen(NamedTuple):
    """A drill as the ledger recorded it: how fast it was, only who released it knows (`davy.keyholders.drills`)."""

    order: OrderId
    recorded: UnixMillis
    """By its block."""
    answered: int
    """Nodes whose attestation a block has heard."""
    blocks: int | None
    """From the drill's block to the one that heard the last of them."""


async def ask_node(g: Genesis, to: Endpoint, transport: Transport, clock: Clock) -> Seen:
    """Read a node's orders; nothing that it says raises."""
    where = f"{to.host}:{to.port}"
    state, raws, after = first_state(g), dict[bytes, None](), ""
    until = clock.now() + _ALL_PAGES_MS
    try:
        while True:
            page = await _page(to, transport, after, deadline=min(until, clock.now() + _PATIENCE_MS))
            raws |= dict.fromkeys(page.orders)
            taken = take(state, page.orders)
            if taken.refused or not page.after:
                return seen(g, where, page.head, raws)._replace(newest=page.seen)
            if taken.state is state:
                return Seen(where, None, (), "it shows the same orders again and again")
            state, after = taken.state, f"?after={page.after[0].hex()}"
    except DavyError as e:
        return Seen(where, None, (), str(e))


def seen(g: Genesis, where: str, told: Digest, raws: Iterable[bytes]) -> Seen:
    """Verify what a place says."""
    taken = take(first_state(g), raws)
    fault = ""
    if taken.refused:
        fault = f"{len(taken.refused)} of its orders are none: {taken.refused[0][1]}"
    elif head(taken.state) != told:
        fault = "it does not show all its orders, or is changing; ask again"
    return Seen(where, told, taken.orders, fault)


def together(g: Genesis, places: Iterable[Seen], known: Iterable[VerifiedOrder] = ()) -> BrakeState:
    """The state of who knows what all of these know, and `known`."""
    heard = list(places)
    state = record(first_state(g), {i: t for p in heard for i, t in p.recorded})
    return take(state, [v.raw for v in (*known, *(v for p in heard for v in p.orders))]).state


def in_force(s: BrakeState, now: UnixMillis, systemic: Collection[Subject] = ()) -> list[HaltEntry]:
    """HALTs that were not lifted and have not ended. Those that cover what is systemic end with their roster only."""
    standing = [h for h in s.book.halts if h.lifted is None]
    return [h for h in standing if now < h.ends or (now < h.until and halts_any(h, systemic))]


def halts_any(h: HaltEntry, subjects: Iterable[Subject]) -> bool:
    """Whether a HALT covers one of these."""
    return any(covers(h.target, x) for x in subjects)


def leases_seen(s: BrakeState, subjects: Iterable[Subject], at: Clocks) -> list[LeaseSeen]:
    """The LEASEs of those that are systemic, the first to stop first; `s` is of what stands on the ledger."""
    found: dict[ModelId, LeaseSeen] = {}
    for x in subjects:
        if x.model is None or model_class(s, x, at) is not ModelClass.SYSTEMIC:
            continue
        lease = lease_of(s, x, at)
        if lease is None:
            found[x.model.id] = LeaseSeen(x.model.id, None, None, None, True)
        else:
            over = at.ahead >= lease.lapses
            found[x.model.id] = LeaseSeen(x.model.id, lease.ends, lease.lapses, days_warned(lease, at), over)
    return sorted(found.values(), key=lambda row: (row.stops or 0, row.model))


def drill_seen(v: VerifiedOrder, told: RecordedBrake, answers: Iterable[Attested]) -> DrillSeen:
    """Sum up who answered one of `drills_of`."""
    row = next(o for o in told.drills if o.order == v.raw)
    heights = [a.attestation.height for a in answers]
    return DrillSeen(v.id, row.time, len(heights), max(heights) - row.height if heights else None)


def ledger_seen(g: Genesis, where: str, told: RecordedBrake) -> Seen:
    """Verify what the ledger says."""
    times = {o.order: o.time for o in told.orders}
    found = seen(g, where, told.brake.head, times)
    return found._replace(recorded=tuple((v.id, times[v.raw]) for v in found.orders))


def drills_of(g: Genesis, told: RecordedBrake) -> list[VerifiedOrder]:
    """The drills that stand on the ledger, oldest first."""
    taken = take(first_state(g), [o.order for o in (*told.orders, *told.drills)])
    numbers = {o.order: o.number for o in told.drills}
    return sorted((v for v in taken.orders if v.raw in numbers), key=lambda v: numbers[v.raw])


def age(h: Head, now: UnixMillis) -> UnixMillis:
    """How old the newest block is."""
    return now - h.time


async def _page(to: Endpoint, transport: Transport, query: str, *, deadline: UnixMillis) -> OrderPage:
    answer = await transport.call(to, SignedRequest("GET", f"/brake{query}", (), b""), deadline=deadline)
    if answer.status != 200:
        raise response_error(answer)
    try:
        return decode(answer.body, OrderPage, limit=MAX_RESPONSE_BYTES)
    except Refused as e:
        raise Refused(f"its answer cannot be read ({e}); it is not a node, or of another version") from None
