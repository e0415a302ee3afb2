"""Blocks: durable before anybody hears of them, one chain of signed headers, time that only rises."""

import logging
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from davy.ledger.driver.blockstore import Block, BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.headers import Authority, check_follows, open_header, origin
from davy.protocol.chain import Account, Issuance, txs_digest
from davy.protocol.encoding import decode
from davy.protocol.errors import Busy, Misconfigured, Replayed, StoreFailed, TxCode
from davy.protocol.limits import MAX_SUBSCRIBERS, MAX_SUBSCRIBERS_AN_ADDRESS
from davy.protocol.proof import verify_absence, verify_presence
from davy.protocol.transaction import Transfer, tx_hash

pytestmark = pytest.mark.anyio


async def account(producer: Producer, key: bytes) -> Account:
    return decode((await producer.query("/nonce", key))[1], Account, limit=10**6)


async def test_what_was_accepted_stands_in_the_next_block(producer: Producer, chain: Any, store: BlockStore) -> None:
    txs = [chain.tx(0, 0), chain.tx(1, 0), chain.tx(0, 1)]
    assert [producer.submit(raw).code for raw in txs] == [TxCode.OK] * 3
    head = await producer.make_block()
    assert head.height == producer.head.height == 1
    assert [t.raw for t in store.txs(1)] == txs
    assert [(t.result.index, t.result.code) for t in store.txs(1)] == [(0, 0), (1, 0), (2, 0)]
    assert (await account(producer, chain.people[0].public())).nonce == 2
    assert producer.waiting() == (0, 0)


async def test_headers_are_one_signed_chain_that_names_state_and_transactions(
    producer: Producer, chain: Any, store: BlockStore
) -> None:
    before, authority, after = origin(chain.genesis), Authority.of(chain.genesis), b""
    for n in range(4):
        producer.submit(chain.tx(0, n))
        await producer.make_block()
    for height, raw, app_hash in store.headers(1, 9):
        opened = open_header(raw, authority)
        check_follows(before, opened)
        assert opened.header.height == height
        assert opened.header.txs == txs_digest([tx_hash(t.raw) for t in store.txs(height)])
        assert opened.header.txs == txs_digest(store.tx_hashes(height))
        assert after in (b"", opened.header.app_hash)
        before, after = opened.head, app_hash
    assert before == producer.head
    assert before.height == 4


async def test_block_time_only_rises_whatever_the_clock_does(producer: Producer, clock: Any, chain: Any) -> None:
    times: list[int] = []
    for now in (10_000, 10_000, 9_000, 10_001, 20_000, 0):
        clock.time = now
        times.append((await producer.make_block()).time)
    assert times == [10_000, 10_001, 10_002, 10_003, 20_000, 20_001]


async def test_a_clock_before_the_genesis_does_not_lead_back(chain: Any, clock: Any, producer: Producer) -> None:
    clock.time = 3
    assert (await producer.make_block()).time == chain.genesis.time + 1


async def test_the_door_turns_down_with_codes(producer: Producer, chain: Any) -> None:
    raw = chain.tx(0, 0)
    refused = [
        (b"", TxCode.MALFORMED),
        (raw[:-1], TxCode.MALFORMED),
        (bytes(70_000), TxCode.MALFORMED),
        (raw[:-1] + bytes([raw[-1] ^ 1]), TxCode.BAD_SIGNATURE),
        (chain.tx(0, 0, chain=bytes(32)), TxCode.WRONG_CHAIN),
        (chain.tx(0, 1), TxCode.WRONG_NONCE),
    ]
    for bad, code in refused:
        assert producer.submit(bad).code is code
    assert producer.waiting() == (0, 0)
    assert producer.submit(raw).code is TxCode.OK
    with pytest.raises(Replayed):
        producer.submit(raw)
    await producer.make_block()
    assert producer.submit(raw).code is TxCode.WRONG_NONCE
    assert producer.submit(chain.tx(0, 1)).code is TxCode.OK


async def test_a_failed_transaction_is_included_and_says_why(producer: Producer, chain: Any, store: BlockStore) -> None:
    raw = chain.tx(0, 0, Transfer(bytes(32), 10**15))
    assert producer.submit(raw).code is TxCode.OK
    await producer.make_block()
    found = store.tx(tx_hash(raw))
    assert found is not None
    assert found.result.code == TxCode.INSUFFICIENT
    assert "add some first" in found.result.log


async def test_a_foreign_producer_key_is_refused(chain: Any, store: BlockStore, clock: Any) -> None:
    with pytest.raises(Misconfigured, match="makes no blocks on this chain"):
        Producer(chain.genesis, store, chain.people[0], clock)


async def test_proofs_hold_against_the_next_header(producer: Producer, chain: Any) -> None:
    producer.submit(chain.tx(0, 0))
    await producer.make_block()
    from davy.ledger.rules.records import ACCOUNTS

    key = ACCOUNTS.tag + chain.people[0].public()
    there, absent = await producer.prove(key), await producer.prove(ACCOUNTS.tag + bytes(32))
    head = await producer.make_block()
    assert there.height == absent.height == head.height - 1
    assert there.value is not None
    verify_presence(head.app_hash, key, there.value, there.proof)
    assert absent.value is None
    verify_absence(head.app_hash, ACCOUNTS.tag + bytes(32), absent.proof)


class Gate:
    """Holds the write of a block until it is opened, or lets it fail."""

    def __init__(self, store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writing, self.open = anyio.Event(), anyio.Event()
        self.fails = False
        append = store.append

        def held(block: Block) -> None:
            anyio.from_thread.run_sync(self.writing.set)
            anyio.from_thread.run(self.open.wait)
            if self.fails:
                raise StoreFailed("disk full")
            append(block)

        monkeypatch.setattr(store, "append", held)


async def test_nothing_of_a_block_shows_before_it_is_durable(
    producer: Producer, chain: Any, store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await producer.make_block()
    gate, alice = Gate(store, monkeypatch), chain.people[0].public()
    producer.submit(chain.tx(0, 0))
    answered: list[tuple[int, int]] = []

    async def ask() -> None:
        height, raw = await producer.query("/nonce", alice)
        answered.append((height, decode(raw, Account, limit=10**6).nonce))
        answered.append(((await producer.prove(b"x")).height, -1))

    async with anyio.create_task_group() as tasks:
        with producer.subscribed() as subscriber:
            tasks.start_soon(producer.make_block)
            await gate.writing.wait()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert producer.head.height == 1
            assert store.height() == 1
            assert store.tx(tx_hash(chain.tx(0, 0))) is None
            assert subscriber.heights.statistics().current_buffer_used == 0
            assert answered == []
            gate.open.set()
            assert await subscriber.heights.receive() == 2
            assert store.height() == 2
    assert answered == [(2, 1), (2, -1)]


async def test_the_engine_ends_when_the_disk_does_not_take_a_block(
    producer: Producer, chain: Any, store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer.submit(chain.tx(0, 0))
    gate = Gate(store, monkeypatch)
    gate.fails = True
    gate.open.set()
    with pytest.raises(StoreFailed, match="disk full"):
        await producer.run()
    for call in (producer.query("/issuance", b""), producer.prove(b""), producer.make_block()):
        with pytest.raises(StoreFailed, match="start the ledger again"):
            await call
    assert producer.head.height == 0


async def test_a_block_that_was_begun_is_finished_when_the_engine_is_cancelled(
    producer: Producer, chain: Any, store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(store, monkeypatch)
    producer.submit(chain.tx(0, 0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(producer.run)
        await gate.writing.wait()
        tasks.cancel_scope.cancel()
        gate.open.set()
    assert store.height() == producer.head.height == 1
    assert (await producer.query("/issuance", b""))[0] == 1


async def test_blocks_come_at_their_pace_and_at_once_while_full(
    producer: Producer, chain: Any, clock: Any, store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("davy.ledger.driver.embedded.MAX_BLOCK_TXS", 10)
    for nonce in range(35):
        assert producer.submit(chain.tx(0, nonce)).code is TxCode.OK
    start = clock.time
    await _run_until(producer, 6)
    times = [open_header(raw, Authority.of(chain.genesis)).header.time - start for _, raw, _ in store.headers(1, 6)]
    assert [len(store.txs(h)) for h in range(1, 7)] == [10, 10, 10, 5, 0, 0]
    assert times[:3] == [0, 1, 2]  # at once, one millisecond apart at least
    assert [b - a for a, b in pairwise(times[3:])] == [100, 100]


@pytest.mark.parametrize("asleep", [True, False])
async def test_a_clock_that_is_set_back_an_hour_stops_no_block(
    asleep: bool, chain: Any, store: BlockStore, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is set while a block is waited for, or while one is made."""

    async def wait(t: int) -> None:
        if asleep and clock.time == start:
            clock.time -= 3_600_000
        while clock.time < t:
            clock.time += 10
            await anyio.sleep(0.01)

    monkeypatch.setattr(clock, "sleep_until", wait)
    producer, start = Producer(chain.genesis, store, chain.producer, clock, block_time=50), clock.time
    async with anyio.create_task_group() as tasks:
        with producer.subscribed() as subscriber, anyio.fail_after(30):
            tasks.start_soon(producer.run)
            assert await subscriber.heights.receive() == 1
            if not asleep:
                clock.time -= 3_600_000
            assert [await subscriber.heights.receive() for _ in range(3)] == [2, 3, 4]
        tasks.cancel_scope.cancel()
    times = [open_header(raw, Authority.of(chain.genesis)).header.time for _, raw, _ in store.headers(1, 4)]
    assert all(a < b for a, b in pairwise(times))


async def test_without_empty_blocks_nothing_happens_until_something_waits(
    chain: Any, store: BlockStore, clock: Any
) -> None:
    producer = Producer(chain.genesis, store, chain.producer, clock, empty_blocks=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(producer.run)
        await anyio.wait_all_tasks_blocked()
        assert producer.head.height == 0
        with producer.subscribed() as subscriber:
            producer.submit(chain.tx(0, 0))
            assert await subscriber.heights.receive() == 1
        await anyio.wait_all_tasks_blocked()
        assert producer.head.height == 1
        tasks.cancel_scope.cancel()
    assert len(store.txs(1)) == 1


async def test_a_subscriber_that_does_not_read_is_dropped_and_holds_nobody(producer: Producer) -> None:
    heard: list[int] = []

    async def produce() -> None:
        for _ in range(70):
            await producer.make_block()
            heard.append(quick.heights.receive_nowait())

    with producer.subscribed() as slow, producer.subscribed() as quick:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(produce)
            with slow.scope:
                await anyio.sleep_forever()
        assert slow.scope.cancelled_caught
        assert not quick.scope.cancel_called
    assert heard == list(range(1, 71))


async def test_subscribers_are_bounded_and_leave_room(producer: Producer) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_SUBSCRIBERS):
            stack.enter_context(producer.subscribed())
        with pytest.raises(Busy, match="poll instead"):
            stack.enter_context(producer.subscribed())
    with producer.subscribed():
        await producer.make_block()


async def test_one_address_does_not_take_all_places(producer: Producer) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_SUBSCRIBERS_AN_ADDRESS):
            stack.enter_context(producer.subscribed("192.0.2.1"))
        with pytest.raises(Busy, match="of this address"):
            stack.enter_context(producer.subscribed("192.0.2.1"))
        stack.enter_context(producer.subscribed("192.0.2.2"))
        for _ in range(MAX_SUBSCRIBERS_AN_ADDRESS + 1):
            stack.enter_context(producer.subscribed())
    with producer.subscribed("192.0.2.1"):
        await producer.make_block()


async def test_faults_of_the_rules_are_logged(
    producer: Producer, chain: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from davy.ledger.rules import transactions

    def broken(*_: object) -> None:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(transactions, "RULES", {**transactions.RULES, Transfer: broken})
    producer.submit(chain.tx(0, 0))
    with caplog.at_level(logging.ERROR):
        await producer.make_block()
    assert "ZeroDivisionError" in caplog.text
    issuance = decode((await producer.query("/issuance", b""))[1], Issuance, limit=10**4)
    assert issuance.issued == 3 * 10**12


async def test_two_ledgers_never_run_on_one_file(database: Path, store: BlockStore) -> None:
    with pytest.raises(Misconfigured, match=r"another ledger runs on .*ledger\.db"):
        BlockStore(database)
    store.close()
    with closing(BlockStore(database)):
        pass


async def _run_until(producer: Producer, height: int) -> None:
    async with anyio.create_task_group() as tasks:
        with producer.subscribed() as subscriber:
            tasks.start_soon(producer.run)
            while await subscriber.heights.receive() < height:
                pass
            tasks.cancel_scope.cancel()
