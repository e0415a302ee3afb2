"""A block's work: who spends it, and that nobody spends others'."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from davy.ledger.rules import block, neurons, state
from davy.ledger.rules.block import (
    KEY_WORK_A_BLOCK,
    KIN_WORK,
    NEURON_WORK,
    PAID_SUBNET_WORK,
    PAID_WORK,
    POSITION_WORK,
    WORK_A_BLOCK,
    epoch_work,
)
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import RUNNING, subnet_key
from davy.protocol.errors import TxCode
from davy.protocol.genesis import GenesisSubnet
from davy.protocol.manifest import Access, ModelClass, model_id
from davy.protocol.order import Miner, Models, Subnet
from davy.protocol.transaction import AddStake, RegisterModel, RetireModel, SetAccess, SetHyperparameters
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, PEOPLE, SMALL, World, begins, genesis, manifest, market, pub


def under(w: World, edition: int) -> World:
    """The same chain, which never gets beyond an edition."""
    w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(edition))
    return w


def owned(*owners: str) -> World:
    """Subnets from 1 on of different owners, of 8 UIDs each."""
    subnets = tuple(GenesisSubnet(n, pub(owner), "text", "yuma3", SMALL, 0) for n, owner in enumerate(owners, 1))
    return World(replace(genesis(), subnets=subnets))


def setting(netuid: int, kappa: int) -> SetHyperparameters:
    return SetHyperparameters(netuid, replace(SMALL, kappa=kappa))


@pytest.mark.parametrize("edition", [7, 8])
def test_a_subnet_is_set_once_in_a_block_and_takes_no_work_of_others(edition: int) -> None:
    """Sent over and over, for nothing, it used up the work of every block."""
    w = under(owned("owner", "eve"), edition)
    w.register("ann", "ann-hot")
    w.send("ann", setting(2, 30_000))
    w.send("eve", setting(2, 30_000), setting(2, 30_001), setting(2, 30_002))
    w.send("owner", setting(1, 30_000))
    again = TxCode.OK if edition == 7 else TxCode.TOO_EXPENSIVE
    assert w.block() == [TxCode.NOT_OWNER, TxCode.OK, again, again, TxCode.OK]
    assert w.machine.state.work == WORK_A_BLOCK - (1 if edition == 7 else 0), "the neurons of subnet 1"
    w.ok("eve", setting(2, 30_002))


def test_keys_that_take_anothers_place_have_work_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thief kept the owner of the stolen hotkey from replacing it, for as long as it liked."""
    monkeypatch.setattr(block, "WORK_A_BLOCK", 0)
    w = market()
    w.ok("dan", w.announcement("dan", "dan-new"))
    w.block(FAST.unbonding - 1)
    w.send("ann", w.rotation("ann", "ann-hot", "ann-new"))
    w.send("dan", w.execution("dan", "dan-new"))
    assert w.block() == [TxCode.OK] * 2
    under(w, 7).block(FAST.unbonding)
    w.refused(TxCode.TOO_EXPENSIVE, "ann", w.rotation("ann", "ann-new", "ann-newer"))


def test_a_rotation_spends_for_each_delegator() -> None:
    """2,048 of hotkeys with 128 delegators of dust fitted into one block, of 8 seconds."""
    w = market()
    w.ok("ben", AddStake(pub("ann-hot"), TOKEN))
    w.ok("cat", AddStake(pub("ann-hot"), TOKEN))
    w.ok("ann", w.rotation("ann", "ann-hot", "ann-new"))
    assert KEY_WORK_A_BLOCK - w.machine.state.key_work == 2 * 64 + 3 * 32
    under(w, 7).block(FAST.unbonding)
    w.ok("ann", w.rotation("ann", "ann-new", "ann-newer"))
    assert WORK_A_BLOCK - w.machine.state.work == 2 * 64


def test_a_swap_without_consent_uses_up_nothing() -> None:
    w = market()
    w.ok("dan", w.announcement("dan", "dan-new"))
    w.block(FAST.unbonding - 1)
    w.refused(TxCode.BAD_SIGNATURE, "dan", replace(w.execution("dan", "dan-new"), consent=bytes(64)))
    assert w.machine.state.key_work == KEY_WORK_A_BLOCK
    w.ok("dan", w.execution("dan", "dan-new"))
    assert w.machine.state.key_work == KEY_WORK_A_BLOCK - 1, "one subnet"


def full(w: World, *netuids: int) -> World:
    """All UIDs are taken."""
    for netuid in netuids:
        w.register("cat", *(f"{netuid}-{n}" for n in range(SMALL.max_uids)), netuid=netuid)
        w.end_epoch(netuid)
    return w


@pytest.mark.parametrize(("edition", "code"), [(7, TxCode.OK), (8, TxCode.TOO_EXPENSIVE)])
def test_no_coldkey_spends_more_than_its_part(edition: int, code: TxCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neurons, "turnover", int)
    monkeypatch.setattr(state, "WORK_A_COLDKEY", 2 * SMALL.max_uids)
    w = under(full(owned("owner", "owner"), 1, 2), edition)
    w.send("eve", *(w.registration("eve", f"eve-{n}") for n in range(2)), w.registration("eve", "eve-2", netuid=2))
    w.send("dan", w.registration("dan", "dan-hot"))
    assert w.block() == [TxCode.OK, TxCode.OK, code, TxCode.OK]
    if edition == 8:
        w.register("eve", "eve-2", netuid=2)


@pytest.mark.parametrize(("edition", "code"), [(7, TxCode.OK), (8, TxCode.TOO_EXPENSIVE)])
def test_no_subnet_spends_more_than_its_part(edition: int, code: TxCode, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many coldkeys register there."""
    monkeypatch.setattr(neurons, "turnover", int)
    monkeypatch.setattr(state, "WORK_A_SUBNET", 2 * SMALL.max_uids)
    w = under(full(owned("owner", "owner"), 1, 2), edition)
    for who in PEOPLE[:3]:
        w.send(who, w.registration(who, f"{who}-hot"))
    w.send("ann", w.registration("ann", "ann-hot", netuid=2))
    assert w.block() == [TxCode.OK, TxCode.OK, code, TxCode.OK]


@pytest.mark.parametrize(("edition", "looks"), [(7, 3), (8, 1)])
def test_a_subnet_that_nobody_may_be_pruned_from_is_gone_through_once_in_a_block(edition: int, looks: int) -> None:
    """What fails costs nothing: 64 registrations that did used up a block's work."""
    h = replace(SMALL, immunity=1_000)
    w = World(replace(genesis(), subnets=(GenesisSubnet(1, pub("owner"), "text", "yuma3", h, 0),)))
    under(full(w, 1), edition)
    w.send("eve", *(w.registration("eve", f"eve-{n}") for n in range(3)))
    assert w.block() == [TxCode.FULL] * 3
    assert WORK_A_BLOCK - w.machine.state.work == looks * SMALL.max_uids


def kin() -> World:
    """Dan's model descends from one of cat's; he has another one."""
    w = market()
    w.ok("cat", RegisterModel(manifest("parent"), (), ModelClass.ORDINARY))
    w.ok("dan", RegisterModel(manifest("child"), (model_id(manifest("parent")),), ModelClass.ORDINARY))
    w.ok("dan", RegisterModel(manifest("other"), (), ModelClass.ORDINARY))
    return w


KIN_OF = {
    "set_access": 1 + 1 + 2,
    "retire_model": 1 + 1 + 2,
    "register_model": 1 + 2 + 2,
    "register": 1 + 2,
}


@pytest.mark.parametrize("what", KIN_OF)
def test_whoever_makes_others_be_asked_about_pays_for_it_while_an_order_names_any(what: str) -> None:
    """A halted registrant stalled a block for 13 seconds, with what was refused."""
    w, child = kin(), model_id(manifest("child"))
    lineage = tuple(sorted((child, model_id(manifest("parent")))))
    action = {
        "set_access": SetAccess(child, Access.ADMITTED, (), ()),
        "retire_model": RetireModel(child),
        "register_model": RegisterModel(manifest("new"), lineage, ModelClass.ORDINARY),
        "register": replace(w.registration("dan", "dan-2"), price_limit=0),
    }[what]

    def spent(edition: int) -> int:
        under(w, edition)
        w.send("dan", action)
        w.block()
        return WORK_A_BLOCK - w.machine.state.work

    w.halt(Models((), (), (pub("dan"),)))
    assert spent(7) == 0
    assert spent(8) == KIN_OF[what]


def test_one_registrant_leaves_work_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "WORK_A_COLDKEY", 7)
    w = kin()
    said = SetAccess(model_id(manifest("child")), Access.ADMITTED, (), ())
    w.halt(Subnet(7))
    w.ok("dan", said, said)
    assert w.machine.state.work == WORK_A_BLOCK, "such an order names no model"
    w.halt(Models((bytes(32),), (), ()))
    w.send("dan", said, said)
    w.send("cat", SetAccess(model_id(manifest("parent")), Access.ADMITTED, (), ()))
    assert w.block() == [TxCode.OK, TxCode.TOO_EXPENSIVE, TxCode.OK]


@pytest.mark.parametrize(("edition", "units"), [(7, SMALL.max_uids), (8, SMALL.max_uids + 1 + (1 + 1 + 2 + 1))])
def test_who_is_asked_about_for_a_seat_counts_too(edition: int, units: int) -> None:
    """The first in line serves what was halted after the last epoch, and is asked about; the second serves nothing."""
    w = kin()
    w.ok("cat-hot", w.serving("child"))
    w.register("cat", *(f"cat-{n}" for n in range(4)))
    w.end_epoch()
    w.halt(Models((model_id(manifest("child")),), (), ()))
    under(w, edition)
    w.register("eve", "eve-hot")
    assert w.neuron("eve-hot").uid == 3, "dan's hotkey has lost it"
    assert WORK_A_BLOCK - w.machine.state.work == units


def test_those_who_share_a_verdict_are_asked_about_once_for_a_seat() -> None:
    """Else a few hundred halted ones would use up a subnet's part of the work, and nobody could register."""
    w = kin()
    w.ok("cat-hot", w.serving("child"))
    w.register("cat", *(f"cat-{n}" for n in range(4)))
    w.ok("cat-0", w.serving("child"))
    w.end_epoch()
    w.halt(Models((model_id(manifest("child")),), (), ()))
    w.halt(Miner(pub("dan-hot")))
    w.register("eve", "eve-hot")
    assert w.neuron("eve-hot").uid == 5, "cat-1 has lost it"
    assert WORK_A_BLOCK - w.machine.state.work == SMALL.max_uids + 1 + (1 + 1 + 2 + 1)


def unit_costs(w: World, edition: int) -> int:
    """What subnet 1's epoch counts beside its pairs."""
    s = under(w, edition).machine.state
    before = s.edition
    whole = epoch_work(s, 1)
    s.edition = 7
    pairs = epoch_work(s, 1)
    s.edition = before
    return whole - pairs


def test_an_epochs_work_counts_neurons_and_positions_and_more_for_what_is_paid() -> None:
    """128 positions of dust on each of 4,096 hotkeys counted as nothing, and took .4 s in each of its epochs."""
    w = owned("owner", "owner")
    w.register("ann", "ann-hot", "ann-2")
    w.register("ann", "ann-hot", netuid=2)
    for who in ("ben", "cat", "dan"):
        w.ok(who, AddStake(pub("ann-hot"), TOKEN))
    assert unit_costs(w, 7) == 0
    assert unit_costs(w, 8) == 2 * NEURON_WORK + 3 * POSITION_WORK
    w = market()
    paid = 2 * (PAID_WORK + PAID_SUBNET_WORK)
    w.block()
    assert w.machine.state.need(RUNNING, subnet_key(1), "").pending
    assert unit_costs(w, 8) == 4 * NEURON_WORK + 2 * POSITION_WORK + paid


def test_an_epochs_work_counts_kin_once_for_those_who_share_it_while_an_order_names_any() -> None:
    w = kin()
    w.ok("cat-hot", w.serving("child"))
    w.ok("dan-hot", w.serving("child"))
    w.register("dan", "dan-2")
    w.ok("dan-2", w.serving("child"))
    without = unit_costs(w, 8)
    w.halt(Models((bytes(32),), (), ()))
    assert unit_costs(w, 8) == without + KIN_WORK * ((1 + 1 + 2 + 1) + (1 + 1 + 2))


@pytest.mark.parametrize(("edition", "epochs"), [(7, [0, 0]), (8, [1, 1])])
def test_an_epoch_that_is_too_much_for_any_block_runs_alone(
    edition: int, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One, and the others in the blocks after it: no subnet is stuck, and none holds up the rest."""
    monkeypatch.setattr(block, "MAX_EPOCH_WORK", 1)
    subnets = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 0) for n in (1, 11))
    w = under(World(replace(genesis(), subnets=subnets)), edition)
    w.block(8)
    assert sum(w.subnet(n).epoch for n in (1, 11)) == epochs[0]
    w.block()
    assert [w.subnet(n).epoch for n in (1, 11)] == epochs
