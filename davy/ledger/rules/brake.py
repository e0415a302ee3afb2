"""Orders of keyholders on the ledger: verified, recorded once, and what a set of them halts, by name.

The ledger's brake is the join of `davy.killswitch.brake` over the orders of its blocks, each recorded with its block's
time, so it is a function of the blocks. It takes no second INSTALL after a roster: here no roster is ever in dispute.

An order costs nobody anything and depends on nobody's account. What does not change the state is refused: known
orders before any signature is checked, heartbeats (a block's time says more), drills beyond `MAX_DRILLS`. No block
looks at more than `MAX_BLOCK_ORDERS`.
"""

from __future__ import annotations

from dataclasses import replace

from davy.killswitch.brake import BrakeState, forget, head, merge, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.roster import FOREVER
from davy.ledger.rules.records import (
    BRAKE,
    DRILL_LIST,
    DRILLS,
    HALTED,
    ORDERS,
    ROSTERS,
    BrakeRecord,
    DrillsRecord,
    HaltedRecord,
    OrderRecord,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import LEASES_APART_SINCE, REPLACED_WHEN_RECORDED
from davy.protocol.errors import BadSignature, Malformed, Misdirected, Refused, TxCode, TxFailed
from davy.protocol.limits import MAX_DRILLS
from davy.protocol.order import Drill, Heartbeat, Install, VerifiedOrder, open_order, order_id, verify_order
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.recorded import recorded_digest
from davy.protocol.words import INT63, Moment


def clocks(at: Moment) -> Clocks:
    """On the ledger both clocks are block time."""
    return Clocks(at.time, at.time)


def first_brake() -> BrakeRecord:
    """The brake's record before any order."""
    return BrakeRecord(EMPTY_BRAKE_HEAD, recorded_digest(()), 0, 0)


def brake_of(s: State) -> BrakeState:
    """The brake as the records say it; kept beside them under the digest that stands for all of them.

    Raises
    ------
    Malformed
        Only when a machine is restored from rows that do not belong together.
    """
    said = s.need(BRAKE, b"", "the chain has no brake")
    kept = s.brakes.get(said.recorded)
    at_issue, fill = s.edition < REPLACED_WHEN_RECORDED, s.edition < LEASES_APART_SINCE
    if kept is None or (kept.replaced_at_issue, kept.leases_fill) != (at_issue, fill):
        kept = replace(kept or _read(s, said), replaced_at_issue=at_issue, leases_fill=fill)
        s.keep_brake(said.recorded, kept)
    return kept


def _read(s: State, said: BrakeRecord) -> BrakeState:
    rows = {k[1:]: r for k, r in s.records.items() if k[:1] == ORDERS.tag and isinstance(r, OrderRecord)}
    state = record(BrakeState(s.chain, s.get(ROSTERS, b"\0")), {i: r.time for i, r in rows.items()})
    taken = take(state, [r.order for r in rows.values()])
    if taken.state.orders.keys() != rows.keys() or _digest(rows) != said.recorded or head(taken.state) != said.head:
        raise Malformed("the stored orders are not those of the stored brake; restore a backup")
    return taken.state


def _digest(rows: dict[bytes, OrderRecord]) -> bytes:
    return recorded_digest((i, r.height, r.time) for i, r in rows.items())


def check_order(s: State, raw: bytes, *, verified: bool) -> VerifiedOrder:
    """Open an order and check that it is new here and that a known roster signed it.

    Parameters
    ----------
    verified
        The signatures of exactly these bytes were found right before: the roster they name cannot have changed since.

    Raises
    ------
    TxFailed
        MALFORMED; WRONG_CHAIN; EXISTS: it is recorded, or another INSTALL is, which followed the same roster;
        NOT_ENABLED for a heartbeat; NOT_FOUND: its roster is not known here; BAD_SIGNATURE.
    """
    try:
        signed, order = open_order(raw)
        i = order_id(signed.order)
        if order.chain != s.chain:
            raise TxFailed(TxCode.WRONG_CHAIN, "the order is for another chain; take it there")
        if s.get(ORDERS, i) is not None or s.get(DRILLS, i) is not None:
            raise TxFailed(TxCode.EXISTS, "this order is recorded")
        if isinstance(order.action, Heartbeat):
            raise TxFailed(TxCode.NOT_ENABLED, "a heartbeat is for nodes that do not see the ledger; send it to them")
        brake = brake_of(s)
        roster = brake.rosters.get(order.roster)
        place = brake.succession.place(order.roster)
        if roster is None or place is None:
            raise TxFailed(TxCode.NOT_FOUND, "this order's keyholders are not known here; hand in their INSTALL first")
        if isinstance(order.action, Install) and brake.succession.after(place):
            raise TxFailed(TxCode.EXISTS, "another roster followed this one already; the ledger takes no second")
        return VerifiedOrder(i, raw, order) if verified else verify_order(raw, roster, s.chain)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, str(e)) from None
    except Misdirected as e:
        raise TxFailed(TxCode.MISMATCH, str(e)) from None
    except Refused as e:
        raise TxFailed(TxCode.MALFORMED, str(e)) from None


def brake_order(s: State, at: Moment, v: VerifiedOrder) -> None:
    """Record a verified order that is new; what can matter no more makes room.

    Raises
    ------
    TxFailed
        FULL: its roster signed more than a brake keeps, or too many drills run. WRONG_TIME: a drill that is over, or
        an order that could not matter any more.
    """
    said = s.need(BRAKE, b"", "the chain has no brake")
    row = OrderRecord(v.raw, at.height, at.time, said.next)
    if isinstance(v.order.action, Drill):
        _drill(s, at, v, row)
        s.put(BRAKE, b"", BrakeRecord(said.head, said.recorded, said.orders, said.next + 1))
        return
    before = brake_of(s)
    merged = merge(record(before, {v.id: at.time}), [v])
    if v.id not in merged.orders:
        raise TxFailed(TxCode.FULL, "these keyholders signed more orders than are kept; install the next roster")
    after = forget(merged, clocks(at))
    if v.id not in after.orders:
        raise TxFailed(TxCode.WRONG_TIME, "this order can matter no more")
    for i in sorted(before.orders.keys() - after.orders.keys()):
        s.delete(ORDERS, i)
    s.put(ORDERS, v.id, row)
    if isinstance(v.order.action, Install):
        s.put(ROSTERS, bytes([v.order.action.roster.epoch]), v.order.action.roster)
    rows = {i: s.need(ORDERS, i, "an order without a record") for i in after.orders}
    after = replace(after, recorded={i: t for i, t in after.recorded.items() if i in rows})
    now = BrakeRecord(head(after), _digest(rows), len(rows), said.next + 1)
    s.keep_brake(now.recorded, after)
    s.put(BRAKE, b"", now)


def _drill(s: State, at: Moment, v: VerifiedOrder, row: OrderRecord) -> None:
    if v.order.end <= at.time:
        raise TxFailed(TxCode.WRONG_TIME, "this drill is over; hold a new one")
    drills = s.need(DRILL_LIST, b"", "the chain has no list of drills").drills
    if len(drills) >= MAX_DRILLS:
        over = next((n for n, (_, end) in enumerate(drills) if end <= at.time), None)
        if over is None:
            raise TxFailed(TxCode.FULL, f"{MAX_DRILLS} drills run already; wait for one to end")
        s.delete(DRILLS, drills[over][0])
        drills = (*drills[:over], *drills[over + 1 :])
    s.put(DRILLS, v.id, row)
    s.put(DRILL_LIST, b"", DrillsRecord((*drills, (v.id, v.order.end))))


def standing_halts(brake: BrakeState) -> dict[bytes, HaltedRecord]:
    """What a set of orders halts, by name: of the HALTs that count and are not lifted the one that ends last."""
    found: dict[bytes, HaltedRecord] = {}
    for name, halts in brake.naming.named():
        standing = [(h.ends, -h.order.order.issued, h) for h in halts if h.lifted is None]
        if standing:
            ends, _, last = max(standing, key=lambda one: (one[0], one[1], one[2].order.id))
            until = INT63 if any(h.until == FOREVER for _, _, h in standing) else max(h.until for _, _, h in standing)
            found[name] = HaltedRecord(last.order.id, ends, min(until, INT63))
    return found


def write_halts(s: State, before: BrakeState | None) -> None:
    """Bring the records by name up to the orders of this block.

    Parameters
    ----------
    before
        The brake at its beginning; None where that could not be read: then all that stand are looked at.
    """
    after = brake_of(s)
    if after is before:
        return
    new = standing_halts(after)
    stood = (key[1:] for key in s.records if key[:1] == HALTED.tag) if before is None else standing_halts(before)
    old = {*stood}
    for name in sorted(old - new.keys()):
        s.delete(HALTED, name)
    for name in sorted(new):
        if s.get(HALTED, name) != new[name]:  # an edition may have changed what stood there
            s.put(HALTED, name, new[name])
