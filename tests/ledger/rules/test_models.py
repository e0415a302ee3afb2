"""Models: one id for one model, a bond, a review before it may be served, and a notice before it leaves."""

import pytest

from davy.ledger.rules.machine import Machine
from davy.protocol.chain import ModelRecord, ModelState
from davy.protocol.errors import TxCode
from davy.protocol.limits import chain_parameters
from davy.protocol.manifest import Manifest, ModelClass, ModelFile, model_id
from davy.protocol.order import Lease, Models, Raise
from davy.protocol.transaction import RaiseClass, RegisterModel, RetireModel
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, begins, genesis, manifest, market, pub


def test_a_registered_model_holds_a_bond_and_can_be_looked_up(world: World) -> None:
    m = manifest("one")
    world.ok("cat", RegisterModel(m, (), ModelClass.ORDINARY))
    record = world.query("/model", model_id(m), ModelRecord)
    assert (record.manifest, record.registrant, record.permitted_from) == (m, pub("cat"), 1)
    assert world.issuance().deposits == world.genesis.parameters.model_bond
    world.refused(TxCode.EXISTS, "dan", RegisterModel(m, (), ModelClass.ORDINARY))


def test_one_model_cannot_have_several_ids(world: World) -> None:
    files = (ModelFile("a", 1, bytes(32)), ModelFile("b", 1, bytes(32)))
    for listed in (tuple(reversed(files)), (files[0], files[0])):
        world.refused(
            TxCode.MALFORMED,
            "cat",
            RegisterModel(Manifest(1, "m", listed, "safetensors", b"", "MIT"), (), ModelClass.ORDINARY),
        )
    world.refused(
        TxCode.MALFORMED,
        "cat",
        RegisterModel(Manifest(1, "m", files, "safetensors", b"short", "MIT"), (), ModelClass.ORDINARY),
    )
    assert world.issuance().deposits == 0


def test_a_model_under_review_is_not_served() -> None:
    w = World(genesis(p=chain_parameters(model_review=3)))
    w.register("cat", "cat-hot")
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.block()
    w.refused(TxCode.WRONG_TIME, "cat-hot", w.serving("one"))
    w.ok("cat-hot", w.serving("one"))


def test_who_cannot_pay_the_bond_registers_nothing() -> None:
    w = World(genesis(p=chain_parameters(model_bond=1_001 * TOKEN)))
    w.refused(TxCode.INSUFFICIENT, "cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))


def state(w: World, name: str) -> ModelState:
    return w.query("/model_state", model_id(manifest(name)), ModelState)


def retiring(name: str) -> RetireModel:
    return RetireModel(model_id(manifest(name)))


def test_a_model_leaves_after_a_notice_and_its_bond_comes_back() -> None:
    w = World(genesis(p=chain_parameters(unbonding=6)))
    w.register("cat", "cat-hot", "other-hot")
    w.served("cat", "cat-hot", "one")
    free = w.account("cat").free
    w.ok("cat", retiring("one"))
    assert state(w, "one").leaves == w.machine.height + 6
    w.refused(TxCode.NOT_FOUND, "other-hot", w.serving("one"))
    w.refused(TxCode.WRONG_TIME, "cat", retiring("one"))
    w.block(4)
    assert w.account("cat").free == free
    w.refused(TxCode.EXISTS, "dan", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.ok("cat", retiring("one"))
    assert w.account("cat").free == free + w.genesis.parameters.model_bond
    assert (w.issuance().deposits, state(w, "one").bond) == (0, 0)
    w.refused(TxCode.EXISTS, "cat", retiring("one"))
    assert w.query("/model", model_id(manifest("one")), ModelRecord).manifest == manifest("one"), "it is still known"


def test_only_its_registrant_retires_a_model() -> None:
    w = World()
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.refused(TxCode.NOT_OWNER, "dan", retiring("one"))
    w.refused(TxCode.NOT_FOUND, "cat", retiring("two"))


def test_no_weight_counts_for_a_model_that_has_left() -> None:
    w = market(genesis(p=chain_parameters(unbonding=11)))
    w.served("cat", "cat-hot", "one")
    w.served("dan", "dan-hot", "two")
    row = w.row({"cat-hot": 1, "dan-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.ok("cat", retiring("one"))
    w.end_epoch()
    assert w.neuron("cat-hot").incentive == w.neuron("dan-hot").incentive > 0, "it has not left yet"
    w.end_epoch()
    assert (w.neuron("cat-hot").incentive, w.neuron("dan-hot").incentive) == (0, 65_535)
    w.served("cat", "cat-hot", "three")
    assert w.neuron("cat-hot").model[0].model_id == model_id(manifest("three"))


@pytest.mark.parametrize(("edition", "other"), [(7, ModelClass.SYSTEMIC), (8, ModelClass.ORDINARY)])
@pytest.mark.parametrize("again", ["cat", "dan"])
def test_a_model_that_left_can_be_registered_again_and_keeps_its_lineage_and_for_its_registrant_its_class(
    edition: int, other: ModelClass, again: str
) -> None:
    w = World(genesis(p=chain_parameters(unbonding=2)))
    w.machine = Machine.from_genesis(w.genesis, begins(edition))
    w.ok("cat", RegisterModel(manifest("base"), (), ModelClass.ORDINARY))
    w.ok("cat", RegisterModel(manifest("one"), (model_id(manifest("base")),), ModelClass.SYSTEMIC))
    w.ok("cat", retiring("one"))
    w.block(1)
    w.ok("cat", retiring("one"))
    w.ok(again, RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    model = state(w, "one").model
    assert (model.registrant, model.ancestors) == (pub(again), (model_id(manifest("base")),))
    assert model.model_class is (ModelClass.SYSTEMIC if again == "cat" else other)
    assert state(w, "one").leaves == 0
    w.refused(TxCode.NOT_OWNER, "eve", retiring("one"))
    w.ok(again, retiring("one"))


def test_nobody_spoils_a_model_for_others_by_registering_it_first() -> None:
    w = World(genesis(p=chain_parameters(unbonding=2)))
    w.register("cat", "cat-hot")
    one = model_id(manifest("one"))
    w.ok("eve", RegisterModel(manifest("one"), (), ModelClass.ORDINARY), RaiseClass(one))
    w.ok("eve", retiring("one"))
    w.block(1)
    w.ok("eve", retiring("one"))
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.ok("cat-hot", w.serving("one"))


def test_a_halt_of_what_was_systemic_stops_who_registers_it_as_something_else() -> None:
    """It ends for an ordinary model, and not for a systemic one."""
    w = World(genesis(p=chain_parameters(unbonding=2)))
    for name, model_class in (("one", ModelClass.SYSTEMIC), ("two", ModelClass.ORDINARY)):
        w.ok("eve", RegisterModel(manifest(name), (), model_class))
        w.ok("eve", retiring(name))
    w.block(1)
    w.ok("eve", retiring("one"), retiring("two"))
    w.halt(Models(tuple(sorted(model_id(manifest(name)) for name in ("one", "two"))), (), ()), 2_000)
    w.block(20)
    w.ok("cat", RegisterModel(manifest("two"), (), ModelClass.ORDINARY))
    w.refused(TxCode.HALTED, "cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))


def test_what_keyholders_raised_is_systemic_for_whoever_registers_it_again() -> None:
    w = World(genesis(p=chain_parameters(unbonding=2)))
    w.register("cat", "cat-hot")
    one = model_id(manifest("one"))
    w.ok("eve", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.command(Raise(Models((one,), (), ())))
    w.ok("eve", retiring("one"))
    w.block(1)
    w.ok("eve", retiring("one"))
    w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
    w.refused(TxCode.HALTED, "cat-hot", w.serving("one"))
    w.command(Lease((one,)))
    w.ok("cat-hot", w.serving("one"))


def test_a_halted_model_and_its_siblings_do_not_retire() -> None:
    """Or its registrant would have nothing left that a halt holds on to."""
    w = World(genesis(p=chain_parameters(unbonding=2)))
    for name in ("one", "two"):
        w.ok("cat", RegisterModel(manifest(name), (), ModelClass.ORDINARY))
    w.ok("cat", retiring("two"))
    halt = w.halt(Models((model_id(manifest("one")),), (), ()))
    for name in ("one", "two"):
        w.refused(TxCode.HALTED, "cat", retiring(name))
    w.lift(halt)
    w.ok("cat", retiring("two"))
