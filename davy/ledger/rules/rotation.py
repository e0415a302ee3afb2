"""A hotkey's place taken by a new key: one that was stolen, lost or is too old goes, and what it had stays.

What the old key signed before answers on the new one's stake (`answerable`), so nobody rotates away from a conviction.
When it signed nobody can know, and a thief can sign today for an anchor of before. So of an old key only that counts
which the ledger said it served, and a model that it left while a HALT named it is noted (`note_left`).
One rotation an unbonding time: evidence is younger than that, so there is one step back and one forth to look at.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from davy.killswitch.scope import Subject
from davy.ledger.rules.brake import brake_of
from davy.ledger.rules.coldkeys import require_fresh
from davy.ledger.rules.facts import neuron_of
from davy.ledger.rules.families import rename_family
from davy.ledger.rules.halts import facts_of, require_not_barred, require_running
from davy.ledger.rules.records import (
    COMMITS,
    HOTKEYS,
    LEFT,
    MOVES,
    NEURONS,
    ROTATIONS,
    STAKES,
    UIDS,
    HotkeyRecord,
    LeftRecord,
    MovesRecord,
    NeuronRecord,
    Pledge,
    RotationRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.stake import require_current
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import ALL_WORK_COUNTS_SINCE, SERVED_COUNTS_SINCE
from davy.protocol.errors import BadSignature, TxCode, TxFailed
from davy.protocol.signing import Domain, verify
from davy.protocol.transaction import RotateHotkey, consent_bytes, weight_subject
from davy.protocol.words import Moment

_NEVER: Final = RotationRecord(b"", 0, b"", 0)
_WORK_A_SUBNET: Final = 64
"""Units: its loans of both kinds, its neuron."""
WORK_A_DELEGATOR: Final = 32
"""Its position, with what it keeps for each subnet."""


def rotation_of(s: State, hotkey: bytes) -> RotationRecord:
    """Which keys stand before and after a hotkey."""
    return s.get(ROTATIONS, hotkey) or _NEVER


def rotate_hotkey(s: State, at: Moment, sender: bytes, x: RotateHotkey) -> None:
    """Put `successor` in a hotkey's place: its UIDs since when they were registered, all stake on it, its take, loans.

    Weights given to it count no more until its validators have named the new key, and what it committed and did not
    reveal is void and costs it as an unrevealed commit does. The old key is of no use any more.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER; HALTED: everything, or this hotkey. BARRED: convicted, or replaced. WRONG_TIME: it was
        itself put in another's place less than `unbonding` blocks ago. EXISTS: the ledger knows the successor.
        BAD_SIGNATURE: the successor does not consent. TOO_EXPENSIVE.
    """
    h = s.need(HOTKEYS, x.hotkey, "the ledger does not know this hotkey; register it first")
    if h.owner != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only a hotkey's owner replaces it")
    require_running(s, at, Subject(hotkey=x.hotkey), "replacing this hotkey")
    require_not_barred(s, x.hotkey)
    require_current(s, x.hotkey)
    rotation = rotation_of(s, x.hotkey)
    again = rotation.since + s.parameters.unbonding
    if rotation.before and at.height < again:
        raise TxFailed(TxCode.WRONG_TIME, f"this hotkey is new, and may be replaced at height {again}; wait until then")
    require_fresh(s, x.successor)
    try:
        verify(x.successor, Domain.CONSENT, consent_bytes(s.chain, sender, x.successor), x.consent)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, f"the successor's consent: {e}") from None
    delegators = len(h.delegators) if s.edition >= ALL_WORK_COUNTS_SINCE else 0
    s.spend(_WORK_A_SUBNET * (1 + len(h.netuids)) + WORK_A_DELEGATOR * delegators, sender, keys=True)
    s.put(HOTKEYS, x.successor, h)
    for netuid in h.netuids:
        _take_seat(s, at, netuid, x.hotkey, x.successor)
        rename_family(s, netuid, x.hotkey, x.successor)
    for coldkey in h.delegators:
        position = s.need(STAKES, x.hotkey + coldkey, "a delegator without a position")
        s.delete(STAKES, x.hotkey + coldkey)
        s.put(STAKES, x.successor + coldkey, position)
    _rename_pledges(s, h.owner, x.hotkey, x.successor)
    s.put(HOTKEYS, x.hotkey, HotkeyRecord(h.owner, h.take, h.raised, (), (), ()))
    s.put(ROTATIONS, x.hotkey, replace(rotation, after=x.successor, until=at.height))
    s.put(ROTATIONS, x.successor, RotationRecord(x.hotkey, at.height, b"", 0))


def note_left(s: State, at: Moment, neuron: NeuronRecord) -> None:
    """Before a hotkey ceases to serve its model: remember it if a HALT names that, for when the key is replaced."""
    if s.edition < SERVED_COUNTS_SINCE or not neuron.model:
        return
    model = neuron.model[0].model_id
    facts = facts_of(s, model, "a neuron serves a model that is not registered")
    if brake_of(s).naming.halts(Subject(hotkey=neuron.hotkey, model=facts)):
        s.put(LEFT, neuron.hotkey + model, LeftRecord(at.height))


def answerable(s: State, hotkey: bytes, model: bytes, anchor: int) -> bytes:
    """Whose stake answers for what a hotkey signed about a model after block `anchor`.

    Raises
    ------
    TxFailed
        NOT_FOUND: it was replaced before that block, so what it signs is nobody's any more; or it was replaced later,
        and the ledger did not say at that block that it served this model.
    """
    rotation = rotation_of(s, hotkey)
    if not rotation.after:
        return hotkey
    if anchor > rotation.until:
        raise TxFailed(TxCode.NOT_FOUND, f"this key was replaced at height {rotation.until}; what it signs is nobody's")
    left = s.get(LEFT, hotkey + model)
    if s.edition >= SERVED_COUNTS_SINCE and (left is None or anchor > left.until):
        said = f"this key was replaced at height {rotation.until}, and served another model at height {anchor}"
        raise TxFailed(TxCode.NOT_FOUND, said)
    return rotation.after


def one_with(s: State, at: Moment, hotkey: bytes) -> tuple[bytes, ...]:
    """A hotkey, and the one before it while stake that left that one may still unbond."""
    rotation = rotation_of(s, hotkey)
    recent = rotation.before and at.height <= rotation.since + s.parameters.unbonding
    return (hotkey, rotation.before) if recent else (hotkey,)


def _take_seat(s: State, at: Moment, netuid: int, hotkey: bytes, successor: bytes) -> None:
    uid, neuron = neuron_of(s, netuid, hotkey)
    note_left(s, at, neuron)
    key = neuron_key(netuid, uid)
    model = neuron.model[0].model_id if neuron.model else b""
    committed = s.get(COMMITS, key) is not None
    s.delete(COMMITS, key)
    subject = weight_subject(successor, neuron.registered_at, model)
    unrevealed = 1 if committed else neuron.unrevealed
    s.put(NEURONS, key, replace(neuron, hotkey=successor, subject=subject, unrevealed=unrevealed))
    seat = s.need(UIDS, subnet_key(netuid) + hotkey, "a hotkey without its UID")
    s.delete(UIDS, subnet_key(netuid) + hotkey)
    s.put(UIDS, subnet_key(netuid) + successor, seat)


def _rename_pledges(s: State, owner: bytes, hotkey: bytes, successor: bytes) -> None:
    """What answers for it answers for the successor; what it answers for knows where."""
    moves = s.get(MOVES, hotkey)
    if moves is not None:
        s.delete(MOVES, hotkey)
        s.put(MOVES, successor, moves)
    for place in () if moves is None else moves.destinations:
        position = s.get(STAKES, place + owner)
        if position is not None:
            named = tuple(Pledge(successor, p.amount, p.due) if p.origin == hotkey else p for p in position.pledges)
            s.put(STAKES, place + owner, replace(position, pledges=named))
    own = s.get(STAKES, successor + owner)
    for origin in sorted({p.origin for p in own.pledges} if own is not None else ()):
        moved = s.get(MOVES, origin)
        if moved is not None:
            places = {successor if p == hotkey else p for p in moved.destinations}
            s.put(MOVES, origin, MovesRecord(tuple(sorted(places))))
