"""Lent stake votes with the child, its dividends come back, and nobody is lent to against its will."""

from __future__ import annotations

import pytest

from davy.ledger.rules import subnets
from davy.ledger.rules.families import children_of
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import CHILDREN, OUTCOMES, PARENTS, subnet_key
from davy.protocol.chain import Family
from davy.protocol.consents import child_consent
from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_PARENTS, MAX_TAKE, chain_parameters, hyperparameters
from davy.protocol.order import Miner
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import AddStake, Child, RemoveStake, SetChildren, SetTake
from davy.protocol.words import TOKEN, U16
from tests.ledger.rules.world import FAST, World, begins, genesis, keys, market, pub


def lending(w: World, parent: str, parts: dict[str, int]) -> SetChildren:
    return w.lending(parent, parts)


def family(w: World, hotkey: str) -> Family:
    return w.query("/family", subnet_key(1) + pub(hotkey), Family)


def voting(w: World, hotkey: str) -> int:
    """What voted for a hotkey at the last epoch."""
    stake = w.machine.state.need(OUTCOMES, subnet_key(1), "").stake
    uid = w.neuron(hotkey).uid
    return int.from_bytes(stake[8 * uid : 8 * uid + 8], "big")


def vote(w: World, *validators: str) -> None:
    """These find cat and dan equally good; the epoch after next pays by it."""
    row = w.row({"cat-hot": 1, "dan-hot": 1})
    epochs = {hot: w.commit(hot, row) for hot in validators}
    w.end_epoch()
    for hot, epoch in epochs.items():
        w.reveal(hot, row, epoch)


def test_what_is_lent_votes_with_the_child_from_the_next_epoch_on() -> None:
    w = market()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": U16 // 2}))
    assert (family(w, "ann-hot").children, family(w, "ben-hot").parents) == ((), ())
    assert [c.hotkey for c in family(w, "ann-hot").coming] == [pub("ben-hot")]
    w.end_epoch()
    whole = voting(w, "ann-hot") + voting(w, "ben-hot")
    assert voting(w, "ann-hot") > voting(w, "ben-hot"), "in the epoch in which it was set nothing is lent"
    assert [p.hotkey for p in family(w, "ben-hot").parents] == [pub("ann-hot")]
    ann, ben = w.neuron("ann-hot").stake, w.neuron("ben-hot").stake
    w.end_epoch()
    half = ann * (U16 // 2) // U16
    assert voting(w, "ann-hot") == ann - half
    assert voting(w, "ben-hot") == ben + half
    assert voting(w, "ann-hot") + voting(w, "ben-hot") > whole - TOKEN


def test_the_dividends_of_lent_stake_come_back_less_the_childs_take() -> None:
    """Ann lends all; only ben votes. What ann gets is what her stake earned with ben, less ben's take."""
    w = market()
    w.ok("ben", SetTake(pub("ben-hot"), 6_553))
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": U16}))
    w.end_epoch()
    vote(w, "ben-hot")
    w.end_epoch()
    ann, ben = w.neuron("ann-hot").stake, w.neuron("ben-hot").stake
    w.end_epoch()
    record = w.record(w.subnet().epoch - 1)
    assert record.weights, "the row counted"
    got = {hot: record.validators[w.neuron(hot).uid] for hot in ("ann-hot", "ben-hot")}
    both = sum(got.values())
    earned = both * ann // (ann + ben)
    assert abs(got["ann-hot"] - (earned - earned * 6_553 // U16)) <= 1
    assert w.neuron("ann-hot").stake == ann + got["ann-hot"]
    assert w.neuron("ben-hot").stake == ben + got["ben-hot"]


@pytest.mark.parametrize("edition", [7, 8])
@pytest.mark.parametrize(("take", "childs"), [(0, MAX_TAKE), (MAX_TAKE, MAX_TAKE), (6_553, 655), (6_553, 0)])
def test_a_child_costs_a_parents_delegators_no_more_than_the_parents_take(edition: int, take: int, childs: int) -> None:
    """Cat, who is nobody's, has stake with ann, who lends it to ben."""

    def told(part: int) -> tuple[int, int]:
        w = market()
        w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(edition))
        for name, wants in (("ann", take), ("ben", childs)):
            if wants < MAX_TAKE:
                w.ok(name, SetTake(pub(f"{name}-hot"), wants))
        w.ok("cat", AddStake(pub("ann-hot"), 300 * TOKEN))
        if part:
            w.ok("ann", lending(w, "ann-hot", {"ben-hot": part}))
        w.end_epoch()
        vote(w, *(("ben-hot",) if part else ("ann-hot", "ben-hot")))
        w.end_epoch()
        cat, ann = (dict(w.account(name).stakes)[pub("ann-hot")] for name in ("cat", "ann"))
        w.end_epoch()
        return dict(w.account("cat").stakes)[pub("ann-hot")] - cat, dict(w.account("ann").stakes)[pub("ann-hot")] - ann

    (alone, _), (lent, ann) = told(0), told(U16)
    lost = abs(lent - alone) / alone
    assert (lost < 0.001) is (edition == 8 or childs == 0)
    assert ann > 0


def test_a_halted_parent_gets_nothing_and_the_child_gains_nothing_by_it() -> None:
    def told(halt: bool) -> tuple[int, int, int]:
        w = market()
        w.ok("ann", lending(w, "ann-hot", {"ben-hot": U16}))
        w.end_epoch()
        vote(w, "ben-hot")
        w.halt(Miner(pub("ann-hot" if halt else "nobody")))
        before = w.issuance().unminted
        w.end_epoch()
        record = w.record(w.subnet().epoch - 1)
        ann, ben = (record.validators[w.neuron(hot).uid] for hot in ("ann-hot", "ben-hot"))
        return ann, ben, w.issuance().unminted - before

    (ann, ben, minted), (stopped, same, unminted) = told(halt=False), told(halt=True)
    assert ann > 0
    assert (stopped, minted) == (0, 0)
    assert same == ben
    assert unminted == ann


def test_nobody_is_a_child_against_its_will() -> None:
    w = market()
    asked = lending(w, "ann-hot", {"ben-hot": 1})
    old = sign(keys("ben-hot")[1], Domain.CHILD, child_consent(w.chain, 1, pub("ann-hot"), pub("ben-hot"), 0))
    yesterday = SetChildren(1, pub("ann-hot"), (Child(pub("ben-hot"), 1, old),))
    for forged in (yesterday, SetChildren(1, pub("ann-hot"), (Child(pub("ben-hot"), 1, b""),))):
        w.refused(TxCode.BAD_SIGNATURE, "ann", forged)
    assert w.subnet().epoch == 2
    w.ok("ann", asked)
    w.end_epoch()
    w.ok("ann", SetChildren(1, pub("ann-hot"), (Child(pub("ben-hot"), 9, b""),)))  # who is one need not say so again
    w.register("ann", "ann-spare")
    w.end_epoch()
    w.ok("ann", SetChildren(1, pub("ann-hot"), (Child(pub("ann-spare"), 9, b""),)))  # nor one's own hotkey


def without(w: World, parent: str, *children: str) -> SetChildren:
    """What a child's owner hands in to leave: the parent's children without it, no consent with them."""
    coming = children_of(w.machine.state, 1, pub(parent)).coming
    gone = {pub(child) for child in children}
    left = (Child(loan.hotkey, loan.proportion, b"") for loan in coming if loan.hotkey not in gone)
    return SetChildren(1, pub(parent), tuple(left))


def test_a_childs_owner_leaves_a_parent_and_nobody_lends_to_it_again_without_its_consent() -> None:
    w = market()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 100, "dan-hot": 200}))
    w.end_epoch()
    w.ok("ben", without(w, "ann-hot", "ben-hot"))
    assert [c.hotkey for c in family(w, "ann-hot").coming] == [pub("dan-hot")]
    back = Child(pub("ben-hot"), 5, b"")
    w.refused(TxCode.BAD_SIGNATURE, "ann", SetChildren(1, pub("ann-hot"), (back,)))
    w.end_epoch()
    assert family(w, "ben-hot").parents == ()
    w.refused(TxCode.BAD_SIGNATURE, "ann", SetChildren(1, pub("ann-hot"), (back,)))
    w.ok("ben", lending(w, "ben-hot", {"cat-hot": 1}))
    w.ok("dan", without(w, "ann-hot", "dan-hot"))
    w.end_epoch()
    assert not w.machine.state.need(CHILDREN, subnet_key(1) + pub("ann-hot"), "").coming


def test_who_leaves_changes_nothing_else_of_what_a_parent_lends() -> None:
    w = market()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 100, "dan-hot": 200}))
    for children in (without(w, "ann-hot").children, without(w, "ann-hot", "dan-hot").children):
        w.refused(TxCode.NOT_OWNER, "ben", SetChildren(1, pub("ann-hot"), children))
    w.refused(TxCode.NOT_OWNER, "eve", without(w, "ann-hot", "ben-hot"))
    w.refused(TxCode.NOT_OWNER, "ben-hot", without(w, "ann-hot", "ben-hot"))
    w.ok("ben", SetChildren(1, pub("ann-hot"), (Child(pub("cat-hot"), 7, b""),)))
    assert [(c.hotkey, c.proportion) for c in family(w, "ann-hot").coming] == [(pub("dan-hot"), 200)]
    w.refused(TxCode.NOT_OWNER, "ben", without(w, "ann-hot", "ben-hot"))


def test_a_parent_keeps_no_child_by_changing_what_it_lends_to_others() -> None:
    """The parent's change comes first in the block, and the child saw what was lent before it."""
    w = market()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 100, "dan-hot": 200}))
    seen = without(w, "ann-hot", "ben-hot")
    changed = Child(pub("dan-hot"), 300, b"")
    stays = Child(pub("ben-hot"), 100, b"")
    w.send("ann", SetChildren(1, pub("ann-hot"), tuple(sorted((stays, changed), key=lambda c: c.hotkey))))
    w.send("ben", seen)
    assert w.block() == [TxCode.OK, TxCode.OK]
    assert [(c.hotkey, c.proportion) for c in family(w, "ann-hot").coming] == [(pub("dan-hot"), 300)]


def test_no_child_left_before_its_edition() -> None:
    w = market()
    w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(7))
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 100}))
    w.end_epoch()
    w.refused(TxCode.NOT_OWNER, "ben", without(w, "ann-hot", "ben-hot"))
    w.ok("ann", SetChildren(1, pub("ann-hot"), ()), SetChildren(1, pub("ann-hot"), (Child(pub("ben-hot"), 9, b""),)))


def test_nothing_is_lent_on() -> None:
    w = market()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 1}))
    w.refused(TxCode.MISMATCH, "ben", lending(w, "ben-hot", {"cat-hot": 1}))
    w.refused(TxCode.MISMATCH, "cat", lending(w, "cat-hot", {"ann-hot": 1}))
    w.end_epoch()
    w.ok("ann", SetChildren(1, pub("ann-hot"), ()))
    w.refused(TxCode.MISMATCH, "ben", lending(w, "ben-hot", {"cat-hot": 1}))
    w.refused(TxCode.MISMATCH, "cat", lending(w, "cat-hot", {"ann-hot": 1}))
    w.end_epoch()
    w.ok("cat", lending(w, "cat-hot", {"ann-hot": 1}))
    w.ok("ben", lending(w, "ben-hot", {"dan-hot": 1}))
    assert w.machine.state.get(CHILDREN, subnet_key(1) + pub("ann-hot")) is not None, "until it is changed again"


@pytest.mark.parametrize(
    ("children", "code"),
    [
        ({"ann-hot": 5}, TxCode.MALFORMED),
        ({"ben-hot": U16, "cat-hot": 1}, TxCode.OUT_OF_RANGE),
        ({"stranger": 1}, TxCode.NOT_FOUND),
        ({}, TxCode.EXISTS),
    ],
)
def test_what_is_no_family_is_refused(children: dict[str, int], code: TxCode) -> None:
    w = market()
    w.refused(code, "ann", lending(w, "ann-hot", children))


def test_children_stand_once_and_in_order() -> None:
    w = market()
    a, b = lending(w, "ann-hot", {"ben-hot": 1, "cat-hot": 1}).children
    for wrong in ((b, a), (a, a)):
        w.refused(TxCode.MALFORMED, "ann", SetChildren(1, pub("ann-hot"), wrong))
    w.ok("ann", SetChildren(1, pub("ann-hot"), (a, b)))


def test_only_the_owner_lends_and_only_what_is_seated() -> None:
    w = market()
    w.refused(TxCode.NOT_OWNER, "ben", lending(w, "ann-hot", {"ben-hot": 1}))
    w.refused(TxCode.NOT_OWNER, "ann-hot", lending(w, "ann-hot", {"ben-hot": 1}))
    w.refused(TxCode.NOT_FOUND, "ann", SetChildren(7, pub("ann-hot"), ()))
    w.refused(TxCode.NOT_FOUND, "eve", lending(w, "eve-hot", {"ben-hot": 1}))


def test_who_loses_its_uid_has_no_loans_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnets, "TURNOVER", 1)
    w = World(genesis(h=hyperparameters(tempo=10, immunity=0, max_uids=4, max_validators=2, registrations_an_epoch=9)))
    for cold in ("ann", "ben", "cat", "dan"):
        w.register(cold, f"{cold}-hot")
    w.stake("ann", "ann-hot", TOKEN)
    w.end_epoch()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 7, "dan-hot": 8}))
    w.ok("cat", lending(w, "cat-hot", {"dan-hot": 5}))
    w.end_epoch()
    seated = {"ann-hot", "ben-hot", "cat-hot", "dan-hot"}
    for n in range(3):
        w.register("eve", f"eve-{n}")
        there = {x.hotkey for x in w.metagraph().neurons}
        gone = {hot for hot in seated if pub(hot) not in there}
        assert len(gone) == n + 1
        for hot in gone:
            assert family(w, hot).children == family(w, hot).coming == family(w, hot).parents == ()
        named = {loan.hotkey for hot in seated - gone for loan in family(w, hot).children}
        assert not named & {pub(hot) for hot in gone}
    kept = [k for k in w.rows if k[:1] in (CHILDREN.tag, PARENTS.tag)]
    assert not kept, "ann, whom her stake keeps, is left alone"


def test_a_child_has_so_many_parents_and_those_who_left_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from davy.ledger.rules import children

    assert MAX_PARENTS == 64
    monkeypatch.setattr(children, "MAX_PARENTS", 1)
    w = market()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": 1}))
    w.refused(TxCode.FULL, "cat", lending(w, "cat-hot", {"ben-hot": 1}))
    w.end_epoch()
    w.ok("ann", SetChildren(1, pub("ann-hot"), ()))
    w.refused(TxCode.FULL, "cat", lending(w, "cat-hot", {"ben-hot": 1}))
    w.end_epoch()
    w.ok("cat", lending(w, "cat-hot", {"ben-hot": 1}))
    w.end_epoch()
    assert [p.hotkey for p in family(w, "ben-hot").parents] == [pub("cat-hot")]


def test_borrowed_stake_buys_nothing_through_a_child_either() -> None:
    """Stake that came in this epoch is lent to nobody in it."""
    w = World(genesis(p=chain_parameters(unbonding=5, default_take=0)))
    for cold, amount in (("ann", 300), ("ben", 200)):
        w.register(cold, f"{cold}-hot")
        w.stake(cold, f"{cold}-hot", amount * TOKEN)
    w.end_epoch()
    w.ok("ann", lending(w, "ann-hot", {"ben-hot": U16}))
    w.end_epoch()
    w.end_epoch()
    before = voting(w, "ben-hot")
    w.ok("eve", AddStake(pub("ann-hot"), 500 * TOKEN))
    held = w.neuron("ann-hot").stake - 500 * TOKEN + w.neuron("ben-hot").stake
    w.end_epoch()
    assert voting(w, "ben-hot") == held
    w.ok("eve", RemoveStake(pub("ann-hot"), 500 * TOKEN))
    w.end_epoch()
    assert voting(w, "ben-hot") < before + 100 * TOKEN
    assert FAST.unbonding == 5
