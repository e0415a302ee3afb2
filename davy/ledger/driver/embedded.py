"""The embedded engine: one process makes the blocks, signs their headers with a genesis key, and keeps them.

A block is taken from the mempool, applied, written in one transaction and flushed; then it exists for everybody at
once: the head moves, queries answer from it, subscribers hear of it. When the disk does not take it the engine ends,
because its memory is then ahead of its file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final

import anyio
import msgspec
from anyio import to_thread

from davy.ledger.driver.blockstore import Block, BlockStore
from davy.ledger.driver.mempool import Mempool
from davy.ledger.driver.news import News, NewsOfBlocks
from davy.ledger.driver.node import Proved
from davy.ledger.driver.recovery import recover
from davy.ledger.driver.subscribers import Subscriber, Subscribers
from davy.ledger.headers import Authority, OpenedHeader
from davy.ledger.rules.machine import Verdict
from davy.protocol.chain import Account, Head, Header, SignedHeader, header_hash, txs_digest
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misconfigured, Refused, StoreFailed, TxCode, TxFailed
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_BLOCK_BYTES, MAX_BLOCK_TXS, MAX_RESULT_BYTES
from davy.protocol.ports import Clock, KeyStore
from davy.protocol.signing import Domain
from davy.protocol.transaction import is_brake_order, tx_hash
from davy.protocol.words import Height, KeyRole

_log: Final = logging.getLogger(__name__)


class Producer:
    """The one maker of blocks of a chain; `run` makes them until it is cancelled.

    Parameters
    ----------
    keys
        Its producer key must stand in the genesis.
    block_time
        Milliseconds from one block to the next; while more waits than a block takes, the next one is made at once.
    empty_blocks
        False: nothing happens while no transaction waits, epochs neither.

    Raises
    ------
    Misconfigured
        The key makes no blocks on this chain, or not alone, or the file is not this chain's or damaged.
    """

    engine = "embedded"

    def __init__(
        self,
        genesis: Genesis,
        store: BlockStore,
        keys: KeyStore,
        clock: Clock,
        *,
        block_time: int = 250,
        empty_blocks: bool = True,
    ) -> None:
        self.genesis = genesis
        self.chain = chain_id(genesis)
        self.public = keys.public(KeyRole.PRODUCER)
        if self.public not in genesis.producers:
            raise Misconfigured("this home's producer key makes no blocks on this chain; use the one its genesis names")
        if len(genesis.producers) > 1:
            raise Misconfigured("several producers make this chain's blocks together; use `davy ledger start`")
        self.authority = Authority.of(genesis)
        self.store = store
        self._machine, self.head = recover(store, genesis)
        self._news = NewsOfBlocks()
        self._keys = keys
        self._clock = clock
        self._block_time = block_time
        self._empty_blocks = empty_blocks
        self._mempool = Mempool()
        self._arrival = anyio.Event()
        self._whole = anyio.Lock()
        """Held while the machine is ahead of the disk: nobody reads its state meanwhile."""
        self._failed = False
        self._subscribers = Subscribers()

    def submit(self, raw: bytes) -> Verdict:
        """Check a transaction at the door and let it wait for a block; an order of keyholders goes first in it.

        Returns
        -------
        Verdict
            With a code other than OK: it was turned down.

        Raises
        ------
        Replayed
            It waits already.
        Busy
            No room.
        """
        if not is_brake_order(raw):
            self._mempool.refuse_known_or_full(tx_hash(raw), len(raw))
        verdict = self._machine.check_tx(raw)
        if verdict.code is not TxCode.OK:
            return verdict
        if verdict.order:
            self._mempool.add_order(verdict.order, raw)
            self._arrival.set()
            return verdict
        sender, nonce = verdict.sender, verdict.nonce
        due = nonce if self._mempool.holds_of(sender) else self._nonce(sender)
        try:
            self._mempool.add(verdict.hash, raw, sender, nonce, due)
        except TxFailed as e:
            return verdict._replace(code=e.code, message=str(e))
        self._arrival.set()
        return verdict

    def succession(self, after: Height) -> list[bytes]:
        """None: its one producer stays."""
        return []

    async def relay(self, method: str, params: Mapping[str, str]) -> msgspec.Raw:
        """Refuse: there is no engine."""
        raise Refused(f"a ledger of one producer has no engine to ask for {method}; ask for the header")

    async def hand_in(self, raw: bytes) -> Verdict:
        """Do what `submit` does, as every `davy.ledger.driver.node.Node` does it."""
        return self.submit(raw)

    def waiting(self) -> tuple[int, int]:
        """How many transactions wait, and their bytes."""
        return len(self._mempool), self._mempool.bytes

    async def run(self) -> None:
        """Make blocks.

        Raises
        ------
        StoreFailed
            The disk did not take one. The engine is of no use afterwards: start it again on its file.
        """
        due = self._clock.now()
        while True:
            if not self._empty_blocks and not self._mempool:
                self._arrival = anyio.Event()
                await self._arrival.wait()
            if not self._mempool.fills(MAX_BLOCK_TXS, MAX_BLOCK_BYTES):
                # The clock may have been set back, and may be while this waits.
                due = min(due, self._clock.now() + self._block_time)
                with anyio.move_on_after(self._block_time / 1_000):
                    await self._clock.sleep_until(due)
            due = max(due + self._block_time, self._clock.now())
            await self.make_block()

    async def make_block(self) -> Head:
        """Make the next block of what waits; durable on return, and known to all.

        Raises
        ------
        StoreFailed
            See `run`.
        """
        async with self._whole:
            self._usable()
            with anyio.CancelScope(shield=True):
                await self._extend(self._mempool.take(MAX_BLOCK_TXS, MAX_BLOCK_BYTES))
        self._subscribers.tell(self.head.height)
        return self.head

    def news(self, height: Height) -> News | None:
        """What a block changed; None where that is no longer kept."""
        return self._news.about(height)

    async def query(self, path: str, data: bytes) -> tuple[int, bytes]:
        """Answer from the newest durable state: (height, canonical bytes).

        Raises
        ------
        TxFailed, Malformed
            See `Machine.query`.
        """
        async with self._whole:
            self._usable()
            return self._machine.height, self._machine.query(path, data)

    async def prove(self, key: bytes) -> Proved:
        """Prove what the newest durable state holds at a key."""
        async with self._whole:
            self._usable()
            value, proof = self._machine.prove(key)
            return Proved(self._machine.height, value, proof)

    def subscribed(self, address: str = "") -> AbstractContextManager[Subscriber]:
        """Hear of every height from now on.

        Raises
        ------
        Busy
            Too many listen already.
        """
        return self._subscribers.subscribed(address)

    async def _extend(self, txs: list[bytes]) -> None:
        made = self._signed_header(txs)
        height = made.header.height
        self._failed = True  # until the block is whole on the disk
        done = self._machine.apply_block(height, made.header.time, txs)
        for fault in done.faults:
            _log.error("block %d: %s", height, fault)
        puts, deletes = done.changes
        block = Block(height, made.raw, done.app_hash, txs, done.results, puts.items(), deletes)
        await to_thread.run_sync(self.store.append, block)
        self._failed = False
        self.head = made.head
        self._news.note(self._machine, done.changes)

    def _signed_header(self, txs: list[bytes]) -> OpenedHeader:
        before = self.head
        time = max(self._clock.now(), before.time + 1)
        hashes = [tx_hash(raw) for raw in txs]
        app_hash, digest = self._machine.app_hash, txs_digest(hashes)
        header = Header(1, self.chain, before.height + 1, time, before.hash, app_hash, digest, self.public)
        body = encode(header)
        raw = encode(SignedHeader(1, body, self._keys.sign(KeyRole.PRODUCER, Domain.HEADER, body)))
        return OpenedHeader(header, header_hash(body), raw)

    def _nonce(self, sender: bytes) -> int:
        return decode(self._machine.query("/nonce", sender), Account, limit=MAX_RESULT_BYTES).nonce

    def _usable(self) -> None:
        if self._failed:
            raise StoreFailed(
                f"{self.store.path} did not take the last block; free disk space and start the ledger again"
            )
