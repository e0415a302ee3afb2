"""What producers propose and vote for follows from the state alone, whoever signs, whatever else came to a door."""

from __future__ import annotations

import pytest

from davy.ledger.driver.cometbft.door import Door
from davy.ledger.driver.cometbft.proposals import may_be_a_block, prepare
from davy.ledger.rules import door
from davy.ledger.rules.machine import Machine
from davy.protocol.errors import TxCode
from davy.protocol.transaction import Transfer
from davy.protocol.words import TOKEN
from tests.ledger.rules.test_coldkeys import swapped
from tests.ledger.rules.world import FAST, market, pub

ROOM = 10**6


@pytest.mark.parametrize("funded", [False, True])
def test_who_signs_for_a_swapped_coldkey_gets_into_blocks(funded: bool) -> None:
    w = market()
    if funded:
        w.ok("eve", Transfer(pub("new"), TOKEN))
    swapped(w, "ann", "new")
    first = w.tx("new", Transfer(pub("eve"), 1))
    waits = Door()
    assert waits.check(w.machine, first).code is TxCode.OK
    assert prepare(w.machine, [], [first], ROOM) == [first]
    assert may_be_a_block(w.machine, [first])
    assert w.apply([first]).results[0].code == TxCode.OK
    waits.follow(w.machine)
    assert waits.waiting() == (0, 0), "it is included, and waits no more"
    assert prepare(w.machine, [], [first], ROOM) == []
    assert not may_be_a_block(w.machine, [first])


def test_a_producer_votes_for_what_its_own_door_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "UNBACKED_A_BLOCK", 3)
    w = market()
    dust = [f"dust{i}" for i in range(6)]
    w.ok("eve", *[Transfer(pub(d), 2 * FAST.minimum_stake) for d in dust])
    one, other = w.machine, Machine.restore(w.genesis, list(w.machine.rows()), w.machine.height, w.machine.time)
    txs = [w.tx(d, Transfer(pub("eve"), 1), nonce=0) for d in dust]
    assert {one.check_tx(raw).code for raw in txs[:3]} == {other.check_tx(raw).code for raw in txs[3:]} == {TxCode.OK}
    assert one.check_tx(txs[3]).code is TxCode.TOO_EXPENSIVE
    for block in (prepare(one, [], txs[:3], ROOM), prepare(other, [], txs[3:], ROOM)):
        assert len(block) == 3
        assert may_be_a_block(one, block)
        assert may_be_a_block(other, block)
