"""The machine and its file, as the engine drives them: decided blocks are applied in memory, and kept by `commit`.

Between `finalize` and the end of `commit` the memory is ahead of the file; nobody is answered from it meanwhile. If the
engine goes away in between, what was not kept is dropped: it comes again. A block, its results, the state after it and
its height reach the disk in one transaction, so whatever process is killed when, `info` tells the engine from where on
blocks are missing, and the engine replays exactly those.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

import anyio
from anyio import to_thread

from davy.ledger.driver.blockstore import Block, BlockStore
from davy.ledger.driver.cometbft.door import Door
from davy.ledger.driver.cometbft.proposals import may_be_a_block, prepare
from davy.ledger.driver.news import NewsOfBlocks
from davy.ledger.rules.machine import BlockResult, Machine, Verdict
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured, Refused, StoreFailed
from davy.protocol.genesis import Genesis
from davy.protocol.words import INT63

_log: Final = logging.getLogger(__name__)
APP_VERSION: Final = 1
"""Of the rules, as the engine's genesis and every header name it."""
_TIME: Final = "time"


class Where(NamedTuple):
    """How far the file goes: no height has an app hash before the first block."""

    height: int
    app_hash: bytes


class _Decided(NamedTuple):
    txs: Sequence[bytes]
    done: BlockResult


class Application:
    """One chain's machine over one file.

    Raises
    ------
    Misconfigured
        The file is another chain's, or damaged.
    StoreFailed
        It cannot be read or written.
    """

    def __init__(self, genesis: Genesis, store: BlockStore) -> None:
        self.genesis, self.store = genesis, store
        self.machine = _begun(genesis, store)
        self.door = Door()
        self.news = NewsOfBlocks()
        self.kept = anyio.Event()
        """Set, and replaced, when a block is on the disk."""
        self.connections = 0
        """How many the engine has."""
        self._decided: _Decided | None = None
        self._keeping = False
        self._halved = False
        """A block broke off in the machine, for want of memory mostly: half a block is none."""
        self._settled = anyio.Event()

    async def settled(self) -> Machine:
        """Wait until the machine is what the file holds, and return it: read it before you wait again.

        Raises
        ------
        StoreFailed
            It is not in time.
        """
        with anyio.move_on_after(30):
            while self._decided is not None:
                await self._settled.wait()
            return self._whole()
        raise StoreFailed("a decided block does not reach the disk; look at the ledger's log")

    async def info(self) -> Where:
        """Tell where blocks go on."""
        machine = await self.settled()
        return Where(machine.height, machine.app_hash if machine.height else b"")

    def check_tx(self, raw: bytes) -> Verdict:
        """Whether it may wait for a block here. A signature is checked once, so asking again is cheap."""
        return self.door.check(self._whole(), raw)

    def prepare(self, txs: Sequence[bytes], room: int) -> list[bytes]:
        """Pick the next block of what waits in the engine, and of the orders that wait here."""
        return prepare(self._whole(), self.door.orders(), txs, room)

    def process(self, txs: Sequence[bytes]) -> bool:
        """Whether a proposed block is one this producer votes for."""
        return may_be_a_block(self._whole(), txs)

    def finalize(self, height: int, time: int, txs: Sequence[bytes]) -> BlockResult:
        """Apply a decided block.

        Raises
        ------
        Refused
            It is not the next one.
        """
        if self._decided is not None:
            raise Refused(f"block {height} came before block {self.machine.height} was kept; start the pair again")
        self._settled = anyio.Event()
        machine = self._whole()
        self._halved = True
        try:
            done = machine.apply_block(height, time, txs)
        except Refused:
            self._halved = False  # nothing was changed
            raise
        self._halved = False
        self._decided = _Decided(txs, done)
        for fault in done.faults:
            _log.error("block %d: %s", height, fault)
        return done

    async def commit(self) -> None:
        """Keep the block that was applied; durable on return.

        Raises
        ------
        StoreFailed
            The disk did not take it. Start the pair again.
        """
        if self._decided is None:
            return
        (txs, done), machine = self._decided, self.machine
        puts, deletes = done.changes
        facts = {_TIME: machine.time.to_bytes(8, "big")}
        block = Block(machine.height, b"", done.app_hash, txs, done.results, puts.items(), deletes, facts)
        self._keeping = True
        try:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self.store.append, block)
        finally:
            self._keeping = False
        self._decided = None
        self._settled.set()
        self.news.note(machine, done.changes)
        self.door.follow(machine)
        self.kept.set()
        self.kept = anyio.Event()

    def drop(self) -> None:
        """Forget a block that was applied and not kept: whoever decided it is gone, and will bring it again."""
        if self._decided is not None and not self._keeping:
            self._halved, self._decided = True, None
            self._whole()
            self._settled.set()

    def _whole(self) -> Machine:
        if self._halved:
            self.machine = _begun(self.genesis, self.store)
            self._halved = False
        return self.machine


def _begun(g: Genesis, store: BlockStore) -> Machine:
    """The machine of a file, which is begun if it is new."""
    begun_with = store.genesis()
    if begun_with is None:
        machine = Machine.from_genesis(g)
        store.begin(encode(g), machine.rows())
        return machine
    if begun_with != encode(g):
        raise Misconfigured(f"{store.path} belongs to another chain; name its genesis, or another file")
    height, stored = store.height(), store.fact(_TIME)
    time = g.time if stored is None else int.from_bytes(stored, "big")
    try:
        machine = Machine.restore(g, store.state(), height, min(time, INT63))
    except Refused as e:
        raise Misconfigured(f"{store.path} is damaged ({e}); restore a backup, or begin again without it") from None
    if store.app_hash(height) not in (None, machine.app_hash):
        raise Misconfigured(f"{store.path} is damaged: its state is not block {height}'s; begin again without it")
    return machine
