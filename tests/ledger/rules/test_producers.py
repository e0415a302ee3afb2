"""Four make the blocks; others join with a bond, one leaves, one votes twice and loses everything it put in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from davy.ledger.rules import producers
from davy.ledger.rules.machine import BlockResult, Machine, ProducerUpdate
from davy.ledger.rules.producers import LEAST_PRODUCERS, MAX_WAITING, PRODUCER_BOND, producing
from davy.ledger.rules.records import PRODUCERS, PRODUCING, SEATING, ProducerRecord, SeatingRecord
from davy.protocol.chain import seats_digest
from davy.protocol.errors import Refused, TxCode
from davy.protocol.limits import chain_parameters
from davy.protocol.proof import verify_absence, verify_presence
from davy.protocol.transaction import RegisterProducer, RetireProducer, Transfer
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import World, genesis, pub

UNBONDING = 5


def address(name: str) -> bytes:
    return hashlib.sha256(pub(name)).digest()[:20]


class Chain(World):
    """Four producers; `updates` is what the engine was told, block by block."""

    def __init__(self, names: Sequence[str] = FOUR, unbonding: int = UNBONDING) -> None:
        super().__init__(genesis(p=chain_parameters(unbonding=unbonding), producers=names))
        self.told = {pub(n) for n in names}

    def apply(self, raws: Sequence[bytes], evidence: Sequence[bytes] = (), absent: Sequence[bytes] = ()) -> BlockResult:
        """And check what the engine must never be told: an unknown key to go, a known one to come, two at once."""
        result = super().apply(raws, evidence, absent)
        assert len(result.producer_updates) <= 1
        for u in result.producer_updates:
            assert (u.key in self.told) is not u.joined
            self.told ^= {u.key}
        assert tuple(sorted(self.told)) == self.machine.producers
        assert len(self.told) >= LEAST_PRODUCERS
        return result

    @property
    def seated(self) -> set[bytes]:
        return set(self.machine.producers)

    def producer(self, name: str) -> ProducerRecord:
        return self.machine.state.need(PRODUCERS, pub(name), "unknown")


def test_one_joins_with_a_bond_leaves_and_has_it_back() -> None:
    w = Chain()
    before = w.account("ann").free
    w.ok("ann", w.joining("ann", "fifth"))
    assert w.seated == {pub(n) for n in (*FOUR, "fifth")}
    assert w.account("ann").free == before - PRODUCER_BOND
    assert w.issuance().deposits == PRODUCER_BOND
    w.ok("ann", RetireProducer(pub("fifth")))
    assert pub("fifth") in w.seated, "one seat changed just now, and a third of five is one"
    w.refused(TxCode.EXISTS, "ann", RetireProducer(pub("fifth")))
    w.block(UNBONDING)
    assert w.seated == {pub(n) for n in FOUR}
    left = w.producer("fifth").left
    w.refused(TxCode.WRONG_TIME, "ann", RetireProducer(pub("fifth")))
    w.block(left + UNBONDING - w.machine.height - 1)
    w.ok("ann", RetireProducer(pub("fifth")))
    assert w.account("ann").free == before
    w.refused(TxCode.EXISTS, "ann", RetireProducer(pub("fifth")))
    w.refused(TxCode.EXISTS, "ben", w.joining("ben", "fifth"))


def test_who_produces_and_with_which_bond_is_proved() -> None:
    w = Chain()
    w.ok("ann", w.joining("ann", "fifth"))
    keys = [PRODUCING.tag, SEATING.tag, PRODUCERS.tag + pub("fifth")]
    for key in keys:
        value, proof = w.machine.prove(key)
        assert value is not None
        verify_presence(w.machine.app_hash, key, value, proof)
        with pytest.raises(Refused):
            verify_presence(w.machine.app_hash, key, value[:-1] + bytes([value[-1] ^ 1]), proof)
    value, proof = w.machine.prove(PRODUCERS.tag + pub("sixth"))
    assert value is None
    verify_absence(w.machine.app_hash, PRODUCERS.tag + pub("sixth"), proof)


def test_the_state_tells_how_often_a_seat_changed_and_how() -> None:
    """Each change from the height on whose header those after it sign."""
    w = Chain()
    assert w.machine.state.get(SEATING) is None
    w.ok("ann", w.joining("ann", "fifth"))
    joined, five = w.machine.height, w.machine.producers
    first = seats_digest(bytes(32), joined + 2, five)
    assert w.machine.state.get(SEATING) == SeatingRecord(1, first)
    w.apply([], evidence=[address("fifth")])
    assert w.machine.state.get(SEATING) == SeatingRecord(2, seats_digest(first, joined + 3, w.machine.producers))
    w.block(UNBONDING)
    assert w.machine.state.need(SEATING, b"", "").changes == 2
    assert len({first, seats_digest(bytes(32), joined + 3, five), seats_digest(first, joined + 2, five)}) == 3


def test_no_more_than_a_third_changes_while_a_bond_is_held() -> None:
    w = Chain(unbonding=20)
    people = ("ann", "ben", "cat", "dan", "eve")
    w.send("ann", w.joining("ann", "p-ann"))
    for name in people[1:]:
        w.send(name, w.joining(name, f"p-{name}"))
    assert w.block() == [TxCode.OK] * 5
    seats = [len(w.seated)]
    for _ in range(45):
        w.block()
        seats.append(len(w.seated))
    assert seats[0] == 5
    for now, later in zip(seats, seats[20:], strict=False):
        assert later - now <= later // 3
    assert seats[19] == 5
    assert seats[-1] == 9


def test_the_highest_bond_goes_first_and_a_full_line_has_room_for_a_higher_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers, "MAX_WAITING", 3)
    w = Chain(unbonding=50)
    w.ok("ann", w.joining("ann", "p-ann"))
    w.ok("ben", w.joining("ben", "p-ben"))
    w.ok("cat", w.joining("cat", "p-cat", PRODUCER_BOND + 1))
    w.ok("eve", w.joining("eve", "p-eve", PRODUCER_BOND + 9))
    assert producing(w.machine.state).waiting == (pub("p-eve"), pub("p-cat"), pub("p-ben"))
    w.refused(TxCode.FULL, "dan", w.joining("dan", "p-dan"))
    free = w.account("ben").free
    w.ok("dan", w.joining("dan", "p-dan", PRODUCER_BOND + 1))
    assert producing(w.machine.state).waiting == (pub("p-eve"), pub("p-cat"), pub("p-dan"))
    assert w.account("ben").free == free + PRODUCER_BOND
    w.ok("ben", w.joining("ben", "p-ben", PRODUCER_BOND + 2))
    assert producing(w.machine.state).waiting == (pub("p-eve"), pub("p-ben"), pub("p-cat")), "its key was never used"
    w.ok("cat", RetireProducer(pub("p-cat")))
    assert producing(w.machine.state).waiting == (pub("p-eve"), pub("p-ben"))
    assert w.account("cat").free == 1_000 * TOKEN
    assert MAX_WAITING > 3


def test_what_is_refused() -> None:
    w = Chain()
    w.refused(TxCode.OUT_OF_RANGE, "ann", w.joining("ann", "fifth", PRODUCER_BOND - 1))
    w.refused(TxCode.INSUFFICIENT, "ann", w.joining("ann", "fifth", 2_000 * TOKEN))
    w.refused(TxCode.BAD_SIGNATURE, "ann", w.joining("ben", "fifth"))
    other = w.joining("ann", "other")
    w.refused(TxCode.BAD_SIGNATURE, "ann", RegisterProducer(pub("fifth"), other.consent, PRODUCER_BOND))
    w.refused(TxCode.NOT_FOUND, "ann", RetireProducer(pub("first")))
    w.ok("ann", w.joining("ann", "fifth"))
    w.refused(TxCode.FULL, "ann", w.joining("ann", "sixth"))
    w.refused(TxCode.EXISTS, "ben", w.joining("ben", "fifth"))
    w.refused(TxCode.NOT_OWNER, "ben", RetireProducer(pub("fifth")))


@pytest.mark.parametrize("count", [1, 3])
def test_a_chain_that_began_with_fewer_keeps_them(count: int) -> None:
    w = World(genesis(producers=FOUR[:count]))
    w.refused(TxCode.NOT_ENABLED, "ann", w.joining("ann", "fifth"))


def test_one_of_the_genesis_may_have_an_owner_and_leave_when_there_is_another() -> None:
    w = Chain()
    w.ok("ann", w.joining("ann", "first"))
    assert w.seated == {pub(n) for n in FOUR}
    w.ok("ann", RetireProducer(pub("first")))
    w.block(2 * UNBONDING)
    assert pub("first") in w.seated, "there would be three"
    w.ok("ben", w.joining("ben", "fifth"))
    w.block(UNBONDING)
    assert w.seated == {pub(n) for n in (*FOUR[1:], "fifth")}


def test_two_votes_cost_the_bond_and_the_seat() -> None:
    w = Chain()
    w.ok("ann", w.joining("ann", "fifth"))
    burned = w.issuance().burned
    assert w.apply([], [address("fifth")]).producer_updates == (ProducerUpdate(pub("fifth"), joined=False),)
    assert w.issuance().burned == burned + PRODUCER_BOND
    w.apply([], [address("fifth"), bytes(20), b""])
    assert w.issuance().burned == burned + PRODUCER_BOND, "once"
    w.refused(TxCode.EXISTS, "ann", RetireProducer(pub("fifth")))
    w.refused(TxCode.EXISTS, "ben", w.joining("ben", "fifth"))


def test_who_left_answers_as_long_as_its_bond_is_held() -> None:
    w = Chain()
    w.ok("ann", w.joining("ann", "fifth"))
    w.ok("ann", RetireProducer(pub("fifth")))
    w.block(UNBONDING)
    assert pub("fifth") not in w.seated
    w.apply([], [address("fifth")])
    assert w.producer("fifth").bond == 0
    w.block(UNBONDING)
    w.refused(TxCode.EXISTS, "ann", RetireProducer(pub("fifth")))


def test_one_of_four_that_votes_twice_goes_as_soon_as_another_comes() -> None:
    w = Chain()
    w.apply([], [address("first")])
    assert pub("first") in w.seated
    w.ok("ann", w.joining("ann", "fifth"))
    w.block()
    assert w.seated == {pub(n) for n in (*FOUR[1:], "fifth")}
    w.refused(TxCode.EXISTS, "ben", w.joining("ben", "first"))


def test_a_restored_machine_goes_on_alike_and_an_old_edition_knows_nothing_of_it() -> None:
    w = Chain()
    w.ok("ann", w.joining("ann", "fifth"))
    again = Machine.restore(w.genesis, list(w.machine.rows()), w.machine.height, w.machine.time)
    mine = w.apply([], [address("fifth")])
    theirs = again.apply_block(again.height + 1, w.machine.time, [], [address("fifth")])
    assert (mine.app_hash, mine.producer_updates) == (theirs.app_hash, theirs.producer_updates)
    old = Machine.from_genesis(w.genesis, (0, 0))
    assert old.apply_block(1, 2_000, [], [address("first")]).producer_updates == ()
    assert producing(old.state) == producing(Machine.from_genesis(w.genesis).state)
    plain = Machine.from_genesis(w.genesis, (0, 0))
    assert plain.apply_block(1, 2_000, []).app_hash == old.app_hash
    raw = w.tx("eve", w.joining("eve", "sixth"), nonce=0)
    assert plain.check_tx(raw).code is TxCode.MALFORMED
    assert w.machine.check_tx(raw).code is TxCode.OK
    assert w.machine.check_tx(w.tx("eve", Transfer(pub("ann"), 1), nonce=0)).code is TxCode.OK


def test_a_chain_that_began_with_the_most_there_can_be_takes_one_more_in_line() -> None:
    c = Chain([f"producer {n}" for n in range(128)])
    c.ok("ann", c.joining("ann", "fifth"))
    assert len(producing(c.machine.state).seated) == 128
    assert producing(c.machine.state).waiting == (pub("fifth"),)
