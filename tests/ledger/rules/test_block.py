"""What a block does besides its transactions: epochs in their order and bounds, and no stop whatever goes wrong."""

from typing import Any

import pytest

from davy.ledger.driver.news import NewsOfBlocks
from davy.ledger.rules import block
from davy.ledger.rules.machine import BlockResult, Machine
from davy.ledger.rules.records import ABSENCES, CHAIN, RUNNING, SUBNETS, AbsenceRecord, subnet_key
from davy.protocol.encoding import encode
from davy.protocol.genesis import Genesis, GenesisSubnet
from davy.protocol.order import GroupKey, Halt, Lift, Subnet
from davy.protocol.recorded import subnet_name
from davy.protocol.transaction import BrakeOrder
from tests.ledger.rules.world import SMALL, World, genesis, id_of, market, pub


def epochs(w: World) -> tuple[int, ...]:
    return tuple(w.subnet(netuid).epoch for netuid in (1, 11, 21))


def test_epochs_beyond_a_block_s_work_wait_and_none_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three subnets whose epochs all end at 8, 18, 28, …; a block has work for one, and a unit is missing for two."""
    g = genesis()
    three = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 0) for n in (1, 11, 21))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, three, ()))
    monkeypatch.setattr(block, "MAX_EPOCH_WORK", 2 * block.EPOCH_WORK - 1)
    w.block(8)
    told = [epochs(w)]
    for _ in range(2):
        w.block()
        told.append(epochs(w))
    assert told == [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
    w.block(10)
    assert epochs(w) == (2, 2, 2), "and again in the next round"


def test_an_epoch_that_is_overdue_goes_before_one_that_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    g = genesis()
    three = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 0) for n in (0, 1, 11))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, three, ()))
    monkeypatch.setattr(block, "MAX_EPOCH_WORK", 0)
    w.block(8)
    assert block.due(w.machine.state, 9) == [11, 0], "1 and 11 were due at 8, 0 is at 9"
    w.block()
    assert [w.subnet(n).epoch for n in (0, 1, 11)] == [0, 1, 1]
    monkeypatch.undo()
    w.block()
    assert [w.subnet(n).epoch for n in (0, 1, 11)] == [1, 1, 1]


def broken(*_: object) -> Any:
    raise ZeroDivisionError


def apply_to_all(w: World, *raws: bytes) -> tuple[BlockResult, Machine]:
    """The next block, by this machine and by one that was restored before it: both do the same."""
    again = Machine.restore(w.genesis, list(w.machine.rows()), w.machine.height, w.machine.time)
    mine, theirs = (m.apply_block(m.height + 1, m.time + 250, raws) for m in (w.machine, again))
    assert (mine.app_hash, mine.results, mine.faults) == (theirs.app_hash, theirs.results, theirs.faults)
    w.rows, w.news = dict(w.machine.rows()), NewsOfBlocks()
    return mine, again


def faults_of(w: World) -> int:
    return w.machine.state.need(CHAIN, b"", "").faults


def test_a_brake_that_cannot_be_read_stops_no_block_and_what_is_halted_stands_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The records by name are brought up to a block's orders even so: those that begin, and those that are lifted."""
    w = World()
    monkeypatch.setattr(block, "brake_of", broken)
    halt = w.order(Halt(Subnet(1), GroupKey.HALT))
    done, again = apply_to_all(w, encode(BrakeOrder(halt)))
    assert [fault.split(":")[0] for fault in done.faults] == ["the brake"]
    assert faults_of(w) == 1
    assert w.halted(subnet_name(1)) is not None
    lift = w.order(Lift((id_of(halt),)))
    apply_to_all(w, encode(BrakeOrder(lift)))
    assert w.halted(subnet_name(1)) is None
    assert faults_of(w) == 2
    monkeypatch.undo()
    w.block()
    assert again.height + 2 == w.machine.height


def test_where_nobody_can_say_which_epochs_end_none_does_and_all_do_later(monkeypatch: pytest.MonkeyPatch) -> None:
    w = market()
    w.block(w.subnet().next_epoch_at - w.machine.height - 1)
    epoch = w.subnet().epoch
    monkeypatch.setattr(block, "due", broken)
    done, _ = apply_to_all(w)
    assert {fault.split(":")[0] for fault in done.faults} == {"which epochs end"}
    assert w.subnet().epoch == epoch
    assert faults_of(w) == len(done.faults) == 2
    monkeypatch.undo()
    w.block()
    assert w.subnet().epoch == epoch + 1


def test_an_epoch_whose_work_nobody_can_say_is_skipped_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    g = genesis()
    two = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 0) for n in (1, 11))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, two, ()))
    w.block(7)
    known = block.epoch_work
    monkeypatch.setattr(block, "epoch_work", lambda s, netuid: broken() if netuid == 1 else known(s, netuid))
    done, _ = apply_to_all(w)
    assert [fault.split(":")[0] for fault in done.faults] == ["work of an epoch of subnet 1"]
    ended = [w.machine.state.need(RUNNING, subnet_key(n), "") for n in (1, 11)]
    assert [(r.epoch, r.skipped) for r in ended] == [(1, 1), (1, 0)]
    monkeypatch.undo()
    w.block(10)
    assert [w.subnet(n).epoch for n in (1, 11)] == [2, 2]


def test_a_record_that_is_missing_stops_no_block_and_no_other_subnet() -> None:
    """As after a bug that deleted it: every part that needs it is undone and counted."""
    g = genesis()
    two = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 500_000) for n in (1, 11))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, two, ()))
    w.block(7)
    rows = {key: value for key, value in w.rows.items() if key != SUBNETS.tag + subnet_key(1)}
    w.machine = Machine.restore(w.genesis, rows.items(), w.machine.height, w.machine.time)
    done, _ = apply_to_all(w)
    assert {fault.split(":")[0] for fault in done.faults} == {
        "accrual of subnet 1", "work of an epoch of subnet 1", "skipping an epoch of subnet 1",
    }  # fmt: skip
    assert w.machine.state.need(RUNNING, subnet_key(11), "").epoch == 1


def test_a_part_that_writes_what_cannot_be_read_back_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end each node at its next start, and none could ever start again."""
    w = World()
    monkeypatch.setattr(block, "pay_unbonded", lambda s, at: s.put(ABSENCES, pub("ann"), AbsenceRecord(0)))
    done, _ = apply_to_all(w)
    assert [fault.split(":")[:2] for fault in done.faults] == [["payouts", " Malformed"]]
    assert faults_of(w) == 1
    w.check()


@pytest.mark.parametrize("part", ["brake_of", "due", "epoch_work"])
def test_out_of_memory_is_this_machine_s_and_no_outcome_of_a_block(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    w = World()
    w.block(7)

    def exhausted(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(block, part, exhausted)
    with pytest.raises(MemoryError):
        w.machine.apply_block(8, w.machine.time, [])
