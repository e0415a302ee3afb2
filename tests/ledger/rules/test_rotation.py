"""A new key takes a hotkey's place: what it had stays, what it owes too, and the old key is of no use."""

from __future__ import annotations

import pytest

from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import CONVICTIONS, LEFT, MOVES, NEURONS, STAKES, neuron_key
from davy.protocol.chain import Family, HotkeyInfo
from davy.protocol.errors import TxCode
from davy.protocol.limits import CONVICTION_GRACE, chain_parameters
from davy.protocol.order import Global, Miner, Models, OrderId
from davy.protocol.transaction import AddStake, CommitWeights, MoveStake, RemoveStake, RotateHotkey, Serve, SetTake
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import ONE, Stand
from tests.ledger.rules.world import FAST, World, begins, genesis, market, pub


def test_what_a_hotkey_had_is_the_successors() -> None:
    w = market()
    w.ok("eve", AddStake(pub("ann-hot"), 7 * TOKEN))
    w.ok("ann", SetTake(pub("ann-hot"), 5))
    w.ok("ann", w.lending("ann-hot", {"ben-hot": 9}))
    before, info = w.neuron("ann-hot"), w.query("/hotkey", pub("ann-hot"), HotkeyInfo)
    w.ok("ann", w.rotation("ann", "ann-hot", "fresh"))
    after = w.neuron("fresh")
    kept = ("uid", "coldkey", "registered_at", "stake", "permit", "earned", "emission")
    assert [getattr(after, f) for f in kept] == [getattr(before, f) for f in kept]
    now = w.query("/hotkey", pub("fresh"), HotkeyInfo)
    assert (now.owner, now.take, now.owned, now.delegated) == (info.owner, 5, info.owned, info.delegated)
    assert dict(w.account("eve").stakes) == {pub("fresh"): 7 * TOKEN}
    assert pub("ann-hot") not in dict(w.account("ann").stakes)
    family = w.query("/family", b"\0\1" + pub("ben-hot"), Family)
    assert family.parents == ()
    w.end_epoch()
    family = w.query("/family", b"\0\1" + pub("ben-hot"), Family)
    assert [p.hotkey for p in family.parents] == [pub("fresh")]
    assert w.neuron("fresh").earned > before.earned, "its stake counted all over the epoch"


def test_a_child_that_is_replaced_stays_one() -> None:
    w = market()
    w.ok("ann", w.lending("ann-hot", {"ben-hot": 9, "cat-hot": 8}))
    w.ok("ben", w.rotation("ben", "ben-hot", "fresh"))
    w.end_epoch()
    lent = w.query("/family", b"\0\1" + pub("ann-hot"), Family).children
    assert {c.hotkey: c.proportion for c in lent} == {pub("fresh"): 9, pub("cat-hot"): 8}
    assert [c.hotkey for c in lent] == sorted(c.hotkey for c in lent)
    assert [p.hotkey for p in w.query("/family", b"\0\1" + pub("fresh"), Family).parents] == [pub("ann-hot")]


def test_the_old_key_is_of_no_use_any_more() -> None:
    w = market()
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    w.refused(TxCode.BARRED, "cat-hot", w.serving("one"))
    w.refused(TxCode.BARRED, "cat", w.registration("cat", "cat-hot"))
    w.refused(TxCode.BARRED, "eve", AddStake(pub("cat-hot"), TOKEN))
    w.refused(TxCode.BARRED, "ann", MoveStake(pub("ann-hot"), pub("cat-hot"), TOKEN))
    w.refused(TxCode.BARRED, "cat", w.rotation("cat", "cat-hot", "again"))
    w.refused(TxCode.NOT_FOUND, "cat-hot", CommitWeights(1, w.subnet().epoch, bytes(32)))
    w.served("cat", "fresh", "one")


def test_weights_given_to_the_old_key_count_no_more() -> None:
    """They are bound to a hotkey, so that nobody sells one with what was said of it."""
    w = market()
    row = w.row({"cat-hot": 1, "dan-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    w.end_epoch()
    assert (w.neuron("fresh").incentive, w.neuron("dan-hot").incentive) == (0, 65_535)


def test_an_open_commit_is_void_and_costs_what_an_unrevealed_one_does() -> None:
    w = market()
    row = w.row({"cat-hot": 1, "dan-hot": 1})
    w.commit("ann-hot", row)
    seat = neuron_key(1, w.neuron("ann-hot").uid)
    w.ok("ann", w.rotation("ann", "ann-hot", "fresh"))
    assert w.machine.state.need(NEURONS, seat, "").unrevealed == 1
    w.ok("ben", w.rotation("ben", "ben-hot", "fresher"))
    seat = neuron_key(1, w.neuron("fresher").uid)
    assert w.machine.state.need(NEURONS, seat, "").unrevealed == 0, "ben had none"


@pytest.mark.parametrize(
    ("who", "old", "new", "code"),
    [
        ("ben", "ann-hot", "fresh", TxCode.NOT_OWNER),
        ("ann", "nobody", "fresh", TxCode.NOT_FOUND),
        ("ann", "ann-hot", "ben-hot", TxCode.EXISTS),
        ("ann", "ann-hot", "ann-hot", TxCode.EXISTS),
        ("ann", "ann-hot", "ben", TxCode.EXISTS),
    ],
)
def test_whom_nobody_may_replace(who: str, old: str, new: str, code: TxCode) -> None:
    w = market()
    w.refused(code, who, w.rotation(who, old, new))


def test_nobody_takes_anothers_key_for_a_successor() -> None:
    w = market()
    w.refused(TxCode.BAD_SIGNATURE, "ann", RotateHotkey(pub("ann-hot"), pub("fresh"), bytes(64)))
    given_to_ben = w.rotation("ben", "ben-hot", "fresh").consent
    w.refused(TxCode.BAD_SIGNATURE, "ann", RotateHotkey(pub("ann-hot"), pub("fresh"), given_to_ben))


def test_one_rotation_an_unbonding_time() -> None:
    w = market()
    w.ok("ann", w.rotation("ann", "ann-hot", "fresh"))
    w.block(FAST.unbonding - 2)
    w.refused(TxCode.WRONG_TIME, "ann", w.rotation("ann", "fresh", "fresher"))
    w.ok("ann", w.rotation("ann", "fresh", "fresher"))
    assert w.neuron("fresher").stake > 300 * TOKEN


def test_nobody_rotates_away_from_a_halt() -> None:
    for target in (Miner(pub("cat-hot")), Global()):
        w = Stand()
        w.halt(target)
        w.refused(TxCode.HALTED, "cat", w.rotation("cat", "cat-hot", "fresh"))


def halted_model() -> tuple[Stand, OrderId]:
    w = Stand()
    halt = w.halt(Models((ONE,), (), ()))
    w.block(1 + CONVICTION_GRACE)
    return w, halt


def test_nobody_rotates_away_from_a_conviction() -> None:
    """What the old key signed burns the successor's stake, and what left the old one and is not free yet."""
    w, halt = halted_model()
    w.ok("cat", RemoveStake(pub("cat-hot"), 5 * TOKEN))
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    anchor = w.machine.height - 1
    w.block(3)
    free, burned = w.account("cat").free, w.issuance().burned
    stake = w.neuron("fresh").stake
    w.ok("ben", w.evidence(halt, "cat-hot", anchor))
    assert w.neuron("fresh").stake == 0
    for key in ("cat-hot", "fresh"):
        assert w.machine.state.get(CONVICTIONS, pub(key)) is not None
    w.refused(TxCode.BARRED, "fresh", w.serving("one"))
    w.block(w.genesis.parameters.unbonding)
    assert w.account("cat").free == free
    assert w.issuance().burned == burned + stake + 5 * TOKEN


def test_what_the_successor_signs_burns_what_left_the_old_key_too() -> None:
    w, halt = halted_model()
    w.ok("cat", RemoveStake(pub("cat-hot"), 5 * TOKEN))
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    w.block(2)
    free = w.account("cat").free
    w.ok("ben", w.evidence(halt, "fresh", w.machine.height))
    w.block(w.genesis.parameters.unbonding)
    assert w.account("cat").free == free


def test_what_a_thief_signs_with_the_old_key_afterwards_convicts_nobody() -> None:
    w, halt = halted_model()
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    w.block(2)
    w.refused(TxCode.NOT_FOUND, "ben", w.evidence(halt, "cat-hot", w.machine.height))
    assert w.neuron("fresh").stake > 0


@pytest.mark.parametrize(("edition", "code"), [(7, TxCode.OK), (8, TxCode.NOT_FOUND)])
def test_a_thief_convicts_nobody_of_what_the_ledger_never_said_it_served(edition: int, code: TxCode) -> None:
    """With the old key, for a request from before: of a validator, and of a miner whose model no HALT names."""
    for name in ("ann", "dan"):
        w, halt = halted_model()
        w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(edition))
        w.ok(name, w.rotation(name, f"{name}-hot", "fresh"))
        anchor = w.machine.height
        w.block(3)
        w.send("ben", w.evidence(halt, f"{name}-hot", anchor))
        assert w.block() == [code]
        assert (w.neuron("fresh").stake > 0) is (code is TxCode.NOT_FOUND)


def test_who_said_it_served_something_else_before_it_was_replaced_answers_up_to_then() -> None:
    w, halt = halted_model()
    w.ok("cat-hot", Serve(w.serving("one").endpoint, ()))
    left = w.machine.height
    w.block(2)
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    w.block(2)
    w.refused(TxCode.NOT_FOUND, "ben", w.evidence(halt, "cat-hot", left + 1))
    w.ok("ben", w.evidence(halt, "cat-hot", left))
    assert w.neuron("fresh").stake == 0


def test_what_the_successor_serves_changes_nothing_about_the_old_key() -> None:
    w, halt = halted_model()
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    rotated = w.machine.height
    w.ok("fresh", Serve(w.serving("one").endpoint, ()))
    w.block(2)
    w.ok("ben", w.evidence(halt, "cat-hot", rotated))
    assert w.neuron("fresh").stake == 0


def test_who_left_a_model_before_it_was_halted_is_asked_nothing_once_it_is_replaced() -> None:
    w = Stand()
    w.ok("cat-hot", Serve(w.serving("one").endpoint, ()))
    halt = w.halt(Models((ONE,), (), ()))
    w.block(1 + CONVICTION_GRACE)
    w.ok("cat", w.rotation("cat", "cat-hot", "fresh"))
    w.refused(TxCode.NOT_FOUND, "ben", w.evidence(halt, "cat-hot", w.machine.height - 1))
    assert w.machine.state.get(LEFT, pub("cat-hot") + ONE) is None


def test_moved_stake_answers_for_the_successor_and_knows_it() -> None:
    w = World(genesis(p=chain_parameters(unbonding=40)))
    w.register("ann", "one", "two")
    w.stake("ann", "one", 10 * TOKEN)
    w.ok("ann", MoveStake(pub("one"), pub("two"), 4 * TOKEN))
    w.ok("ann", w.rotation("ann", "one", "uno"))
    w.ok("ann", w.rotation("ann", "two", "due"))
    s = w.machine.state
    assert s.get(MOVES, pub("one")) is None
    assert s.need(MOVES, pub("uno"), "").destinations == (pub("due"),)
    (pledge,) = s.need(STAKES, pub("due") + pub("ann"), "").pledges
    assert (pledge.origin, pledge.amount) == (pub("uno"), 4 * TOKEN)
    w.refused(TxCode.WRONG_TIME, "ann", RemoveStake(pub("due"), TOKEN))
