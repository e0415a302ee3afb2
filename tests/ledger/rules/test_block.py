"""Epochs in a block: the longest overdue first, and no more than a block may work."""

import pytest

from davy.ledger.rules import block
from davy.protocol.genesis import Genesis, GenesisSubnet
from tests.ledger.rules.world import SMALL, World, genesis, pub


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
    two = tuple(GenesisSubnet(n, pub("owner"), "text", "yuma3", SMALL, 0) for n in (0, 1))
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, two, ()))
    monkeypatch.setattr(block, "MAX_EPOCH_WORK", 0)
    w.block(9)
    assert [w.subnet(n).epoch for n in (0, 1)] == [0, 0], "1 was due at 8, 0 at 9"
    assert block.due(w.machine.state, 9) == [1, 0]
    monkeypatch.undo()
    w.block()
    assert [w.subnet(n).epoch for n in (0, 1)] == [1, 1]
