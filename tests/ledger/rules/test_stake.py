"""Stake: what was not held over the whole epoch before counts nothing, and what leaves waits before it is free."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.ledger.rules import stake
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import (
    HOTKEYS,
    RUNNING,
    STAKES,
    HotkeyRecord,
    Low,
    NeuronRecord,
    R,
    RunningRecord,
    StakeRecord,
    Table,
    subnet_key,
)
from davy.ledger.rules.stake import MAX_DELEGATORS, remove_stake
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
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


def test_a_position_s_change_looks_at_each_subnet_of_its_hotkey_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each it went through all that the position keeps: paying 16,384 positions on 64 subnets took two seconds."""
    g = genesis()
    more = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 0) for n in range(2, 14))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, (*g.subnets, *more), ()))
    for n in range(1, 14):
        w.register("ann", "ann-hot", netuid=n)
    w.stake("ann", "ann-hot", 6 * TOKEN)
    s = w.machine.state
    epochs = {n: w.subnet(n).epoch for n in range(1, 14)}
    read: list[int] = []

    class Counted(Low):
        """Says when its subnet is asked for."""

        def __getattribute__(self, name: str) -> object:
            if name == "netuid":
                read.append(1)
            return super().__getattribute__(name)

    counted = tuple(Counted(n, epoch - n % 2, (3 + n % 3) * TOKEN) for n, epoch in epochs.items())
    s.put(STAKES, pub("ann-hot") + pub("ann"), StakeRecord(6 * TOKEN, counted, ()))
    stake.change_position(s, pub("ann-hot"), pub("ann"), -2 * TOKEN)
    assert len(read) <= 2 * 13
    least = {n: min(4, 6 if n % 2 else 3 + n % 3) * TOKEN for n in epochs}
    changed = s.need(STAKES, pub("ann-hot") + pub("ann"), "").lows
    assert [(low.netuid, low.epoch, low.least) for low in changed] == [(n, e, least[n]) for n, e in epochs.items()]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 2), st.sampled_from([-2, -1, 1, 2])),
        st.tuples(st.just("change"), st.just(0), st.sampled_from([-1, 1])),
        st.tuples(st.just("begin an epoch"), st.integers(1, 2), st.just(0)),
        st.tuples(st.just("rotate"), st.just(0), st.just(0)),
        st.tuples(st.just("mark"), st.just(0), st.just(0)),
        st.tuples(st.just("undo"), st.just(0), st.just(0)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=200)
@given(STEPS)
def test_what_is_kept_beside_the_positions_is_what_they_sum_to(steps: list[tuple[str, int, int]]) -> None:
    """Whatever changes, is undone, and in whichever epoch."""
    s = State({})
    keys = [bytes([k]) * 32 for k in range(5)]
    for n in (1, 2):
        s.put(RUNNING, subnet_key(n), RunningRecord(0, 0, 1, 0, 1, 0, 0, 0, 0, 0))
    hotkey, other = keys[3:]
    s.put(HOTKEYS, hotkey, HotkeyRecord(keys[0], 0, 0, (1, 2), (), ()))
    mark, begun = s.savepoint(), (hotkey, other)
    for what, n, change in steps:
        h = s.need(HOTKEYS, hotkey, "")
        match what:
            case "change":
                with suppress(TxFailed):
                    stake.change_position(s, hotkey, keys[n], change)
            case "begin an epoch":
                running = s.need(RUNNING, subnet_key(n), "")
                s.put(RUNNING, subnet_key(n), replace(running, epoch=running.epoch + 1))
            case "rotate":
                for coldkey in h.delegators:
                    s.put(STAKES, other + coldkey, s.need(STAKES, hotkey + coldkey, ""))
                    s.delete(STAKES, hotkey + coldkey)
                s.put(HOTKEYS, other, h)
                s.put(HOTKEYS, hotkey, replace(h, delegators=()))
                hotkey, other = other, hotkey
            case "mark":
                mark, begun = s.savepoint(), (hotkey, other)
            case "undo":
                s.rollback(mark)
                hotkey, other = begun
            case "settle":
                s.settle()
                mark, begun = s.savepoint(), (hotkey, other)
            case _:
                pass
        for n in (1, 2):
            running = s.need(RUNNING, subnet_key(n), "")
            neuron = NeuronRecord(hotkey, keys[0], 0, (), bytes(8), 0, 0)
            told = [stake.counted_total(s, n, neuron, running) for _ in range(3)]
            assert told == [sum(amount for _, amount in stake.counted_stake(s, n, neuron, running))] * 3


def test_an_epoch_looks_at_no_position_that_neither_changed_nor_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million positions of a thousandth of a token took .4 s of each epoch of anybody's subnet."""
    w = World(genesis(share=0))
    w.register("ann", "ann-hot", "ben-hot")
    for who in ("cat", "dan", "eve"):
        w.ok(who, AddStake(pub("ann-hot"), TOKEN), AddStake(pub("ben-hot"), TOKEN))
    for _ in range(3):
        w.end_epoch()
    w.block(w.machine.state.need(RUNNING, subnet_key(1), "").ends - w.machine.height - 1)
    read: list[bytes] = []
    known = State.get

    def noted(s: State, table: Table[R], key: bytes = b"") -> R | None:
        read.extend([key] if table is STAKES else [])
        return known(s, table, key)

    monkeypatch.setattr(State, "get", noted)
    epoch = w.subnet().epoch
    w.machine.apply_block(w.machine.height + 1, w.machine.time, [])
    assert w.machine.state.need(RUNNING, subnet_key(1), "").epoch == epoch + 1
    assert read == []
