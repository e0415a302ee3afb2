"""Who answered: once for each order and node, from registered hotkeys only, the newest of all."""

import hashlib
from typing import Any

import pytest

from davy.ledger.rules import attestations
from davy.ledger.rules.queries import Queries
from davy.ledger.rules.records import ANSWERS, ATTESTATIONS
from davy.ledger.rules.state import State
from davy.protocol.chain import Proof
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_BRAKE_PAGE, MAX_RESULT_BYTES
from davy.protocol.order import Drill, Global, Miner
from davy.protocol.recorded import AttestationPage, AttestationRecord
from davy.protocol.transaction import AttestStop
from tests.ledger.rules.stand import Stand
from tests.ledger.rules.world import genesis, pub


def test_an_answer_is_recorded_with_its_block_and_listed() -> None:
    w = Stand()
    order = w.halt(Miner(pub("cat-hot")))
    w.ok("ann", w.attestation(order, "cat-hot", models=(b"m" * 32,), streams=3))
    w.ok("ann", w.attestation(order, "dan-hot"))
    page = w.query("/attestations", order + bytes(32), AttestationPage)
    told = {a.node: a.attestation for a in page.attestations}
    assert told.keys() == {pub("cat-hot"), pub("dan-hot")}
    mine = told[pub("cat-hot")]
    assert (mine.received, mine.stopped, mine.models, mine.streams) == (5, 9, 1, 3)
    assert told[pub("dan-hot")].height == mine.height + 1 == w.machine.height
    assert not w.query("/attestations", bytes(64), AttestationPage).attestations


def test_drills_are_answered_like_halts() -> None:
    w = Stand()
    drill = w.command(Drill(Global()))
    w.ok("cat-hot", w.attestation(drill))
    w.refused(TxCode.EXISTS, "cat-hot", w.attestation(drill, streams=7))


@pytest.mark.parametrize(
    ("code", "node", "changes"),
    [
        (TxCode.NOT_FOUND, "nobody", {}),
        (TxCode.WRONG_CHAIN, "cat-hot", {"chain": bytes(32)}),
        (TxCode.MALFORMED, "cat-hot", {"received": 10}),
        (TxCode.MALFORMED, "cat-hot", {"models": (b"m" * 32, b"m" * 32)}),
    ],
)
def test_refused(code: TxCode, node: str, changes: dict[str, Any]) -> None:
    w = Stand()
    order = w.halt(Miner(pub("cat-hot")))
    w.refused(code, "ann", w.attestation(order, node, **changes))
    assert not w.query("/attestations", order + bytes(32), AttestationPage).attestations


def test_an_order_that_is_not_recorded_and_a_foreign_signature_are_refused() -> None:
    w = Stand()
    order = w.halt(Miner(pub("cat-hot")))
    w.refused(TxCode.NOT_FOUND, "ann", w.attestation(bytes(32)))
    good = w.attestation(order).attestation
    w.refused(TxCode.BAD_SIGNATURE, "ann", AttestStop(good[:-1] + bytes([good[-1] ^ 1])))


def test_bytes_that_are_no_attestation_are_malformed() -> None:
    Stand().refused(TxCode.MALFORMED, "ann", AttestStop(b"junk"))


def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestations, "MAX_ATTESTATIONS", 3)
    w = Stand()
    orders = [w.halt(Miner(pub(name))) for name in ("a", "b")]
    given = [(order, node) for order in orders for node in ("ann-hot", "ben-hot", "cat-hot")]
    for order, node in given:
        w.ok("eve", w.attestation(order, node))
    kept = {key[1:] for key in w.rows if key[:1] == ATTESTATIONS.tag}
    assert kept == {order + pub(node) for order, node in given[3:]}
    told = [w.query("/attestations", order + bytes(32), AttestationPage).attestations for order in orders]
    assert [[a.node for a in page] for page in told] == [[], sorted(pub(node) for _, node in given[3:])]
    assert len([key for key in w.rows if key[:1] == ANSWERS.tag]) == 3
    w.ok("eve", w.attestation(orders[0], "ann-hot"))


class Names(list[bytes]):
    """Counts how many are read, and does not let all be."""

    read = 0

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        self.read += len(found) if isinstance(at, slice) else 1
        return found

    def __iter__(self) -> Any:
        raise AssertionError("all names are read")


def test_a_page_reads_few_more_names_than_it_holds_however_many_there_are() -> None:
    """Sorting 65,536 of them took a ledger 67 ms a call, and anybody may ask."""
    order, count = b"o" * 32, 20_000
    answered = AttestationRecord(1, 1, 1, bytes(32), 0, 0)
    nodes = [hashlib.sha256(b"%d" % n).digest() for n in range(count)]
    records: dict[bytes, Wire] = {ATTESTATIONS.tag + order + node: answered for node in nodes}
    q = Queries(genesis(), State(records), lambda _: (None, Proof(1, b"", bytes(32), ())))
    names = q._answers[order] = Names(q._answers[order])
    page = decode(q.answer("/attestations", order + sorted(nodes)[9_999], 1), AttestationPage, limit=MAX_RESULT_BYTES)
    assert [a.node for a in page.attestations] == sorted(nodes)[10_000 : 10_000 + MAX_BRAKE_PAGE]
    assert names.read < 2 * MAX_BRAKE_PAGE


def test_answers_come_in_pages() -> None:
    w = Stand(max_uids=100, registrations_an_epoch=100, max_validators=4)
    order = w.halt(Miner(pub("x")))
    names = [f"node-{n}" for n in range(MAX_BRAKE_PAGE + 3)]
    w.register("eve", *names)
    w.ok("eve", *(w.attestation(order, name) for name in names))
    first = w.query("/attestations", order + bytes(32), AttestationPage)
    rest = w.query("/attestations", order + first.attestations[-1].node, AttestationPage)
    assert first.more
    assert not rest.more
    assert [a.node for a in (*first.attestations, *rest.attestations)] == sorted(pub(name) for name in names)
