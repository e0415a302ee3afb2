"""The machine and its file, as the engine drives them: decided blocks are applied in memory, and kept by `commit`.

Between `finalize` and the end of `commit` the memory is ahead of the file; nobody is answered from it meanwhile. If the
engine goes away in between, what was not kept is dropped: it comes again. A block, its results, the state after it and
its height reach the disk in one transaction, so whatever process is killed when, `info` tells the engine from where on
blocks are missing, and the engine replays exactly those.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

import anyio
from anyio import to_thread

from davy.ledger.driver.blockstore import Block, BlockStore
from davy.ledger.driver.cometbft.door import Door
from davy.ledger.driver.cometbft.fetched import Fetched
from davy.ledger.driver.cometbft.proposals import may_be_a_block, prepare
from davy.ledger.driver.cometbft.snapshots import SnapshotHead, Snapshots
from davy.ledger.driver.news import NewsOfBlocks
from davy.ledger.headers import Authority
from davy.ledger.rules import upgrades
from davy.ledger.rules.machine import BlockResult, Machine, Verdict
from davy.ledger.rules.producers import SEATED_AFTER, producing
from davy.ledger.rules.records import SEATING
from davy.protocol.chain import Succession, seats_digest
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misconfigured, Refused, StoreFailed
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES, MAX_PRODUCER_CHANGES
from davy.protocol.words import INT63, Digest, Height, PublicKey

_log: Final = logging.getLogger(__name__)
APP_VERSION: Final = 1
"""Of the rules, as the engine's genesis and every header name it."""
_TIME: Final = "time"
_APP_HASH: Final = "app hash"
"""Of the state that the file began with, where it did not begin with the genesis."""
_PRUNED_AT_ONCE: Final = 100
_SHOWN: Final = 200_000, 14 * 86_400 * 1_000_000_000
"""`votes_shown` on a chain of an older edition."""
_BLOCKS_A_SECOND: Final = 100
"""No chain makes more."""
PRODUCERS_FROM: Final = "producers "
"""And the height that they make the first block of: whom the engine was told of."""
SUCCESSION_FROM: Final = "succession "
"""And the same height: `davy.protocol.chain.Succession`, once its header is known."""
_AFTER_ALL: Final = "~"


class Where(NamedTuple):
    """How far the file goes: no height has an app hash before the first block."""

    height: int
    app_hash: bytes


def votes_shown(g: Genesis) -> tuple[int, int]:
    """Until when two votes can be shown, in blocks and nanoseconds: as long as a bond is held that answers for them.

    The engine drops evidence that is older than both, so the blocks alone decide. A producer that leaves its seat in
    a block still votes for the next one, hence one less. A chain of an older edition keeps what its engines began with.
    """
    if upgrades.edition(upgrades.begins(chain_id(g)), 1) < upgrades.ABSENCES_SINCE:
        return _SHOWN
    return max(g.parameters.unbonding - 1, 1), 1_000_000_000


def at_height(name: str, height: int) -> str:
    """The name of a fact of a height; names are in the order of heights."""
    return f"{name}{height:020d}"


class _Decided(NamedTuple):
    txs: Sequence[bytes]
    done: BlockResult


class Application:
    """One chain's machine over one file.

    Parameters
    ----------
    snapshots
        Blocks from one snapshot of the state to the next; 0: none are taken.
    keep
        Blocks that are kept; 0: all. The engine keeps those in which two votes can still be shown as well.

    Raises
    ------
    Misconfigured
        The file is another chain's, or damaged.
    StoreFailed
        It cannot be read or written.
    """

    def __init__(self, genesis: Genesis, store: BlockStore, *, snapshots: int = 0, keep: int = 0) -> None:
        self.genesis, self.store = genesis, store
        self.snapshots = Snapshots(store.path.parent / "snapshots", snapshots)
        self._keep, self._shown = keep, votes_shown(genesis)[0] + _BLOCKS_A_SECOND
        self._fetched: Fetched | None = None
        self.fetching = store.path.parent / "fetched"
        """Where chunks wait that are fetched."""
        shutil.rmtree(self.fetching, ignore_errors=True)
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

    def check_tx(self, raw: bytes, *, waits: bool = False) -> Verdict:
        """Whether it may wait for a block here, or, where it `waits` already, go on waiting.

        A signature is checked once, so asking again is cheap.
        """
        return self.door.check(self._whole(), raw, waits=waits)

    def prepare(self, txs: Sequence[bytes], room: int) -> list[bytes]:
        """Pick the next block of what waits in the engine, and of the orders that wait here."""
        return prepare(self._whole(), self.door.orders(), txs, room)

    def process(self, txs: Sequence[bytes]) -> bool:
        """Whether a proposed block is one this producer votes for."""
        return may_be_a_block(self._whole(), txs)

    def finalize(
        self,
        height: int,
        time: int,
        txs: Sequence[bytes],
        evidence: Sequence[bytes] = (),
        absent: Sequence[bytes] = (),
    ) -> BlockResult:
        """Apply a decided block; `evidence` names who voted twice, `absent` who did not: see `Machine.apply_block`.

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
            done = machine.apply_block(height, time, txs, evidence, absent)
        except Refused:
            self._halved = False  # nothing was changed
            raise
        self._halved = False
        self._decided = _Decided(txs, done)
        for fault in done.faults:
            _log.error("block %d: %s", height, fault)
        return done

    async def commit(self) -> int:
        """Keep the block that was applied; durable on return. Returns the first height that the engine keeps; 0: all.

        Raises
        ------
        StoreFailed
            The disk did not take it. Start the pair again.
        """
        if self._decided is None:
            return 0
        (txs, done), machine = self._decided, self.machine
        puts, deletes = done.changes
        facts = {_TIME: machine.time.to_bytes(8, "big")}
        if done.producer_updates:
            facts[at_height(PRODUCERS_FROM, machine.height + SEATED_AFTER)] = b"".join(machine.producers)
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
        self._tell_kept()
        return await to_thread.run_sync(self._tidy, machine.height)

    def may_fetch(self) -> bool:
        """Whether a state may take the place of what is here: there is no block yet.

        The engine asks once more, as if nothing had been fetched, where it was killed after the application had begun
        with a state and before it knew of that itself.
        """
        return self._decided is None and self.store.height() == self.store.base()

    def offer(self, fetched: Fetched) -> bool:
        """Begin to fetch a snapshot; False: what is here is newer, and what was learned since would not fit it."""
        if fetched.offer.height < self.store.base():
            fetched.drop()
            return False
        self._fetched = fetched
        return True

    def fetched(self) -> Fetched | None:
        """What is being fetched."""
        return self._fetched

    async def restore(self) -> None:
        """Begin with the snapshot that was fetched, in place of the genesis.

        Raises
        ------
        Refused
            It is not the state that the producers signed for, or tells something else of them; nothing was changed.
        StoreFailed
        """
        fetched, self._fetched = self._fetched, None
        if fetched is None or not self.may_fetch():
            raise Refused("no snapshot is being fetched")
        with anyio.CancelScope(shield=True):
            self.machine = await to_thread.run_sync(self._restored, fetched)
        self._tell_kept()

    def _restored(self, fetched: Fetched) -> Machine:
        try:
            fetched.check()
            head = fetched.head()
            # Its time is not proved, and not needed: the next block's is later than any before it.
            machine = Machine.restore(self.genesis, fetched.rows(), head.height, self.genesis.time)
            facts = _facts_of(Authority.of(self.genesis), head, machine)
            facts |= {_TIME: machine.time.to_bytes(8, "big"), _APP_HASH: machine.app_hash}
            self.store.begin_after(head.height, machine.rows(), facts)
        finally:
            fetched.drop()
        return machine

    def changes(self, after: int, count: int) -> list[bytes]:
        """The successions that hold from above a height on, the first so many."""
        return self.store.facts(at_height(SUCCESSION_FROM, after), SUCCESSION_FROM + _AFTER_ALL, count)

    def _tell_kept(self) -> None:
        self.kept.set()
        self.kept = anyio.Event()

    def _tidy(self, height: int) -> int:
        """Begin a snapshot if one is due, and forget old blocks; returns the engine's first, 0 for all."""
        try:
            if self.snapshots.due(height):
                self._begin_snapshot()
            if not self._keep:
                return 0
            first = min([height - self._keep + 1, self.store.told(), *self.snapshots.heights()[:1]])
            if first > 1:
                self.store.prune(first, _PRUNED_AT_ONCE)
            # Of a block that it is told to drop earlier the engine keeps header and votes, and never looks again.
            return max(min(first, height - self._shown), 0)
        except (Misconfigured, OSError) as e:  # the block is kept, and that is what counts
            _log.error("after block %d: %s", height, e)
            return 0

    def _begin_snapshot(self) -> None:
        """Unless the last block changed a seat, or a change before it is not shown yet, which takes two more blocks.

        After more changes than anybody reads there are no snapshots any more.
        What is written is the state of now: its first row is read here, and the others, as they are now, later.
        """
        machine = self.machine
        last = machine.height + SEATED_AFTER
        named, known = (self.store.named_facts(n, at_height(n, last)) for n in (PRODUCERS_FROM, SUCCESSION_FROM))
        done = {name.removeprefix(PRODUCERS_FROM) for name, _ in named}
        shown = {name.removeprefix(SUCCESSION_FROM) for name, _ in known}
        if changed_seats(machine) or not done <= shown or len(known) > MAX_PRODUCER_CHANGES:
            return
        changes = tuple(decode(raw, Succession, limit=2 * MAX_COMMITTED_HEADER_BYTES) for _, raw in known)
        rows = self.store.state()
        head = SnapshotHead(1, machine.state.chain, machine.height, changes)
        self.snapshots.begin(head, chain((next(rows),), rows))

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


def changed_seats(machine: Machine) -> bool:
    """Whether the last block changed a seat, which no header has shown yet."""
    return producing(machine.state).changes[-1:] == (machine.height,)


def _facts_of(authority: Authority, head: SnapshotHead, machine: Machine) -> dict[str, bytes]:
    """What a snapshot says of the producers: signed changes, each by those before it, that lead to those of the state.

    Raises
    ------
    Refused
        They do not, or leave one out, or one of them came later than the state.
    """
    facts: dict[str, bytes] = {}
    for change in head.changes:
        authority = authority.after(change)
        facts[at_height(SUCCESSION_FROM, authority.changes[-1][0])] = encode(change)
    known = authority.changes[-1][0] if authority.changes else 0
    if changed_seats(machine) or known > head.height + 1 or set(machine.producers) != set(authority.at(known)):
        raise Refused("the snapshot leaves out who became a producer, or tells too much; ask others for one")
    seating = machine.state.get(SEATING)
    if seating is not None and _digest_of(authority.changes[-seating.changes :]) != seating.digest:
        raise Refused("the snapshot leaves out a change of the producers; ask others for one")
    return facts


def _digest_of(changes: Iterable[tuple[Height, Collection[PublicKey]]]) -> Digest:
    """`seats_digest` of changes that follow each other."""
    digest = bytes(32)
    for since, producers in changes:
        digest = seats_digest(digest, since, producers)
    return digest


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
    began_with = store.fact(_APP_HASH) if height == store.base() else None
    if (began_with or store.app_hash(height)) not in (None, machine.app_hash):
        raise Misconfigured(f"{store.path} is damaged: its state is not block {height}'s; begin again without it")
    return machine
