"""Stake: what was not held over the whole epoch before counts nothing, and what leaves waits before it is free."""

import pytest
from msgspec.structs import replace

from davy.ledger.rules import stake
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import STAKES
from davy.ledger.rules.stake import MAX_DELEGATORS, remove_stake
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet
from davy.protocol.limits import chain_parameters
from davy.protocol.transaction import AddStake, MoveStake, RemoveStake, Transfer
from davy.protocol.words import TOKEN, Moment
from tests.ledger.rules.world import FAST, SMALL, World, begins, genesis, market, pub


def paid(w: World, hotkey: str) -> int:
    return w.record(w.subnet().epoch - 1).validators[w.neuron(hotkey).uid]


def test_stake_is_free_again_after_unbonding_and_not_before() -> None:
    w = market()
    free = w.account("ann").free
    w.ok("ann", RemoveStake(pub("ann-hot"), 100 * TOKEN))
    assert w.account("ann").unbonding == 100 * TOKEN
    assert w.account("ann").free == free
    w.block(FAST.unbonding - 1)
    assert w.account("ann").unbonding == 100 * TOKEN
    w.refused(TxCode.INSUFFICIENT, "ann", Transfer(pub("ben"), free + 100 * TOKEN + 1))
    assert w.account("ann").unbonding == 0
    assert w.account("ann").free == free + 100 * TOKEN


def test_borrowed_stake_buys_nothing() -> None:
    """Staked just after an epoch began and removed just before it ends, or held only for its last block."""
    w = market()
    w.end_epoch()
    honest = paid(w, "ann-hot")
    w.stake("ben", "ben-hot", 700 * TOKEN)
    w.end_epoch()
    assert 0 <= honest - paid(w, "ann-hot") < honest // 50, "added within the epoch: not counted in it"
    w.block(3)
    w.ok("ben", RemoveStake(pub("ben-hot"), 700 * TOKEN))
    w.ok("ben", AddStake(pub("ben-hot"), 90 * TOKEN))
    w.end_epoch()
    assert 0 <= honest - paid(w, "ann-hot") < honest // 50, "removed within the epoch: not counted in it"


def test_stake_held_over_the_whole_epoch_counts() -> None:
    w = market()
    w.end_epoch()
    honest = paid(w, "ann-hot")
    w.stake("ben", "ben-hot", 700 * TOKEN)
    w.end_epoch()
    w.end_epoch()
    assert paid(w, "ann-hot") < honest * 2 // 3


def test_stake_moved_in_the_middle_counts_on_neither_hotkey() -> None:
    """500 tokens seconded twice: on ann's hotkey for the first half of an epoch, on ben's for the second."""
    w = market()
    w.ok("cat", AddStake(pub("ann-hot"), 500 * TOKEN))
    w.end_epoch()
    w.end_epoch()
    seconded = w.record(w.subnet().epoch - 1).validators
    assert seconded[0] > 3 * seconded[1]
    w.ok("cat", RemoveStake(pub("ann-hot"), 500 * TOKEN))
    w.ok("dan", AddStake(pub("ben-hot"), 500 * TOKEN))
    w.end_epoch()
    shares = w.record(w.subnet().epoch - 1).validators
    assert abs(shares[0] * 2 - shares[1] * 3) < shares[0] // 20, "300 to 200, as if the 500 were nowhere"


def test_stake_put_on_a_hotkey_before_it_registers_in_the_same_epoch_does_not_count_in_it() -> None:
    """Eve's hotkey is known from subnet 2; on subnet 1 it gets a UID and stake within one epoch."""
    g = genesis()
    two = (*g.subnets, GenesisSubnet(2, pub("owner"), "text", "yuma3", SMALL, 0))
    w = market(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, two, ()))
    w.register("eve", "eve-hot", netuid=2)
    w.stake("eve", "eve-hot", 900 * TOKEN)
    w.register("eve", "eve-hot", netuid=1)
    w.end_epoch()
    assert w.neuron("eve-hot").permit is False
    assert w.record(w.subnet().epoch - 1).validators[4] == 0
    w.end_epoch()
    assert w.neuron("eve-hot").permit is True


def test_a_delegator_is_paid_for_what_it_held_and_the_owner_takes_its_take() -> None:
    w = market()
    w.ok("cat", AddStake(pub("ann-hot"), 300 * TOKEN))
    w.end_epoch()
    first = dict(w.account("cat").stakes)[pub("ann-hot")]
    assert first == 300 * TOKEN, "it was not held over the whole epoch"
    held = dict(w.account("ann").stakes)[pub("ann-hot")]
    w.end_epoch()
    dividends = paid(w, "ann-hot")
    to_cat = dict(w.account("cat").stakes)[pub("ann-hot")] - 300 * TOKEN
    to_ann = dict(w.account("ann").stakes)[pub("ann-hot")] - held
    assert to_cat + to_ann == dividends, "to the last unit"
    take = dividends * FAST.default_take // 65_535
    assert to_cat == round((dividends - take) * 300 * TOKEN / (held + 300 * TOKEN))


def test_dust_and_unknown_hotkeys_are_refused() -> None:
    w = market()
    least = FAST.minimum_stake
    w.refused(TxCode.OUT_OF_RANGE, "cat", AddStake(pub("ann-hot"), least - 1))
    w.refused(TxCode.NOT_FOUND, "cat", AddStake(pub("nobody"), least))
    w.refused(TxCode.NOT_FOUND, "cat", RemoveStake(pub("nobody"), 1))
    w.refused(TxCode.INSUFFICIENT, "cat", RemoveStake(pub("ann-hot"), 1))
    w.ok("cat", AddStake(pub("ann-hot"), least))
    w.refused(TxCode.OUT_OF_RANGE, "cat", RemoveStake(pub("ann-hot"), 1))
    w.refused(TxCode.OUT_OF_RANGE, "cat", RemoveStake(pub("ann-hot"), 0))
    w.ok("cat", RemoveStake(pub("ann-hot"), least))
    assert w.account("cat").stakes == ()


def test_little_is_removed_only_where_it_is_all_there_is() -> None:
    """What unbonds stands in a line for a week: as with stake, not for a base unit."""
    w = market()
    least = FAST.minimum_stake
    w.refused(TxCode.OUT_OF_RANGE, "ann", RemoveStake(pub("ann-hot"), least - 1))
    w.ok("ann", RemoveStake(pub("ann-hot"), least))
    w.ok("dan", AddStake(pub("ann-hot"), least))
    s, key = w.machine.state, pub("ann-hot") + pub("dan")
    s.put(STAKES, key, replace(s.need(STAKES, key, ""), amount=least - 1))
    leave_all = RemoveStake(pub("ann-hot"), least - 1)
    remove_stake(s, Moment(w.machine.height, w.machine.time), pub("dan"), leave_all)
    assert s.get(STAKES, key) is None


def test_any_amount_could_be_removed_before_its_edition() -> None:
    w = market()
    w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(7))
    w.ok("ann", RemoveStake(pub("ann-hot"), 1))


def crowded() -> World:
    """As many delegators on ann's hotkey as it takes, each with one token more than the one before."""
    crowd = tuple(Allocation(pub(f"d{i}"), (i + 2) * TOKEN) for i in range(MAX_DELEGATORS))
    g = genesis()
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, (*g.allocations, *crowd), g.subnets, ()))
    w.register("ann", "ann-hot")
    for i in range(MAX_DELEGATORS):
        w.send(f"d{i}", AddStake(pub("ann-hot"), (i + 2) * TOKEN))
    assert w.block() == [TxCode.OK] * MAX_DELEGATORS
    return w


def test_a_hotkey_full_of_dust_takes_a_larger_delegator_in_place_of_the_smallest() -> None:
    w = crowded()
    w.refused(TxCode.FULL, "ben", AddStake(pub("ann-hot"), 4 * TOKEN - 1))
    w.ok("ben", AddStake(pub("ann-hot"), 4 * TOKEN))
    assert w.account("d0").stakes == ()
    assert w.account("d0").unbonding == 2 * TOKEN
    w.ok("ann", AddStake(pub("ann-hot"), 1 * TOKEN))
    assert w.account("d1").unbonding == 0, "the owner is not counted among them"


def test_what_took_a_delegators_place_stays_there_for_the_unbonding_time() -> None:
    """Else one amount would push out somebody on each full hotkey, block by block."""
    w = crowded()
    w.register("dan", "dan-hot")
    w.ok("ben", AddStake(pub("ann-hot"), 4 * TOKEN))
    w.ok("ben", AddStake(pub("ann-hot"), TOKEN))
    w.ok("ben", MoveStake(pub("ann-hot"), pub("dan-hot"), TOKEN))
    w.refused(TxCode.WRONG_TIME, "ben", MoveStake(pub("ann-hot"), pub("dan-hot"), TOKEN))
    w.refused(TxCode.WRONG_TIME, "ben", RemoveStake(pub("ann-hot"), 4 * TOKEN))
    w.ok("ben", RemoveStake(pub("ann-hot"), 4 * TOKEN))
    w.ok("d1", RemoveStake(pub("ann-hot"), 3 * TOKEN))
    w.ok("ben", AddStake(pub("ann-hot"), 100 * TOKEN))
    w.ok("ben", RemoveStake(pub("ann-hot"), 100 * TOKEN))


def test_who_took_a_place_is_pushed_out_as_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stake, "MAX_DELEGATORS", 1)
    w = market()
    w.stake("cat", "ann-hot", TOKEN)
    w.stake("dan", "ann-hot", 2 * TOKEN)
    w.refused(TxCode.WRONG_TIME, "dan", RemoveStake(pub("ann-hot"), 2 * TOKEN))
    w.stake("eve", "ann-hot", 4 * TOKEN)
    assert (w.account("dan").stakes[1:], w.account("dan").unbonding) == ((), 2 * TOKEN)
    w.block(FAST.unbonding)
    assert w.account("dan").unbonding == 0


def test_a_base_unit_more_was_enough_before_its_edition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stake, "MAX_DELEGATORS", 1)
    w = market()
    w.machine = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(7))
    w.stake("cat", "ann-hot", TOKEN)
    w.stake("dan", "ann-hot", TOKEN + 1)
    w.ok("dan", MoveStake(pub("ann-hot"), pub("ben-hot"), TOKEN + 1))


def test_payouts_of_one_block_are_bounded_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stake, "MAX_PAYOUTS_A_BLOCK", 3)
    w = World(genesis(p=chain_parameters(unbonding=2, minimum_stake=0)))
    w.register("ann", "ann-hot")
    w.stake("ann", "ann-hot", TOKEN)
    w.send("ann", *[RemoveStake(pub("ann-hot"), 1) for _ in range(4)])
    assert w.block() == [TxCode.OK] * 4
    w.block(2)
    assert w.account("ann").unbonding == 1
    w.block()
    assert w.account("ann").unbonding == 0
