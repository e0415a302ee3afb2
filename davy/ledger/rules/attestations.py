"""Who answered an order, and when: the public record of halts and drills."""

from __future__ import annotations

from itertools import pairwise

from davy.ledger.rules.records import (
    ANSWER_QUEUE,
    ANSWERS,
    ATTESTATIONS,
    DRILLS,
    HOTKEYS,
    ORDERS,
    AnswerRecord,
    QueueRecord,
)
from davy.ledger.rules.state import State
from davy.protocol.attestation import open_attestation
from davy.protocol.errors import BadSignature, Refused, TxCode, TxFailed
from davy.protocol.limits import MAX_ATTESTATIONS
from davy.protocol.recorded import AttestationRecord
from davy.protocol.transaction import AttestStop
from davy.protocol.words import Moment


def attest_stop(s: State, at: Moment, sender: bytes, x: AttestStop) -> None:
    """Record a registered hotkey's first answer to a recorded order or drill; the oldest of all makes room.

    Raises
    ------
    TxFailed
        MALFORMED; BAD_SIGNATURE; WRONG_CHAIN; NOT_FOUND: the order is not recorded, or the hotkey never registered;
        EXISTS: it has answered.
    """
    try:
        said = open_attestation(x.attestation)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, str(e)) from None
    except Refused as e:
        raise TxFailed(TxCode.MALFORMED, str(e)) from None
    if said.chain != s.chain:
        raise TxFailed(TxCode.WRONG_CHAIN, "the attestation is for another chain; take it there")
    if said.stopped < said.received or any(a >= b for a, b in pairwise(said.models)):
        raise TxFailed(TxCode.MALFORMED, "nothing stops before the order came, and models are sorted; attest anew")
    if s.get(ORDERS, said.order) is None and s.get(DRILLS, said.order) is None:
        raise TxFailed(TxCode.NOT_FOUND, "this order is not recorded; hand it in first")
    s.need(HOTKEYS, said.node, "the ledger does not know this node; register its hotkey first")
    key = said.order + said.node
    if s.get(ATTESTATIONS, key) is not None:
        raise TxFailed(TxCode.EXISTS, "this node has answered this order")
    line = s.need(ANSWER_QUEUE, b"", "the chain has no line of answers")
    first = line.first
    if line.next - first >= MAX_ATTESTATIONS:
        oldest = first.to_bytes(8, "big")
        gone = s.need(ANSWERS, oldest, "a gap in the line of answers")
        s.delete(ATTESTATIONS, gone.order + gone.node)
        s.delete(ANSWERS, oldest)
        first += 1
    s.put(ANSWERS, line.next.to_bytes(8, "big"), AnswerRecord(said.order, said.node))
    s.put(ANSWER_QUEUE, b"", QueueRecord(first, line.next + 1))
    heard = AttestationRecord(at.height, said.received, said.stopped, said.head, len(said.models), said.streams)
    s.put(ATTESTATIONS, key, heard)
