"""Orders of keyholders pass everything that waits, and a client knows when one was kept from it."""

import base64
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from davy.killswitch.brake import first_state, head, record, take
from davy.ledger.client import RpcLedger
from davy.ledger.driver import mempool as mempools
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.driver.mempool import Mempool
from davy.ledger.driver.server import RpcServer, listening
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, Refused, Replayed, TxCode, TxFailed
from davy.protocol.limits import MAX_BLOCK_ORDERS, MAX_RESULT_BYTES
from davy.protocol.order import Drill, Global, GroupKey, Halt, Lift, Miner, SignedOrder, open_order, order_id
from davy.protocol.recorded import GLOBAL_NAME, BrakePage, miner_name
from davy.protocol.transaction import BrakeOrder

pytestmark = pytest.mark.anyio


def envelope(order: bytes) -> bytes:
    return encode(BrakeOrder(order))


def id_of(order: bytes) -> bytes:
    return order_id(open_order(order)[0].order)


def test_orders_leave_first_and_nothing_else_takes_their_room() -> None:
    pool = Mempool(limit=3)
    for n in range(3):
        pool.add(bytes([n]), b"tx%d" % n, b"s", n, 0)
    with pytest.raises(Busy):
        pool.refuse_known_or_full(b"new", 1)
    pool.add_order(b"a", b"order a")
    pool.add_order(b"b", b"order b")
    with pytest.raises(Replayed):
        pool.add_order(b"a", b"order a, otherwise signed")
    assert (len(pool), pool.bytes) == (5, 3 * 3 + 2 * 7)
    assert pool.take(3, 10**6) == [b"order a", b"order b", b"tx0"]
    assert pool.take(9, 10**6) == [b"tx1", b"tx2"]
    assert (len(pool), pool.bytes) == (0, 0)


def test_the_room_of_orders_is_bounded_and_a_block_takes_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempools, "MAX_PENDING_ORDERS", MAX_BLOCK_ORDERS + 1)
    pool = Mempool()
    for n in range(MAX_BLOCK_ORDERS + 1):
        pool.add_order(n.to_bytes(2, "big"), b"%3d" % n)
    with pytest.raises(Busy, match="orders wait"):
        pool.add_order(b"more", b"more")
    assert pool.take(5, 6) == [b"  0", b"  1"], "within the bytes of a block"
    assert len(pool.take(10**4, 10**6)) == MAX_BLOCK_ORDERS - 1
    assert not pool


async def test_an_order_is_the_first_of_a_block_also_when_nothing_else_is_taken(
    producer: Producer, chain: Any, store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer._mempool, "_limit", 2)
    junk = [chain.tx(0, 0), chain.tx(0, 1)]
    for raw in junk:
        assert producer.submit(raw).code is TxCode.OK
    with pytest.raises(Busy):
        producer.submit(chain.tx(0, 2))
    raw = envelope(chain.order())
    assert producer.submit(raw).code is TxCode.OK
    with pytest.raises(Replayed):
        producer.submit(raw)
    assert producer.waiting()[0] == 3
    await producer.make_block()
    assert [t.raw for t in store.txs(1)] == [raw, *junk]
    assert {t.result.code for t in store.txs(1)} == {0}
    assert producer.submit(raw).code is TxCode.EXISTS


async def test_an_order_signed_once_more_does_not_wait_twice(producer: Producer, chain: Any) -> None:
    order = chain.order()
    producer.submit(envelope(order))
    signed, _ = open_order(order)
    assert producer.submit(envelope(encode(SignedOrder(1, signed.order, (bytes(64),))))).code is TxCode.BAD_SIGNATURE
    assert producer.waiting()[0] == 1


async def test_a_ledger_that_makes_no_empty_blocks_wakes_for_an_order(
    chain: Any, store: BlockStore, clock: Any
) -> None:
    import anyio

    producer = Producer(chain.genesis, store, chain.producer, clock, empty_blocks=False)
    async with anyio.create_task_group() as tasks:
        with producer.subscribed() as subscriber:
            tasks.start_soon(producer.run)
            await anyio.wait_all_tasks_blocked()
            producer.submit(envelope(chain.order()))
            assert await subscriber.heights.receive() == 1
        tasks.cancel_scope.cancel()


class Told:
    """A ledger over HTTP whose answers a test bends, and a client of it; each question makes a block."""

    def __init__(self, chain: Any, producer: Producer) -> None:
        self.chain, self.producer = chain, producer
        self.bend: Callable[[BrakePage], BrakePage] = lambda page: page
        self.pages = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Told":
        server = RpcServer(self.producer)
        answer = server._methods._abci_query

        async def bent(p: Any) -> Any:
            said = await answer(p)
            if p.path == "/brake":
                self.pages += 1
                page = decode(base64.b64decode(said["response"]["value"]), BrakePage, limit=MAX_RESULT_BYTES)
                said["response"]["value"] = base64.b64encode(encode(self.bend(page))).decode()
            else:
                await self.producer.make_block()
            return said

        server._methods._table["abci_query"] = (server._methods._table["abci_query"][0], bent)  # type: ignore[index]
        url = await self._stack.enter_async_context(listening(server.app, "127.0.0.1", 0))
        self.client = await self._stack.enter_async_context(RpcLedger(url, self.chain.id))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def give(self, *orders: bytes) -> None:
        for order in orders:
            await self.client.submit(envelope(order))
        await self.producer.make_block()


async def test_all_orders_are_told_and_make_the_same_brake(chain: Any, producer: Producer) -> None:
    async with Told(chain, producer) as told:
        await told.give()
        assert (await told.client.brake()).orders == ()
        halts = [chain.order(Halt(Miner(bytes([n]) * 32), GroupKey.HALT)) for n in range(MAX_BLOCK_ORDERS)]
        lift, drill = chain.order(Lift((id_of(halts[0]),))), chain.order(Drill(Global()))
        await told.give(*halts)
        await told.give(lift, drill)
        first = await told.client.brake()
        assert [r.order for r in first.orders] == [*halts, lift]
        assert [r.order for r in first.drills] == [drill]
        state = take(first_state(chain.genesis), [r.order for r in first.orders]).state
        state = record(state, {id_of(r.order): r.time for r in first.orders})
        assert head(state) == first.brake.head
        assert len(state.orders) == len(state.recorded) == first.brake.orders
        more = chain.order(Halt(Global(), GroupKey.LIFT))
        await told.give(more)
        told.pages = 0
        second = await told.client.brake(first)
        assert [r.order for r in second.orders] == [*halts, lift, more]
        assert told.pages == 1, "only the news is fetched"
        third = await told.client.brake()
        assert (second.brake, second.orders, second.drills) == (third.brake, third.orders, third.drills)


BENDS: dict[str, Callable[[BrakePage], BrakePage]] = {
    "an order is left out": lambda p: BrakePage(p.height, p.brake, p.orders[1:], p.more),
    "another block's time": lambda p: BrakePage(
        p.height, p.brake, (type(p.orders[0])(p.orders[0].order, 1, 7, 0), *p.orders[1:]), p.more
    ),
    "no orders at all": lambda p: BrakePage(p.height, p.brake, (), False),
    "an order that is none": lambda p: BrakePage(p.height, p.brake, (type(p.orders[0])(b"x", 1, 1, 0),), False),
    "more without end": lambda p: BrakePage(p.height, p.brake, (), True),
}


@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS.keys())
async def test_a_ledger_that_keeps_an_order_back_is_refused(
    chain: Any, producer: Producer, bend: Callable[[BrakePage], BrakePage]
) -> None:
    async with Told(chain, producer) as told:
        await told.give(chain.order(), chain.order(Halt(Miner(bytes(32)), GroupKey.HALT)))
        assert len((await told.client.brake()).orders) == 2
        told.bend = bend
        with pytest.raises(Refused):
            await told.client.brake()


async def test_orders_without_end_are_bounded(chain: Any, producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.ledger.client.ledger._MOST_BYTES", 50_000)
    async with Told(chain, producer) as told:
        await told.give(chain.order())
        row = (await told.client.brake()).orders[0]
        told.bend = lambda p: BrakePage(p.height, p.brake, (type(row)(row.order, 1, 1, told.pages),) * 30, True)
        told.pages = 0
        with pytest.raises(Refused, match="more than"):
            await told.client.brake()
        assert 1 < told.pages < 5


async def test_the_orders_of_many_full_rosters_are_read(chain: Any, producer: Producer) -> None:
    async with Told(chain, producer) as told:
        await told.give(chain.order())
        row = (await told.client.brake()).orders[0]

        def page(p: BrakePage) -> BrakePage:
            rows = tuple(type(row)(row.order, 1, 1, told.pages * 1_000 + n) for n in range(1_000))
            return BrakePage(p.height, p.brake, rows, told.pages < 40)

        told.bend, told.pages = page, 0
        assert len((await told.client.told_brake()).orders) == 40 * 1_000


async def test_an_old_state_is_no_answer(chain: Any, producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A HALT is recorded, and the ledger proves the state of before."""
    async with Told(chain, producer) as told:
        await told.give()
        old = await producer.prove(b"B")
        await producer.make_block()
        before = await told.client.brake()
        await told.give(chain.order())
        await told.client.head()

        async def outdated(key: bytes) -> Any:
            return old

        monkeypatch.setattr(producer, "prove", outdated)
        told.bend = lambda page: BrakePage(old.height, before.brake, (), False)
        with pytest.raises(Refused, match="or later"):
            await told.client.brake()


async def test_what_is_halted_and_what_is_not_is_proved_by_name(chain: Any, producer: Producer) -> None:
    async with Told(chain, producer) as told:
        order = chain.order()
        await told.give(order)
        found = await told.client.halted(GLOBAL_NAME, miner_name(bytes(32)))
        assert found[miner_name(bytes(32))] is None
        said = found[GLOBAL_NAME]
        assert said is not None
        assert said.halt == id_of(order)
        assert await told.client.conviction(bytes(32)) is None
        assert await told.client.attestations(id_of(order)) == ()


async def test_the_door_turns_orders_down_by_code(chain: Any, producer: Producer) -> None:
    async with Told(chain, producer) as told:
        with pytest.raises(TxFailed) as refused:
            await told.client.submit(envelope(b"junk"))
        assert refused.value.code is TxCode.MALFORMED
