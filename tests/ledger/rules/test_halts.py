"""What else a halt does to time and to others: descendants, siblings, leases, pruning, the end of a frozen epoch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.ledger.rules import upgrades
from davy.ledger.rules.subnets import epoch_end
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.limits import DAY_MS, MAX_MODELS_A_REGISTRANT, chain_parameters, hyperparameters
from davy.protocol.manifest import ModelClass, model_id
from davy.protocol.order import Global, GroupKey, Halt, Lease, Lower, Miner, Models, Raise, Subnet
from davy.protocol.transaction import BrakeOrder, RaiseClass, RegisterModel, RemoveStake, Transfer
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import ONE, Stand
from tests.ledger.rules.world import World, begins, genesis, manifest, pub

ORDINARY, SYSTEMIC = ModelClass.ORDINARY, ModelClass.SYSTEMIC


def idof(name: str) -> bytes:
    return model_id(manifest(name))


def test_descendants_and_what_the_registrant_has_besides_stop_too() -> None:
    w = Stand()
    w.ok("eve", RegisterModel(manifest("child"), (ONE,), ORDINARY))
    w.ok("eve", RegisterModel(manifest("grandchild"), (idof("child"),), ORDINARY))
    w.ok("cat", RegisterModel(manifest("sibling"), (), ORDINARY))
    halt = w.halt(Models((ONE,), (), ()))
    for name in ("one", "child", "grandchild", "sibling"):
        w.refused(TxCode.HALTED, "dan-hot", w.serving(name))
    w.refused(TxCode.HALTED, "ben", RegisterModel(manifest("new"), (idof("grandchild"),), ORDINARY))
    w.refused(TxCode.HALTED, "cat", RegisterModel(manifest("renamed"), (), ORDINARY))
    w.ok("dan-hot", w.serving("three"))
    w.lift(halt)
    w.ok("dan-hot", w.serving("grandchild"))


def test_another_s_sibling_of_an_ancestor_goes_on() -> None:
    w = Stand()
    w.ok("cat", RegisterModel(manifest("parent"), (), ORDINARY))
    w.ok("eve", RegisterModel(manifest("child"), (idof("parent"),), ORDINARY))
    w.block(4)
    w.halt(Models((ONE,), (), ()))
    w.ok("dan-hot", w.serving("child"))


def test_who_serves_on_a_halted_subnet_keeps_it_by_naming_it_again() -> None:
    w = Stand()
    w.ok("cat", w.registration("cat", "cat-hot", 2))
    w.halt(Subnet(1))
    both = type(w.serving("one"))(w.serving("one").endpoint, (*w.serving("one").models, *w.serving("three", 2).models))
    w.ok("cat-hot", both)
    assert [n.model[0].model_id for n in (w.neuron("cat-hot"), w.neuron("cat-hot", 2))] == [ONE, idof("three")]


def test_a_systemic_model_is_served_with_a_lease_only() -> None:
    w = Stand()
    w.ok("eve", RegisterModel(manifest("large"), (), SYSTEMIC))
    w.block(4)
    w.refused(TxCode.HALTED, "dan-hot", w.serving("large"))
    w.command(Lease((idof("large"),)), 20 * DAY_MS)
    w.ok("dan-hot", w.serving("large"))
    w.halt(Models((idof("large"),), (), ()))
    w.vote()
    w.end_epoch()
    assert w.neuron("dan-hot").emission == 0


def test_a_subnet_s_class_is_its_models_class() -> None:
    w = World(genesis(h=hyperparameters(tempo=10, max_uids=4, max_validators=2, systemic=1)))
    w.register("cat", "cat-hot")
    w.ok("cat", *(RegisterModel(manifest(name), (), ORDINARY) for name in ("one", "two")))
    w.refused(TxCode.HALTED, "cat-hot", w.serving("one"))
    w.command(Lease(tuple(sorted((ONE, idof("two"))))), 20 * DAY_MS)
    w.ok("cat-hot", w.serving("one"))
    w.halt(Global(), 1_000)
    w.block(8)
    w.refused(TxCode.HALTED, "cat-hot", w.serving("two"))
    epoch = w.subnet().epoch
    w.block(20)
    assert w.subnet().epoch == epoch, "on a systemic subnet no HALT ends by itself"


def test_orders_raise_and_lower_a_class() -> None:
    w = Stand()
    raised = w.command(Raise(Models((idof("three"),), (), ())))
    w.refused(TxCode.HALTED, "dan-hot", w.serving("three"))
    w.command(Lower((), (raised,)))
    w.ok("dan-hot", w.serving("three"))


def test_a_class_is_raised_by_its_registrant_once_and_never_below_its_ancestors() -> None:
    w = Stand()
    w.refused(TxCode.NOT_OWNER, "dan", RaiseClass(ONE))
    w.refused(TxCode.NOT_FOUND, "dan", RaiseClass(bytes(32)))
    w.ok("cat", RaiseClass(ONE))
    w.refused(TxCode.EXISTS, "cat", RaiseClass(ONE))


def test_ancestors_are_registered_sorted_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World(genesis(p=chain_parameters(model_bond=0)))
    w.refused(TxCode.NOT_FOUND, "cat", RegisterModel(manifest("a"), (bytes(32),), ORDINARY))
    w.ok("cat", *(RegisterModel(manifest(name), (), ORDINARY) for name in ("a", "b")))
    parents = sorted((idof("a"), idof("b")))
    w.refused(TxCode.MALFORMED, "cat", RegisterModel(manifest("c"), tuple(reversed(parents)), ORDINARY))
    w.ok("cat", RegisterModel(manifest("c"), tuple(parents), ORDINARY))
    monkeypatch.setattr("davy.ledger.rules.models.MAX_LINEAGE", 2)
    w.refused(TxCode.FULL, "cat", RegisterModel(manifest("d"), (idof("c"),), ORDINARY))


def test_a_registrant_has_so_many_models(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_MODELS_A_REGISTRANT == 64
    monkeypatch.setattr("davy.ledger.rules.models.MAX_MODELS_A_REGISTRANT", 2)
    w = World(genesis(p=chain_parameters(model_bond=1)))
    w.ok("cat", *(RegisterModel(manifest(name), (), ORDINARY) for name in "ab"))
    w.refused(TxCode.FULL, "cat", RegisterModel(manifest("c"), (), ORDINARY))
    assert w.issuance().deposits == 2, "nothing of a refused registration stays"


def test_who_was_halted_at_the_last_epoch_is_not_pruned_before_the_next() -> None:
    w = Stand(max_uids=4)
    halt = w.halt(Miner(pub("cat-hot")))
    w.end_epoch()
    w.lift(halt)
    assert w.neuron("cat-hot").emission == 0
    w.ok("eve", w.registration("eve", "eve-hot"))
    assert {n.hotkey for n in w.metagraph().neurons} == {pub(f"{n}-hot") for n in ("ann", "ben", "cat", "eve")}


def full_of_idlers(w: Stand) -> None:
    """Five UIDs of five: but for ann and ben nobody earns, and cat, the oldest of those, is to go."""
    w.register("dan", "spare")
    for name in ("cat", "dan"):
        w.ok(name, RemoveStake(pub(f"{name}-hot"), dict(w.account(name).stakes)[pub(f"{name}-hot")]))
    w.end_epoch()
    w.ok("eve", w.registration("eve", "eve-hot"))


def a_squatter(w: Stand) -> None:
    """Its registrant makes systemic what cat serves already, which then has no LEASE."""
    w.ok("cat", RaiseClass(ONE))
    full_of_idlers(w)


@pytest.mark.parametrize(("edition", "stays"), [(4, True), (5, False)])
def test_nobody_keeps_a_uid_by_making_its_own_model_systemic(
    edition: int, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrades, "FROM_THE_START", begins(edition))
    w = Stand(max_uids=5)
    a_squatter(w)
    assert w.holds("cat-hot") is stays


def test_a_halt_keeps_its_uid_all_the_same() -> None:
    w = Stand(max_uids=5)
    w.halt(Models((ONE,), (), ()))
    a_squatter(w)
    assert w.holds("cat-hot")


def test_who_began_with_a_lease_keeps_its_uid_when_that_has_lapsed() -> None:
    w = Stand(max_uids=5)
    w.ok("eve", RegisterModel(manifest("large"), (), SYSTEMIC))
    w.block(4)
    w.command(Lease((idof("large"),)), 20 * DAY_MS)
    w.ok("cat-hot", w.serving("large"))
    w.machine.time += 30 * DAY_MS
    full_of_idlers(w)
    assert w.holds("cat-hot")


def test_a_barred_or_halted_neuron_s_part_is_not_minted_to_the_unit() -> None:
    w = Stand()
    w.vote()
    w.halt(Models((ONE,), (), ()))
    epoch = w.subnet().epoch
    pending = w.subnet().pending + TOKEN * (w.subnet().next_epoch_at - w.machine.height)
    before = w.issuance()
    w.end_epoch()
    r = w.record(epoch)
    assert r.owner + sum(r.miners) + sum(r.validators) == r.minted
    assert w.issuance().unminted - before.unminted == pending - r.minted > 0
    assert w.issuance().burned == before.burned


def test_nothing_is_lost_of_what_was_minted_before_a_subnet_was_halted() -> None:
    w = Stand()
    w.block(3)
    halt = w.halt(Subnet(1))
    pending, epoch = w.subnet().pending, w.subnet().epoch
    w.block(25)
    assert w.subnet().pending == pending
    w.lift(halt)
    left = w.subnet().next_epoch_at - w.machine.height
    w.end_epoch()
    assert w.record(epoch).minted == pending + left * TOKEN


@given(tempo=st.integers(2, 20), before=st.integers(0, 30), halted=st.integers(1, 50))
def test_a_frozen_epoch_ends_at_a_regular_height_and_never_too_soon(tempo: int, before: int, halted: int) -> None:
    """It is later by the halt, and by less than a tempo more, counting from its first end if that was in the halt."""
    w = World(genesis(h=hyperparameters(tempo=tempo, max_uids=4, max_validators=2)))
    w.block(before + 1)
    running = w.subnet()
    epoch, planned = running.epoch, running.next_epoch_at
    halt = w.halt(Subnet(1))
    if w.subnet().epoch != epoch:
        return
    w.block(halted)
    assert w.subnet().epoch == epoch
    w.lift(halt)
    while w.subnet().epoch == epoch:
        w.block()
    ended = w.machine.height
    assert ended == epoch_end(1, tempo, ended - 1), "a regular height"
    assert planned + halted <= ended <= planned + halted + tempo


def test_a_halt_that_ends_by_itself_ends_with_a_block_s_time() -> None:
    w = Stand()
    w.halt(Global(), 2_000)
    codes = []
    for _ in range(10):
        w.send("cat", RegisterModel(manifest(f"m{len(codes)}"), (), ORDINARY))
        codes += w.block()
    assert codes == [TxCode.HALTED] * 6 + [TxCode.OK] * 4


def test_what_stands_before_an_order_in_a_block_goes_on() -> None:
    w = Stand()
    raws = [w.tx("cat", RegisterModel(manifest("early"), (), ORDINARY))]
    raws += [encode(BrakeOrder(w.order(Halt(Global(), GroupKey.HALT))))]
    raws += [w.tx("cat", RegisterModel(manifest("late"), (), ORDINARY)), w.tx("cat", Transfer(pub("ben"), 1))]
    assert [r.code for r in w.apply(raws).results] == [TxCode.OK, TxCode.OK, TxCode.HALTED, TxCode.OK]
