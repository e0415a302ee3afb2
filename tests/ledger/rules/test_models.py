"""Models: one id for one model, a bond, and a review before it may be served."""

from davy.protocol.chain import ModelRecord
from davy.protocol.errors import TxCode
from davy.protocol.limits import chain_parameters
from davy.protocol.manifest import Manifest, ModelClass, ModelFile, model_id
from davy.protocol.transaction import RegisterModel
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, genesis, manifest, pub


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
