"""A receipt against its signer: it served what a HALT on the ledger had stopped.

No clock and no admission is needed, and nobody is believed: a receipt names a request by its digest, the request an
anchor, so the answer is no older than that block. Whoever signed it had verified the chain to `anchor_slack` blocks
before the anchor, that is beyond the HALT's own block, and takes in a block's orders before it counts the block as
verified. So it knew the HALT. docs/invariants.md, B3, says why no honest node can be convicted under any schedule.

To that end only what every node that knows the HALT must agree on is looked at: HALTs that name the model, the miner or
everything outright (who descends from whom is learned later), that were in force when they were recorded, that were
never lifted, and whose end is not reached however the allowance is counted.
"""

from __future__ import annotations

from msgspec.structs import replace

from davy.killswitch.allowance import Span, unite
from davy.killswitch.book import HaltEntry
from davy.killswitch.brake import BrakeState
from davy.killswitch.roster import FOREVER
from davy.killswitch.scope import ModelFacts, names
from davy.ledger.rules.accounts import burn
from davy.ledger.rules.brake import brake_of
from davy.ledger.rules.halts import barred, model_facts
from davy.ledger.rules.moves import moved_from, pledges, release
from davy.ledger.rules.records import (
    COMMITS,
    CONVICTIONS,
    HOTKEYS,
    MODELS,
    ORDERS,
    UIDS,
    WEIGHTS,
    HotkeyRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.rotation import answerable, one_with
from davy.ledger.rules.stake import change_position, stake_of
from davy.ledger.rules.state import State
from davy.protocol.errors import BadSignature, Refused, TxCode, TxFailed
from davy.protocol.limits import (
    ALLOWANCE_MS,
    ALLOWANCE_WINDOW_MS,
    CONVICTION_GRACE,
    HALT_LEAD_MS,
    HALT_TERM_MS,
    LEASE_GRACE_MS,
    SIGNER_SKEW_MS,
)
from davy.protocol.manifest import ModelClass
from davy.protocol.order import Extend, Global, GroupKey, Halt, Lower, Miner, Models, OrderId
from davy.protocol.receipt import Anchor, Outcome, Receipt, open_receipt, receipt_digest, request_anchor
from davy.protocol.recorded import ConvictionRecord
from davy.protocol.transaction import ConvictServedAfterHalt
from davy.protocol.words import Moment, UnixMillis


def convict_served_after_halt(s: State, at: Moment, sender: bytes, x: ConvictServedAfterHalt) -> None:
    """Bar a miner for good and burn what its owner has staked on it; what unbonds from it is burned when it is due.

    What a hotkey signed before it was replaced convicts its successor, and what left the one before is burned too.
    Delegators keep theirs: they cannot see whether a miner has a guard.

    Raises
    ------
    TxFailed
        MALFORMED; BAD_SIGNATURE; WRONG_CHAIN; NOT_FOUND: no such order or miner here, or its key was replaced and did
        not serve this by the ledger (`answerable`); EXISTS: it is barred already;
        MISMATCH: nothing was served, or the HALT does not name it outright, or is not surely in force since it was
        recorded; WRONG_TIME: the anchor is before the grace has passed, longer ago than `evidence_window`, or ahead.
    """
    try:
        receipt = open_receipt(x.receipt)
        anchor = request_anchor(x.request, receipt.request_id)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, str(e)) from None
    except Refused as e:
        raise TxFailed(TxCode.MALFORMED, str(e)) from None
    if receipt.chain != s.chain:
        raise TxFailed(TxCode.WRONG_CHAIN, "the receipt is of another chain; take it there")
    s.need(HOTKEYS, receipt.miner, "the ledger does not know this miner; it never registered")
    miner = answerable(s, receipt.miner, receipt.model_id, anchor.height)
    hotkey = s.need(HOTKEYS, miner, "the ledger does not know this miner; it never registered")
    if barred(s, miner):
        raise TxFailed(TxCode.EXISTS, "this miner is convicted")
    if receipt.outcome is Outcome.HALTED:
        raise TxFailed(TxCode.MISMATCH, "this receipt says that the answer was halted; it convicts nobody")
    s.need(ORDERS, x.halt, "no such order is recorded; hand it in first")
    brake = brake_of(s)
    halt = next((h for h in brake.book.halts if h.order.id == x.halt), None)
    systemic_since = _systemic_since(s, brake, receipt.model_id, x.halt)
    lasting = systemic_since is not None
    if halt is None or not (_names(s, halt, receipt) and surely_in_force(brake, halt, at.time, lasting=lasting)):
        raise TxFailed(TxCode.MISMATCH, "this order does not surely halt what was served; name the HALT that does")
    _check_anchor(s, at, anchor, max(_known_since(s, brake, halt), systemic_since or 0))
    burned = _slash(s, at, hotkey, miner)
    _silence(s, hotkey, miner)
    for key in sorted({receipt.miner, *one_with(s, at, miner)}):
        s.put(CONVICTIONS, key, ConvictionRecord(at.height, x.halt, receipt_digest(x.receipt), burned))


def _check_anchor(s: State, at: Moment, anchor: Anchor, since: int) -> None:
    p = s.parameters
    first = since + p.anchor_slack + CONVICTION_GRACE
    if anchor.height < first:
        raise TxFailed(TxCode.WRONG_TIME, f"the anchor is at height {anchor.height}, and convicts from {first} on")
    if anchor.height > at.height + p.anchor_slack:
        raise TxFailed(TxCode.WRONG_TIME, f"the anchor's height {anchor.height} is not reached")
    if at.height - anchor.height > p.evidence_window:
        raise TxFailed(TxCode.WRONG_TIME, f"the anchor is older than {p.evidence_window} blocks; too late")


def _names(s: State, halt: HaltEntry, r: Receipt) -> bool:
    """Whether a HALT names what was served outright."""
    match halt.target:
        case Global():
            return True
        case Miner(hotkey=hotkey):
            return hotkey == r.miner
        case Models():
            known = s.get(MODELS, r.model_id)
            facts = ModelFacts(r.model_id, frozenset(), b"") if known is None else model_facts(r.model_id, known.model)
            return names(halt.target, facts)
        case _:
            return False


def _known_since(s: State, brake: BrakeState, halt: HaltEntry) -> int:
    """The height from which on a node knows all that keeps a HALT in force.

    That is the HALT's own, and those of the INSTALLs after it: one that carries it may have ended a LIFT.
    """
    place = brake.succession.place(halt.order.order.roster)
    carrying = [] if place is None else [link.install for link in brake.succession.after(place)]
    return max(s.need(ORDERS, i, "an order without a record").height for i in (halt.order.id, *carrying))


def _systemic_since(s: State, brake: BrakeState, model: bytes, halt: OrderId) -> int | None:
    """The height at which a registrant made a model systemic, if no Lower can count since `halt` was recorded."""
    known = s.get(MODELS, model)
    if known is None or known.model.model_class is not ModelClass.SYSTEMIC:
        return None
    lowered = any(isinstance(v.order.action, Lower) and model in v.order.action.models for v in brake.orders.values())
    recorded = brake.recorded.get(halt, 0)
    lapsed = all(link.since + LEASE_GRACE_MS < recorded for link in brake.succession.links[1:])  # forgotten ones too
    return known.model.class_since if lapsed and not lowered else None


def surely_in_force(brake: BrakeState, halt: HaltEntry, now: UnixMillis, *, lasting: bool) -> bool:
    """Whether a HALT has been in force on every node that knows the orders of its block, ever since, until `now`.

    It is not lifted; it does not end with a replaced roster; it had begun when it was recorded. And, unless the model
    is systemic (`lasting`), its end is not reached, counting EXTENDs that were recorded before the end they extend: a
    node ends a HALT only by a block after its end, and then knows them. Nor can the allowance have ended it: all HALTs
    there are, lifted ones too, leave some of it, and none that could count is forgotten.
    """
    recorded = brake.recorded[halt.order.id]
    if halt.lifted is not None or halt.until != FOREVER or halt.begins > recorded:
        return False
    if lasting:
        return True
    counted = isinstance(halt.order.order.action, Halt) and halt.order.order.action.authority is GroupKey.HALT
    end = halt.order.order.end
    for begins, i, until in _extensions(brake, halt.order.id):
        if begins == end and brake.recorded[i] < end and brake.succession.ends(brake.orders[i]) == FOREVER:
            end, counted = until, True
    return now < end and not (counted and _allowance_may_be_used_up(brake, recorded, now))


def _extensions(brake: BrakeState, halt: OrderId) -> list[tuple[UnixMillis, OrderId, UnixMillis]]:
    return sorted(
        (v.order.action.previous_end, v.id, v.order.end)
        for v in brake.orders.values()
        if isinstance(v.order.action, Extend) and v.order.action.halt == halt
    )


def _allowance_may_be_used_up(brake: BrakeState, since: UnixMillis, now: UnixMillis) -> bool:
    """Whether any node may count all of the allowance in the window before `since`, or up to `now`."""
    forgettable = (link.since + SIGNER_SKEW_MS + HALT_TERM_MS for link in brake.succession.links[1:])
    if any(since - ALLOWANCE_WINDOW_MS < end <= now - ALLOWANCE_WINDOW_MS for end in forgettable):
        return True
    spans: list[Span] = []
    for v in brake.orders.values():
        match v.order.action:
            case Halt():
                start = v.order.issued - HALT_LEAD_MS
            case Extend(previous_end=previous_end):
                start = previous_end
            case _:
                continue
        start = max(start, brake.recorded[v.id], since - ALLOWANCE_WINDOW_MS)
        spans.append(Span(start, min(v.order.end, now + 1)))
    return sum(span.end - span.start for span in unite(spans)) >= ALLOWANCE_MS


def _slash(s: State, at: Moment, hotkey: HotkeyRecord, miner: bytes) -> int:
    """Burn the owner's stake on a hotkey, and what it moved from it to others that still answers for it."""
    owed = {miner: stake_of(s, miner, hotkey.owner)}
    for place in moved_from(s, miner):
        moved = sum(p.amount for p in pledges(s, place, hotkey.owner, miner) if p.due > at.height)
        owed[place] = min(moved, stake_of(s, place, hotkey.owner))
    for place, amount in owed.items():
        if amount:
            release(s, place, hotkey.owner, miner)
            change_position(s, place, hotkey.owner, -amount)
            burn(s, amount)
    return sum(owed.values())


def _silence(s: State, hotkey: HotkeyRecord, miner: bytes) -> None:
    """Take away its rows, commits and address. Its UIDs stay until others take them: they earn nothing and go first."""
    for netuid in hotkey.netuids:
        seated = neuron_key(netuid, s.need(UIDS, subnet_key(netuid) + miner, "a hotkey without its UID").uid)
        s.delete(WEIGHTS, seated)
        s.delete(COMMITS, seated)
    now = s.need(HOTKEYS, miner, "the hotkey is gone")
    s.put(HOTKEYS, miner, replace(now, endpoint=()))
