"""The ledger in one object: the real state machine, a mempool and a block timer; what a node sees is `LedgerClient`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import lru_cache
from typing import Any

import trio

from davy.ledger.client.braking import gather
from davy.ledger.driver.news import NewsOfBlocks
from davy.ledger.rules.machine import Machine
from davy.protocol.chain import (
    Account,
    EpochRecord,
    Head,
    Header,
    Metagraph,
    RowsInForce,
    TxResult,
    header_hash,
    txs_digest,
)
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Expired, TxCode, TxFailed
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.order import open_order, order_id
from davy.protocol.ports import Clock
from davy.protocol.recorded import AccessList, AccessRecord, BrakePage, OrderRecord, RecordedBrake, SubjectFacts
from davy.protocol.transaction import is_brake_order, open_tx, tx_hash


class SimulatedLedger:
    """Blocks at a fixed pace; every view of it (`client`) is delayed and may lose calls like any other message."""

    def __init__(self, genesis: Genesis, clock: Clock, block_ms: int) -> None:
        self.machine = Machine.from_genesis(genesis)
        self._news = NewsOfBlocks()
        self._changed: dict[int, int] = {}
        self._anywhere = 0
        self.chain = chain_id(genesis)
        self.headers: list[bytes] = []
        self._heads: list[Head] = []
        self._clock, self._block_ms = clock, block_ms
        self._pool: dict[bytes, bytes] = {}
        self._results: dict[bytes, TxResult] = {}
        self._new_block = trio.Event()

    async def run(self) -> None:
        """Make blocks until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._block_ms)
            self.make_block()

    def make_block(self) -> None:
        """Apply everything that waits, and wake who waits for a block."""
        txs = sorted(self._pool.values(), key=lambda raw: not is_brake_order(raw))
        self._pool.clear()
        height, previous = self.machine.height + 1, header_hash(self.headers[-1]) if self.headers else bytes(32)
        hashes = [tx_hash(raw) for raw in txs]
        header = Header(
            1, self.chain, height, self._clock.now(), previous, self.machine.app_hash, txs_digest(hashes), bytes(32)
        )
        block = self.machine.apply_block(height, header.time, txs)
        assert not block.faults, block.faults
        changed = self._news.note(self.machine, block.changes).changed
        if changed is None:
            self._anywhere = height
        else:
            self._changed.update(dict.fromkeys(changed, height))
        self._results |= dict(zip(hashes, block.results, strict=True))
        raw = encode(header)
        self.headers.append(raw)
        self._heads.append(Head(height, header.time, header_hash(raw), header.app_hash))
        self._new_block.set()
        self._new_block = trio.Event()

    def unchanged(self, netuid: int, since: int) -> bool:
        return max(self._anywhere, self._changed.get(netuid, 0)) <= since

    def head_at(self, height: int) -> Head:
        return self._heads[height - 1]

    async def next_block(self) -> None:
        await self._new_block.wait()

    def take(self, raw: bytes) -> bytes:
        verdict = self.machine.check_tx(raw)
        if verdict.code != TxCode.OK:
            raise TxFailed(verdict.code, verdict.message)
        self._pool[verdict.hash] = raw
        return verdict.hash

    def result(self, h: bytes) -> TxResult | None:
        return self._results.get(h)


class SimulatedClient:
    """One node's view: `LedgerClient`, each call carried there and back by `carry`."""

    def __init__(self, ledger: SimulatedLedger, carry: Callable[[], Awaitable[None]]) -> None:
        self._ledger, self._carry = ledger, carry

    @property
    def chain(self) -> bytes:
        return self._ledger.chain

    async def head(self) -> Head:
        await self._carry()
        while not self._ledger.headers:
            await self._ledger.next_block()
        return self._ledger.head_at(len(self._ledger.headers))

    async def submit(self, raw: bytes) -> bytes:
        await self._carry()
        return self._ledger.take(raw)

    async def outcome(self, h: bytes, *, until: int) -> TxResult:
        await self._carry()
        while True:
            found = self._ledger.result(h)
            if found is not None:
                return found
            if self._ledger.machine.height >= until:
                raise Expired(f"not in a block by height {until}; submit it again")
            await self._ledger.next_block()

    async def nonce(self, key: bytes) -> int:
        return decode(await self.query("/nonce", key), Account, limit=MAX_RESULT_BYTES).nonce

    async def fate(self, raw: bytes, *, after: int) -> TxResult | None:
        body = open_tx(raw)[1]
        if await self.nonce(body.sender) <= body.nonce:
            raise Expired("its nonce is not used up")
        await self._ledger.next_block()
        return self._ledger.result(tx_hash(raw))

    async def is_recorded(self, order: bytes) -> bool:
        return any(order == order_id(open_order(row.order)[0].order) for row in (await self.brake()).orders)

    async def metagraph(self, netuid: int, at: int | None = None) -> Metagraph:
        return _read(await self.query("/metagraph", netuid.to_bytes(2, "big")), Metagraph)

    def unchanged(self, netuid: int, since: int) -> bool:
        return self._ledger.unchanged(netuid, since)

    async def rows(self, netuid: int) -> RowsInForce:
        return _read(await self.query("/weights", netuid.to_bytes(2, "big")), RowsInForce)

    async def epoch(self, netuid: int, epoch: int) -> EpochRecord | None:
        try:
            raw = await self.query("/epoch", netuid.to_bytes(2, "big") + epoch.to_bytes(8, "big"))
        except TxFailed:
            return None
        return decode(raw, EpochRecord, limit=MAX_RESULT_BYTES)

    async def brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        rows: list[OrderRecord] = []
        while True:
            raw = await self.query("/brake", (rows[-1].number + 1 if rows else 0).to_bytes(8, "big"))
            page = decode(raw, BrakePage, limit=MAX_RESULT_BYTES)
            rows += page.orders
            if not page.more:
                return gather(page.height, page.brake, rows)

    async def told_brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        return await self.brake(known)

    async def subject(self, netuid: int, hotkey: bytes, model: bytes | None = None) -> SubjectFacts:
        raw = await self.query("/subject", netuid.to_bytes(2, "big") + hotkey + (model or b""))
        return decode(raw, SubjectFacts, limit=MAX_RESULT_BYTES)

    async def accesses(self, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        return _read(await self.query("/access", b"".join(models)), AccessList).records if models else ()

    async def query(self, path: str, data: bytes) -> bytes:
        await self._carry()
        return self._ledger.machine.query(path, data)

    def blocks(self, after: int, *, newest: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Head]]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[AsyncIterator[Head]]:
            async with aclosing(self._heads(after)) as heads:
                yield heads

        return opened()

    async def _heads(self, after: int) -> AsyncGenerator[Head]:
        height = after
        while True:
            while len(self._ledger.headers) <= height:
                await self._ledger.next_block()
            height += 1
            await self._carry()
            yield self._ledger.head_at(height)


@lru_cache(maxsize=8)
def _read(raw: bytes, kind: Any) -> Any:
    """What all nodes are answered alike is decoded once: it cannot be changed."""
    return decode(raw, kind, limit=MAX_RESULT_BYTES)
