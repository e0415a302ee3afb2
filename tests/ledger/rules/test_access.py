"""Who may ask for a model: said by its registrant, proved, told to nodes, and gone with the registration."""

from __future__ import annotations

import pytest

from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, TxCode, TxFailed
from davy.protocol.limits import MAX_ACCESSES_ASKED, MAX_NAMED_CALLERS, MAX_RESULT_BYTES, MAX_TX_BYTES, chain_parameters
from davy.protocol.manifest import Access, ModelClass, model_id
from davy.protocol.order import Models
from davy.protocol.proof import verify_absence, verify_presence
from davy.protocol.recorded import AccessList, AccessRecord, access_key
from davy.protocol.transaction import RegisterModel, RetireModel, SetAccess
from tests.ledger.rules.stand import ONE, Stand
from tests.ledger.rules.world import World, genesis, manifest, pub

TWO = model_id(manifest("two"))


def asked(w: World, model: bytes = ONE) -> AccessRecord:
    (said,) = w.query("/access", model, AccessList).records
    return said


def proved(w: World, model: bytes = ONE) -> AccessRecord | None:
    value, proof = w.machine.prove(access_key(model))
    if value is None:
        verify_absence(w.machine.app_hash, access_key(model), proof)
        return None
    verify_presence(w.machine.app_hash, access_key(model), value, proof)
    return decode(value, AccessRecord, limit=MAX_RESULT_BYTES)


def named(*names: str, hot: tuple[str, ...] = (), model: bytes = ONE) -> SetAccess:
    return SetAccess(model, Access.NAMED, tuple(sorted(map(pub, names))), tuple(sorted(map(pub, hot))))


def plain(access: Access, model: bytes = ONE) -> SetAccess:
    return SetAccess(model, access, (), ())


@pytest.fixture
def w() -> World:
    return Stand()


def test_at_first_a_miner_decides_and_that_is_proved(w: World) -> None:
    assert asked(w) == AccessRecord(Access.ANY, (), (), 0)
    assert proved(w) is None


def test_a_registrant_says_who_may_ask_says_it_anew_and_takes_it_back(w: World) -> None:
    w.ok("cat", plain(Access.ADMITTED))
    assert asked(w) == proved(w) == AccessRecord(Access.ADMITTED, (), (), w.machine.height)
    w.ok("cat", named("ann", "eve", hot=("dan-hot",)))
    keys = tuple(sorted((pub("ann"), pub("eve"))))
    assert asked(w) == proved(w) == AccessRecord(Access.NAMED, keys, (pub("dan-hot"),), w.machine.height)
    assert asked(w, TWO).access is Access.ANY, "of another model nothing was said"
    w.ok("cat", named())
    assert proved(w) == AccessRecord(Access.NAMED, (), (), w.machine.height), "nobody but who scores it"
    w.ok("cat", plain(Access.ANY))
    assert proved(w) is None
    w.ok("cat", plain(Access.ANY))


def test_several_are_asked_about_at_once_and_told_in_their_order(w: World) -> None:
    w.ok("dan", plain(Access.ADMITTED, TWO))
    told = w.query("/access", TWO + ONE + TWO, AccessList).records
    assert [said.access for said in told] == [Access.ADMITTED, Access.ANY, Access.ADMITTED]


def test_what_many_registrants_say_at_most_fits_into_one_answer(w: World) -> None:
    keys = tuple(sorted(pub(f"caller {n}") for n in range(MAX_NAMED_CALLERS)))
    w.ok("cat", SetAccess(ONE, Access.NAMED, keys, ()))
    assert len(w.machine.query("/access", ONE * MAX_ACCESSES_ASKED)) < MAX_RESULT_BYTES // 16


def test_nobody_else_does_nor_for_a_model_that_is_not_registered(w: World) -> None:
    w.refused(TxCode.NOT_OWNER, "dan", plain(Access.ADMITTED))
    w.refused(TxCode.NOT_OWNER, "cat-hot", named("cat"))
    w.refused(TxCode.NOT_FOUND, "cat", plain(Access.ADMITTED, bytes(32)))
    assert proved(w) is None


def test_keys_are_named_in_one_way_only(w: World) -> None:
    ann, ben = sorted((pub("ann"), pub("ben")))
    for cold, hot in (((ben, ann), ()), ((ann, ann), ()), ((), (ben, ann)), ((), (ann, ann))):
        w.refused(TxCode.MALFORMED, "cat", SetAccess(ONE, Access.NAMED, cold, hot))
    for access in (Access.ANY, Access.ADMITTED):
        w.refused(TxCode.MALFORMED, "cat", SetAccess(ONE, access, (ann,), ()))
        w.refused(TxCode.MALFORMED, "cat", SetAccess(ONE, access, (), (ann,)))
    assert proved(w) is None


def test_as_many_are_named_as_there_is_room_for_of_both_kinds_together(w: World) -> None:
    keys = tuple(sorted(pub(f"caller {n}") for n in range(MAX_NAMED_CALLERS + 1)))
    raw = w.tx("cat", SetAccess(ONE, Access.NAMED, keys, ()))
    assert len(raw) < MAX_TX_BYTES // 16
    assert w.apply([raw]).results[0].code == TxCode.MALFORMED, "it cannot even be read"
    w.nonces.clear()
    w.refused(TxCode.OUT_OF_RANGE, "cat", SetAccess(ONE, Access.NAMED, keys[:40], keys[: MAX_NAMED_CALLERS - 39]))
    w.ok("cat", SetAccess(ONE, Access.NAMED, keys[:40], keys[: MAX_NAMED_CALLERS - 40]))
    w.ok("cat", SetAccess(ONE, Access.NAMED, (), keys[:MAX_NAMED_CALLERS]))


def test_whoever_signs_for_a_swapped_coldkey_says_it() -> None:
    w = Stand()
    w.ok("cat", w.announcement("cat", "new"))
    w.block(40)
    w.ok("cat", w.execution("cat", "new"))
    w.ok("new", plain(Access.ADMITTED))
    assert asked(w).access is Access.ADMITTED


def test_what_was_said_goes_with_the_registration() -> None:
    """Whoever registers a model again, once it has left, says anew who may ask for it; the former one no more."""
    w = World(genesis(p=chain_parameters(unbonding=2)))
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.ok("cat", named("eve"), RetireModel(ONE))
    w.ok("cat", plain(Access.ADMITTED))
    w.block()
    w.ok("cat", RetireModel(ONE))
    assert asked(w).access is Access.ADMITTED, "as long as nobody registers it again"
    w.refused(TxCode.NOT_FOUND, "cat", named("eve"))
    w.ok("dan", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    assert proved(w) is None
    w.refused(TxCode.NOT_OWNER, "cat", plain(Access.ADMITTED))
    w.ok("dan", named("ann"))


def test_a_halt_of_a_sibling_or_of_what_a_model_descends_from_stops_it_too() -> None:
    w = Stand()
    w.ok("cat", RegisterModel(manifest("other"), (), ModelClass.ORDINARY))
    w.ok("dan", RegisterModel(manifest("child"), (ONE,), ModelClass.ORDINARY))
    halt = w.halt(Models((ONE,), (), ()))
    w.refused(TxCode.HALTED, "cat", plain(Access.ADMITTED, model_id(manifest("other"))))
    w.refused(TxCode.HALTED, "dan", plain(Access.ADMITTED, model_id(manifest("child"))))
    w.lift(halt)
    w.ok("dan", plain(Access.ADMITTED, model_id(manifest("child"))))


def test_a_systemic_model_without_a_lease_can_be_closed(w: World) -> None:
    w.ok("cat", RegisterModel(manifest("great"), (), ModelClass.SYSTEMIC))
    w.ok("cat", named(model=model_id(manifest("great"))))


def test_what_cannot_be_asked_for(w: World) -> None:
    with pytest.raises(TxFailed) as refused:
        w.machine.query("/access", bytes(32))
    assert refused.value.code is TxCode.NOT_FOUND
    with pytest.raises(TxFailed):
        w.machine.query("/access", ONE + bytes(32) + TWO)
    many = ONE * MAX_ACCESSES_ASKED
    assert len(w.query("/access", many, AccessList).records) == MAX_ACCESSES_ASKED
    for data in (b"", ONE[:-1], ONE + b"x", many + TWO):
        with pytest.raises(Malformed):
            w.machine.query("/access", data)
