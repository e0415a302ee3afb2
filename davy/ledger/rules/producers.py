"""Who makes the blocks of a chain with several producers: they join with a bond, leave, and lose it for two votes.

Who is silent for too long (`absences`) loses the seat and not the bond, and may register again to come back.

All vote with the same power, and nobody is paid for it. The producers of the genesis have no bond until they put one
in. A set of them is never smaller than four, so one of them at a time may fail; it changes by one a block at most, and
in `unbonding` blocks by a third, so that nobody buys a majority before those who look on have seen it coming.

The engine is told of a change with the block that makes it, and counts the votes of the new set two blocks later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from davy.ledger.rules.absences import address, count_absences, silent
from davy.ledger.rules.accounts import burn, credit, debit
from davy.ledger.rules.records import (
    ABSENCES,
    PRODUCERS,
    PRODUCING,
    SEATING,
    ProducerRecord,
    ProducingRecord,
    SeatingRecord,
)
from davy.ledger.rules.state import State
from davy.ledger.rules.upgrades import ABSENCES_SINCE, CHANGES_TOLD_SINCE
from davy.protocol.chain import seats_digest
from davy.protocol.consents import producer_consent
from davy.protocol.errors import BadSignature, TxCode, TxFailed
from davy.protocol.signing import Domain, verify
from davy.protocol.transaction import RegisterProducer, RetireProducer
from davy.protocol.words import TOKEN, Moment, PublicKey, tokens

LEAST_PRODUCERS: Final = 4
"""A chain that began with fewer never changes them; no other one goes below."""
MAX_PRODUCERS: Final = 64
MAX_WAITING: Final = 16
"""Who wait for a seat; a higher bond takes the place of the lowest."""
PRODUCERS_A_COLDKEY: Final = 1
"""Seats and places in the line: with more, one could stop a chain of four alone."""
PRODUCER_BOND: Final = 500 * TOKEN
"""The least."""
SEATED_AFTER: Final = 2
"""Blocks from the one that changes a seat to the first whose header is signed by those after it."""
_WITHOUT: Final = ProducerRecord(b"", 0, 0, 0, 0, 0)


def producing(s: State) -> ProducingRecord:
    """Who makes blocks, and who is to; until the first change those of the genesis."""
    return s.get(PRODUCING) or ProducingRecord(tuple(sorted(s.first_producers)), (), (), (), ())


def register_producer(s: State, at: Moment, sender: bytes, x: RegisterProducer) -> None:
    """Hold a bond for a producer's key, which waits for a seat; who bonds most goes first, then who came first.

    A key of the genesis keeps its seat and has an owner from now on, once. A key that asked to leave is never used
    again; one that lost its seat because it was silent is, by its owner, and of the bond only what is more is put in.

    Raises
    ------
    TxFailed
        NOT_ENABLED: the chain began with fewer than LEAST_PRODUCERS. OUT_OF_RANGE: a bond below PRODUCER_BOND, or
        below what is held already. BAD_SIGNATURE: the key does not consent. EXISTS: it registered before. FULL: the
        coldkey has its PRODUCERS_A_COLDKEY, or MAX_WAITING with bonds as high wait. INSUFFICIENT.
    """
    if len(s.first_producers) < LEAST_PRODUCERS:
        raise TxFailed(
            TxCode.NOT_ENABLED, f"this chain began with fewer than {LEAST_PRODUCERS} producers, and keeps them"
        )
    if x.bond < PRODUCER_BOND:
        raise TxFailed(TxCode.OUT_OF_RANGE, f"a producer's bond is {tokens(PRODUCER_BOND)} tokens or more; put in more")
    try:
        verify(x.producer, Domain.PRODUCER, producer_consent(s.chain, sender, x.producer), x.consent)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, f"the producer's consent: {e}") from None
    p, before = producing(s), producer_record(s, x.producer)
    if before != _WITHOUT and not _may_come_back(s, p, before, sender, x.producer):
        raise TxFailed(TxCode.EXISTS, "this key registered before, and a producer's key is used once; make another one")
    if x.bond < before.bond:
        raise TxFailed(TxCode.OUT_OF_RANGE, f"{tokens(before.bond)} tokens are held for it already; name no less")
    owned = sum(producer_record(s, key).owner == sender for key in (*p.seated, *p.waiting))
    if owned >= PRODUCERS_A_COLDKEY:
        raise TxFailed(TxCode.FULL, f"one coldkey has at most {PRODUCERS_A_COLDKEY} producer; use another coldkey")
    debit(s, sender, x.bond - before.bond)
    s.put(PRODUCERS, x.producer, replace(before, owner=sender, bond=x.bond, registered=at.height))
    if x.producer not in p.seated:
        s.put(PRODUCING, b"", _in_line(s, p, x.producer, x.bond))


def retire_producer(s: State, at: Moment, sender: bytes, x: RetireProducer) -> None:
    """Give up a place in the line, and have the bond back, unless the key had a seat; or ask to leave a seat.

    The seat is left when there are enough others; `unbonding` blocks after that, called again, the bond comes back.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER. EXISTS: it is leaving already, or its bond is gone. WRONG_TIME: it left less than
        `unbonding` blocks ago.
    """
    record = s.need(PRODUCERS, x.producer, "no producer of this key has registered")
    if record.owner != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only who registered a producer retires it")
    p = producing(s)
    if x.producer in p.waiting:
        _give_back(s, x.producer, record)
        s.put(PRODUCING, b"", replace(p, waiting=_without(p.waiting, x.producer)))
        return
    if not record.bond or x.producer in p.leaving:
        raise TxFailed(TxCode.EXISTS, "this producer is leaving, or has no bond any more; there is nothing to do")
    if x.producer in p.seated:
        s.put(PRODUCERS, x.producer, replace(record, leaves=at.height))
        s.put(PRODUCING, b"", replace(p, leaving=(*p.leaving, x.producer)))
        return
    back = record.left + s.parameters.unbonding
    if at.height < back:
        raise TxFailed(TxCode.WRONG_TIME, f"the bond comes back at height {back}; ask again then")
    credit(s, sender, record.bond)
    s.put(PRODUCERS, x.producer, replace(record, bond=0))


def convict_producer(s: State, at: Moment, called: bytes) -> None:
    """Burn the bond of a producer that the engine proved to have voted for two blocks of one height.

    Its key is never used again. Its seat is lost as soon as LEAST_PRODUCERS others have one.

    Parameters
    ----------
    called
        Its `absences.address`. One that left more than `unbonding` blocks ago is not known any more; a second time
        nothing happens.
    """
    p = producing(s)
    found = next((key for key in (*p.seated, *p.gone) if address(key) == called), None)
    if found is None or producer_record(s, found).convicted:
        return
    record = producer_record(s, found)
    burn(s, record.bond)
    s.put(PRODUCERS, found, replace(record, bond=0, convicted=at.height))
    if found in p.seated:
        s.put(PRODUCING, b"", replace(p, leaving=(found, *_without(p.leaving, found))))
    elif found in p.waiting:
        s.put(PRODUCING, b"", replace(p, waiting=_without(p.waiting, found)))


def note_absences(s: State, absent: Sequence[bytes]) -> None:
    """Count who is missing in the commit for the block before, by address, where seats can be lost at all."""
    if len(s.first_producers) >= LEAST_PRODUCERS:
        count_absences(s, producing(s).seated, absent)


def change_seats(s: State, at: Moment) -> None:
    """Let one producer leave its seat, or one take one: the convicted, the silent, who asked to leave, then who waits.

    The convicted leave whatever changed lately.
    """
    p = producing(s)
    absent = silent(s, p.seated)
    if not (p.leaving or p.waiting or absent):
        return
    since = at.height - s.parameters.unbonding
    recent = tuple(h for h in p.changes if h > since)
    may_change = len(recent) < len(p.seated) // 3
    p = replace(p, changes=recent, gone=tuple(key for key in p.gone if producer_record(s, key).left > since))
    convicted = [key for key in p.leaving if producer_record(s, key).convicted]
    leaver = next(iter((*convicted, *((*absent, *p.leaving) if may_change else ()))), None)
    if leaver is not None and len(p.seated) > LEAST_PRODUCERS:
        record = producer_record(s, leaver)
        s.put(PRODUCERS, leaver, replace(record, left=at.height))
        s.delete(ABSENCES, leaver)
        seated, leaving = _without(p.seated, leaver), _without(p.leaving, leaver)
        p = replace(p, seated=seated, leaving=leaving, gone=(*p.gone, leaver), changes=(*recent, at.height))
        note_change(s, at, p)
    elif p.waiting and may_change and len(p.seated) < MAX_PRODUCERS:
        comer, *others = p.waiting
        seated, gone = tuple(sorted((*p.seated, comer))), _without(p.gone, comer)
        p = replace(p, seated=seated, waiting=tuple(others), gone=gone, changes=(*recent, at.height))
        note_change(s, at, p)


def note_change(s: State, at: Moment, p: ProducingRecord) -> None:
    """Keep who makes blocks from now on, and that this is one more change: who joins is shown all of them, or none.

    The digest is `seats_digest`, one change after the other. On a chain of an older edition the first one is the first
    since then.
    """
    s.put(PRODUCING, b"", p)
    if s.edition >= CHANGES_TOLD_SINCE:
        told = s.get(SEATING) or SeatingRecord(0, bytes(32))
        digest = seats_digest(told.digest, at.height + SEATED_AFTER, p.seated)
        s.put(SEATING, b"", SeatingRecord(told.changes + 1, digest))


def _in_line(s: State, p: ProducingRecord, key: PublicKey, bond: int) -> ProducingRecord:
    """The line with one more in it, behind all whose bond is as high."""
    waiting = list(p.waiting)
    if len(waiting) >= MAX_WAITING:
        least = producer_record(s, waiting[-1])
        if bond <= least.bond:
            raise TxFailed(
                TxCode.FULL, f"{MAX_WAITING} producers wait with {tokens(least.bond)} tokens or more; put in more"
            )
        _give_back(s, waiting.pop(), least)
    place = sum(producer_record(s, other).bond >= bond for other in waiting)
    return replace(p, waiting=(*waiting[:place], key, *waiting[place:]))


def _may_come_back(s: State, p: ProducingRecord, known: ProducerRecord, owner: bytes, key: PublicKey) -> bool:
    """Whether a key that is known lost its seat because it was silent, and this is who answers for it."""
    lost = known.left and not known.leaves and not known.convicted and key not in (*p.seated, *p.waiting)
    return s.edition >= ABSENCES_SINCE and bool(lost) and known.owner in (b"", owner)


def _give_back(s: State, key: PublicKey, record: ProducerRecord) -> None:
    """Of who goes out of the line; one that had a seat answers for it until `unbonding` blocks after it."""
    if record.left:
        return
    credit(s, record.owner, record.bond)
    s.delete(PRODUCERS, key)


def producer_record(s: State, key: PublicKey) -> ProducerRecord:
    """What is known of a key; nothing of one of the genesis that nobody answers for."""
    return s.get(PRODUCERS, key) or _WITHOUT


def _without(keys: tuple[PublicKey, ...], key: PublicKey) -> tuple[PublicKey, ...]:
    return tuple(k for k in keys if k != key)
