"""Neurons: who gets a UID, at what price, who loses it, and what the next holder inherits (nothing)."""

import pytest

from davy.ledger.rules import block, neurons, packed, subnets, upgrades
from davy.ledger.rules.block import WORK_A_BLOCK
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.neurons import MAX_SUBNETS_A_HOTKEY, deregister
from davy.ledger.rules.records import BONDS, COMMITS, HOTKEYS, NEURONS, TAKEN, UIDS, WEIGHTS, neuron_key, subnet_key
from davy.ledger.rules.stake import stake_of
from davy.ledger.rules.subnets import SURGE
from davy.protocol.chain import Neuron
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Genesis, GenesisSubnet
from davy.protocol.limits import hyperparameters
from davy.protocol.manifest import Identity, ModelClass, model_id
from davy.protocol.order import GroupKey, Halt, Miner, Models, Subnet
from davy.protocol.transaction import (
    AddStake,
    BrakeOrder,
    CommitWeights,
    Endpoint,
    Register,
    RegisterModel,
    Serve,
    Served,
    SetWeights,
    Transfer,
)
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, SMALL, World, begins, genesis, id_of, manifest, market, pub


def test_a_registration_burns_the_price_and_gives_the_next_uid(world: World) -> None:
    world.register("ann", "ann-hot", "ann-two")
    seated = [(n.uid, n.hotkey, n.coldkey) for n in world.metagraph().neurons]
    assert seated == [(0, pub("ann-hot"), pub("ann")), (1, pub("ann-two"), pub("ann"))]
    assert world.issuance().burned == 2 * FAST.burn_low
    assert world.account("ann").free == 1_000 * TOKEN - 2 * FAST.burn_low


def test_nobody_registers_another_s_hotkey(world: World) -> None:
    consent = world.registration("ben", "ben-hot").consent
    world.refused(TxCode.BAD_SIGNATURE, "ann", Register(1, pub("ben-hot"), consent, TOKEN))
    world.refused(TxCode.BAD_SIGNATURE, "ann", Register(1, pub("ben-hot"), bytes(64), TOKEN))
    world.register("ben", "ben-hot")
    stolen = world.registration("ann", "ben-hot")
    world.refused(TxCode.EXISTS, "ann", stolen)


def test_a_hotkey_belongs_to_its_first_coldkey_for_good(world: World) -> None:
    h = hyperparameters(tempo=10)
    two = (*world.genesis.subnets, GenesisSubnet(2, pub("owner"), "text", "yuma3", h, 0))
    g = world.genesis
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, two, ()))
    w.register("ann", "ann-hot")
    w.refused(TxCode.NOT_OWNER, "ben", w.registration("ben", "ann-hot", netuid=2))
    w.ok("ann", w.registration("ann", "ann-hot", netuid=2))


def test_a_price_above_the_limit_an_unknown_subnet_and_an_empty_purse_are_refused(world: World) -> None:
    world.refused(TxCode.TOO_EXPENSIVE, "ann", world.registration("ann", "h", limit=FAST.burn_low - 1))
    world.refused(TxCode.NOT_FOUND, "ann", world.registration("ann", "h", netuid=9))
    world.ok("ann", Transfer(pub("poor"), FAST.burn_low - 1))
    world.refused(TxCode.INSUFFICIENT, "poor", world.registration("poor", "h"))


def test_an_epoch_takes_a_bounded_number_and_the_price_doubles_after_it() -> None:
    w = World(genesis(hyperparameters(tempo=10, registrations_an_epoch=2, max_uids=64, max_validators=8)))
    w.register("ann", *(f"h{i}" for i in range(SURGE * 2)))
    w.refused(TxCode.FULL, "ann", w.registration("ann", "one-more"))
    w.end_epoch()
    assert w.subnet().registration_price == 2 * FAST.burn_low
    w.register("ann", "one-more")
    w.end_epoch()
    assert w.subnet().registration_price == 2 * FAST.burn_low * 3 // 4


def crowd(w: World, count: int) -> None:
    w.register("cat", *(f"m{i}" for i in range(count)))


def test_in_a_full_subnet_the_lowest_emission_goes_and_of_equals_the_oldest() -> None:
    w = market()
    row = w.row({"cat-hot": 3, "dan-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    crowd(w, 4)
    w.end_epoch()
    assert len(w.metagraph().neurons) == SMALL.max_uids
    w.register("eve", "eve-1")
    assert w.neuron("eve-1").uid == 4, "m0: nothing earned, and the oldest of those"
    w.end_epoch()
    w.register("eve", "eve-2")
    assert w.neuron("eve-2").uid == 5
    left = {n.hotkey for n in w.metagraph().neurons}
    assert pub("m0") not in left
    assert pub("m1") not in left
    assert {pub("cat-hot"), pub("dan-hot"), pub("ann-hot")} <= left


def full(edition: int = upgrades.NEWEST, **wants: int) -> World:
    """A subnet of 32 UIDs that are all taken: newcomers take two of them from others in an epoch."""
    w = World(genesis(hyperparameters(**{"tempo": 40, "immunity": 0, "max_uids": 32, "max_validators": 4} | wants)))
    w.machine = Machine.from_genesis(w.genesis, begins(edition))
    crowd(w, w.subnet().hyperparameters.max_uids)
    w.end_epoch()
    return w


def rush(w: World, count: int) -> list[TxCode]:
    """So many newcomers in one block."""
    w.send("eve", *(w.registration("eve", f"eve-{w.machine.height}-{i}") for i in range(count)))
    return w.block()


def test_newcomers_take_few_uids_from_others_in_an_epoch_and_the_price_doubles_after_it() -> None:
    w = full()
    price = w.subnet().registration_price
    assert rush(w, 3) == [TxCode.OK, TxCode.OK, TxCode.FULL]
    w.end_epoch()
    assert w.subnet().registration_price == 2 * price
    assert rush(w, 1) == [TxCode.OK]
    w.end_epoch()
    assert w.subnet().registration_price == 2 * price * 5 // 4, "one of two"
    w.end_epoch()
    assert w.subnet().registration_price == price * 5 // 4, "none"


def test_free_uids_are_not_counted_and_a_small_subnet_loses_one() -> None:
    w = World(genesis(hyperparameters(tempo=40, immunity=0, max_uids=8, max_validators=1)))
    assert rush(w, 10) == [TxCode.OK] * 9 + [TxCode.FULL]
    w.end_epoch()
    assert rush(w, 2) == [TxCode.OK, TxCode.FULL]


def test_a_full_subnet_could_be_emptied_at_once_before_its_edition() -> None:
    w = full(7)
    assert rush(w, 20) == [TxCode.OK] * 20
    assert not [key for key in w.rows if key[:1] == TAKEN.tag]


def test_immunity_keeps_the_new_until_it_ends() -> None:
    h = hyperparameters(tempo=10, immunity=12, max_uids=4, max_validators=2, registrations_an_epoch=8)
    w = World(genesis(h))
    crowd(w, 4)
    w.refused(TxCode.FULL, "eve", w.registration("eve", "eve-hot"))
    w.block(12 - 3)
    w.refused(TxCode.FULL, "eve", w.registration("eve", "eve-hot"))
    w.register("eve", "eve-hot")
    assert w.neuron("eve-hot").uid == 0


def test_nothing_an_owner_sets_lets_a_wave_of_registrations_sweep_the_validators_out() -> None:
    """The worst that ranges allow: no immunity, a threshold nobody reaches, endless registrations."""
    worst = hyperparameters(
        tempo=2, immunity=0, activity_cutoff=1, max_uids=8, max_validators=1, registrations_an_epoch=4_096,
        stake_threshold=20_000_000 * TOKEN,
    )  # fmt: skip
    w = World(genesis(worst))
    w.register("ann", "ann-hot")
    w.register("ben", "ben-hot")
    w.stake("ann", "ann-hot", 300 * TOKEN)
    w.stake("ben", "ben-hot", 200 * TOKEN)
    crowd(w, 6)
    w.block(8)
    assert not any(n.permit for n in w.metagraph().neurons)
    for wave in range(3):
        w.send("eve", *(w.registration("eve", f"eve-{wave}-{i}") for i in range(40)))
        w.block()
    left = {n.hotkey for n in w.metagraph().neurons}
    assert {pub("ann-hot"), pub("ben-hot")} <= left
    assert pub("m0") not in left


def test_a_reused_uid_inherits_no_weight_no_bond_no_commit_no_permit_and_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eve takes ben's UID (a validator with an open commit) and dan's (a miner with weights and bonds on it)."""
    w = market(genesis(hyperparameters(tempo=10, immunity=5, max_uids=4, max_validators=2)))
    row = w.row({"cat-hot": 3, "dan-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    assert bonds_in(w, uid=3) > 0
    assert results(w.neuron("dan-hot")) > (False, 0, 0, 0, 0, 0, 0, 0)
    pending = w.commit("ben-hot", row)
    monkeypatch.setattr(subnets, "TURNOVER", 2)
    w.register("eve", "eve-1", "eve-2")
    assert (w.neuron("eve-1").uid, w.neuron("eve-2").uid) == (1, 3)
    for name in ("eve-1", "eve-2"):
        assert results(w.neuron(name)) == (False, 0, 0, 0, 0, 0, 0, 0)
    assert COMMITS.tag + neuron_key(1, 1) not in w.rows
    w.refused(TxCode.NO_PERMIT, "eve-1", CommitWeights(1, pending, bytes(32)))
    w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    assert w.neuron("cat-hot").incentive == 65_535, "ann's weight was on dan, not on dan's UID"
    assert bonds_in(w, uid=3) == 0
    assert results(w.neuron("eve-2")) == (False, 0, 0, 0, 0, 0, 0, 0)


def test_who_has_the_uid_of_one_that_earned_has_earned_nothing_and_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ben takes cat's UID while eve, who earns least, is immune. When both are past immunity ben goes, not eve."""
    w = World(genesis(hyperparameters(tempo=10, immunity=3, max_uids=4, max_validators=2, commit_reveal=0)))
    w.register("ann", "ann-hot")
    w.register("cat", "cat-hot")
    w.register("dan", "dan-hot")
    w.stake("ann", "ann-hot", 300 * TOKEN)
    w.block(36 - w.machine.height)
    w.register("eve", "eve-hot")
    w.ok("ann-hot", SetWeights(1, w.row({"cat-hot": 50, "dan-hot": 60, "eve-hot": 1})))
    earned = {name: w.neuron(name).emission for name in ("eve-hot", "cat-hot", "dan-hot")}
    assert 0 < earned["eve-hot"] < earned["cat-hot"] < earned["dan-hot"]
    monkeypatch.setattr(subnets, "TURNOVER", 2)
    w.register("ben", "ben-1")
    assert w.neuron("ben-1").uid == 1
    w.block(2)
    w.register("ben", "ben-2")
    assert w.neuron("ben-2").uid == 1


def test_who_was_halted_in_the_block_it_came_in_keeps_its_place_too() -> None:
    """That block ended an epoch, in which it could not earn."""
    w = World(genesis(hyperparameters(tempo=10, immunity=0, max_uids=4, max_validators=2, registrations_an_epoch=8)))
    w.block(w.subnet().next_epoch_at - w.machine.height - 1)
    halt = w.order(Halt(Miner(pub("ann-hot")), GroupKey.HALT))
    w.apply([w.tx("ann", w.registration("ann", "ann-hot"), nonce=0), encode(BrakeOrder(halt))])
    w.nonces.clear()
    w.lift(id_of(halt))
    for who in ("ben", "cat", "dan"):
        w.register(who, f"{who}-hot")
    w.register("eve", "eve-hot")
    assert w.neuron("ann-hot").uid == 0
    assert w.neuron("eve-hot").uid == 1


def test_a_deregistered_uid_leaves_nothing_but_stake() -> None:
    w = market(genesis(hyperparameters(tempo=10, max_uids=8, max_validators=4)))
    row = w.row({"cat-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.commit("ann-hot", row)
    s, seat = w.machine.state, neuron_key(1, w.neuron("ann-hot").uid)
    by_seat = {key[:1] for key in s.records if key[1:] == seat}
    assert by_seat == {NEURONS.tag, WEIGHTS.tag, COMMITS.tag}
    mark = s.savepoint()
    deregister(s, 1, w.neuron("ann-hot").uid)
    assert not [key for key in s.records if key[1:] == seat]
    assert UIDS.tag + subnet_key(1) + pub("ann-hot") not in s.records
    assert s.need(HOTKEYS, pub("ann-hot"), "").netuids == ()
    assert stake_of(s, pub("ann-hot"), pub("ann")) > 300 * TOKEN
    s.rollback(mark)
    w.block()


def test_looking_for_who_goes_is_counted_and_a_block_has_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World()
    crowd(w, SMALL.max_uids)
    monkeypatch.setattr(subnets, "TURNOVER", 2)
    monkeypatch.setattr(block, "WORK_A_BLOCK", 2 * SMALL.max_uids)
    w.send("eve", *(w.registration("eve", f"eve-{i}") for i in range(3)))
    assert w.block() == [TxCode.OK, TxCode.OK, TxCode.TOO_EXPENSIVE]
    w.register("eve", "eve-2")


def bonds_in(w: World, uid: int) -> int:
    record = w.machine.state.need(BONDS, subnet_key(1), "")
    return int(packed.bonds(record.bonds, record.columns)[:, uid].sum())


def results(n: Neuron) -> tuple[object, ...]:
    return n.permit, n.consensus, n.incentive, n.dividends, n.trust, n.validator_trust, n.emission, n.earned


def test_serving_binds_a_neuron_to_one_model_a_subnet(world: World) -> None:
    world.register("cat", "cat-hot")
    model = world.served("cat", "cat-hot", "one")
    n = world.neuron("cat-hot")
    assert (n.model[0].model_id, n.model[0].since) == (model, world.machine.height)
    assert n.endpoint[0].port == 8_000
    again = world.serving("one")
    world.ok("cat-hot", again)
    assert world.neuron("cat-hot").model == n.model, "only the endpoint was said anew"
    world.ok("cat-hot", Serve(again.endpoint, ()))
    assert world.neuron("cat-hot").model == ()


def known() -> bytes:
    return model_id(manifest("one"))


def opaque() -> bytes:
    return model_id(manifest("two", files=False))


AT = Endpoint("h", 1, bytes(32), b"")


@pytest.mark.parametrize(
    ("serving", "code"),
    [
        (Serve(AT, (Served(1, bytes(32), Identity.FILES),)), TxCode.NOT_FOUND),
        (Serve(AT, (Served(2, known(), Identity.FILES),)), TxCode.NOT_FOUND),
        (Serve(Endpoint("h", 1, bytes(32), b"x"), ()), TxCode.MALFORMED),
        (Serve(AT, (Served(1, known(), Identity.FILES),) * 2), TxCode.MALFORMED),
        (Serve(AT, (Served(1, opaque(), Identity.FILES),)), TxCode.MISMATCH),
        (Serve(AT, (Served(1, opaque(), Identity.CLAIMED),)), TxCode.OK),
    ],
    ids=["unknown model", "another subnet", "bad next fingerprint", "two models", "no files to show", "claimed"],
)
def test_serving_what_one_may_not_is_refused(world: World, serving: Serve, code: TxCode) -> None:
    world.register("cat", "cat-hot")
    world.ok(
        "cat",
        RegisterModel(manifest("one"), (), ModelClass.ORDINARY),
        RegisterModel(manifest("two", files=False), (), ModelClass.ORDINARY),
    )
    world.refused(code, "cat-hot", serving)
    assert (world.neuron("cat-hot").endpoint == ()) == (code is not TxCode.OK)


def test_a_coldkey_serves_nothing(world: World) -> None:
    world.refused(TxCode.NOT_FOUND, "ann", Serve(AT, ()))


def test_a_hotkey_is_on_a_bounded_number_of_subnets() -> None:
    g = genesis()
    h = hyperparameters()
    many = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", h, 0) for n in range(1, MAX_SUBNETS_A_HOTKEY + 2))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, many, ()))
    for n in range(1, MAX_SUBNETS_A_HOTKEY + 1):
        w.send("ann", w.registration("ann", "ann-hot", netuid=n))
    assert set(w.block()) == {TxCode.OK}
    w.refused(TxCode.FULL, "ann", w.registration("ann", "ann-hot", netuid=MAX_SUBNETS_A_HOTKEY + 1))
    w.ok("ann", AddStake(pub("ann-hot"), TOKEN))


def kin() -> World:
    """Eve may serve dan's model, which he made from cat's; there are two models of his, one of cat's, two of eve's."""
    w = World()
    models: list[tuple[str, str, tuple[str, ...]]] = [
        ("cat", "parent", ()), ("dan", "child", ("parent",)), ("dan", "other", ()), ("eve", "a", ()), ("eve", "b", ()),
    ]  # fmt: skip
    for owner, name, parents in models:
        ancestors = tuple(model_id(manifest(parent)) for parent in parents)
        w.ok(owner, RegisterModel(manifest(name), ancestors, ModelClass.ORDINARY))
    w.register("eve", "eve-hot")
    return w


def spent(w: World, *names: str) -> int:
    """Units that one block spends on serving these, one after the other."""
    w.ok("eve-hot", *(w.serving(name) for name in names))
    return WORK_A_BLOCK - w.machine.state.work


def test_who_is_asked_about_whether_a_model_may_be_served_is_work_while_an_order_names_any() -> None:
    w = kin()
    assert spent(w, "child") == 0
    w.halt(Subnet(7))
    assert spent(w, "a") == 0, "such an order names no model"
    w.halt(Models((bytes(32),), (), ()))
    assert spent(w, "child") == 1 + 1 + 2 + 2, "itself, its parent, dan's, eve's"
    assert spent(w, "child", "child") == 0, "what it serves already it is not asked about"
    assert spent(w, "a") == 1 + 2, "eve is both: her models are counted once"
    assert spent(w, "child", "a") == 6 + 3


def test_a_block_without_work_left_takes_no_serve_and_the_next_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "WORK_A_BLOCK", 8)
    w = kin()
    w.halt(Models((bytes(32),), (), ()))
    w.send("eve-hot", w.serving("child"), w.serving("a"))
    assert w.block() == [TxCode.OK, TxCode.TOO_EXPENSIVE]
    assert w.neuron("eve-hot").model[0].model_id == model_id(manifest("child"))
    w.ok("eve-hot", w.serving("a"))


def test_one_hotkey_leaves_work_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eve goes back and forth, also by what is refused in the end: nothing that she asks about is paid for."""
    monkeypatch.setattr(neurons, "KIN_A_HOTKEY", 10)
    w = kin()
    w.register("dan", "dan-hot")
    w.halt(Models((bytes(32),), (), ()))
    names = ("child", "a", "child", "a")
    w.send("eve-hot", *(w.serving(name) for name in names))
    w.send("dan-hot", w.serving("child"))
    assert w.block() == [TxCode.OK, TxCode.OK, TxCode.TOO_EXPENSIVE, TxCode.OK, TxCode.OK]
    assert w.neuron("eve-hot").model[0].model_id == model_id(manifest("a"))
    right = w.serving("child")
    refused = Serve(right.endpoint, (*right.models, Served(9, bytes(32), Identity.FILES)))
    w.send("eve-hot", refused, w.serving("child"), w.serving("a"))
    assert w.block() == [TxCode.NOT_FOUND, TxCode.TOO_EXPENSIVE, TxCode.OK]


def test_serving_is_no_work_before_its_edition() -> None:
    w = kin()
    w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(6))
    w.halt(Models((bytes(32),), (), ()))
    assert spent(w, "child") == 0
