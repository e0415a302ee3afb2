"""What a ledger says where its engine has no room or is not there: an order of keyholders is taken all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.cometbft.application import Application
from davy.ledger.driver.cometbft.engine import Broadcast, Engine, EngineRefused
from davy.ledger.driver.cometbft.node import EngineNode
from davy.protocol.encoding import encode
from davy.protocol.errors import Busy, Refused, Replayed, TxCode, Unreachable
from davy.protocol.limits import MAX_PENDING_ORDERS
from davy.protocol.transaction import BrakeOrder

pytestmark = [pytest.mark.anyio]
FULL = EngineRefused("mempool is full: number of txs 5000 (max: 5000)")
GONE = Unreachable("the engine does not answer")
KNOWN = EngineRefused("tx already exists in cache")


class FailingEngine(Engine):
    """Takes nothing."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(Path("/nowhere"))
        self.failure = failure
        self.asked: list[bytes] = []

    async def broadcast(self, raw: bytes) -> Broadcast:
        self.asked.append(raw)
        raise self.failure


class Stand:
    """A ledger over an engine that fails."""

    def __init__(self, chain: Any, store: BlockStore, failure: Exception) -> None:
        self.app, self.engine = Application(chain.genesis, store), FailingEngine(failure)
        self.node = EngineNode(self.app, self.engine, chain.producer.public())


@pytest.mark.parametrize("failure", [FULL, GONE], ids=["full", "gone"])
async def test_an_order_is_taken_and_proposed_by_this_producer(
    chain: Any, store: BlockStore, failure: Exception
) -> None:
    stand, order, other = Stand(chain, store, failure), encode(BrakeOrder(chain.order())), chain.tx(0, 0)
    verdict = await stand.node.hand_in(order)
    assert (verdict.code, bool(verdict.order)) == (TxCode.OK, True)
    assert stand.engine.asked == [order], "the others would hear of it from the engine"
    assert stand.node.waiting() == (1, len(order))
    assert stand.app.prepare([other], 1_000_000) == [order, other]


@pytest.mark.parametrize("failure", [FULL, GONE], ids=["full", "gone"])
async def test_a_transfer_is_told_to_come_again(chain: Any, store: BlockStore, failure: Exception) -> None:
    stand = Stand(chain, store, failure)
    with pytest.raises(Busy, match="mempool is full"):  # the words by which a client knows that it may come again
        await stand.node.hand_in(chain.tx(0, 0))
    assert stand.app.prepare([], 1_000_000) == []


@pytest.mark.parametrize("failure", [FULL, GONE], ids=["full", "gone"])
async def test_an_order_without_a_place_at_the_door_is_not_said_to_be_taken(
    chain: Any, store: BlockStore, failure: Exception
) -> None:
    stand = Stand(chain, store, failure)
    for n in range(MAX_PENDING_ORDERS):
        raw = encode(BrakeOrder(chain.order(issued=1_000_000 + n)))
        assert (await stand.node.hand_in(raw)).code is TxCode.OK
    with pytest.raises(Busy):
        await stand.node.hand_in(encode(BrakeOrder(chain.order(issued=999_999))))
    assert len(stand.app.door.orders()) == MAX_PENDING_ORDERS


async def test_what_the_engine_has_waits_already(chain: Any, store: BlockStore) -> None:
    stand, order = Stand(chain, store, KNOWN), encode(BrakeOrder(chain.order()))
    for raw in (order, chain.tx(0, 0)):
        with pytest.raises(Replayed):
            await stand.node.hand_in(raw)
    assert stand.app.door.orders() == [order], "it waits here as well, whatever the engine loses"


async def test_another_refusal_is_told_in_the_engines_words(chain: Any, store: BlockStore) -> None:
    stand = Stand(chain, store, EngineRefused("tx too large"))
    with pytest.raises(Refused, match="tx too large"):
        await stand.node.hand_in(chain.tx(0, 0))
