"""What the engine asks about snapshots, evidence and producers, answered without an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.cometbft import abci_pb2 as abci
from davy.ledger.driver.cometbft import snapshots
from davy.ledger.driver.cometbft.application import PRODUCERS_FROM, Application, _facts_of, at_height
from davy.ledger.driver.cometbft.snapshots import FORMAT, Fetched, Offer, SnapshotHead
from davy.ledger.driver.cometbft.wire import Conversation
from davy.ledger.headers import Authority
from davy.ledger.rules.producers import PRODUCER_BOND
from davy.protocol.errors import Malformed, Refused, TxCode
from davy.protocol.transaction import Action, Transfer
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import World, genesis, pub

pytestmark = [pytest.mark.anyio]
OFFERED = abci.OfferSnapshotResult.Result
APPLIED = abci.ApplySnapshotChunkResult.Result


class Place(NamedTuple):
    """A producer's application and a connection of its engine's."""

    app: Application
    talk: Conversation

    async def ask(self, **request: Any) -> Any:
        said = await self.talk.answer(abci.Request(**request).SerializeToString())
        return getattr(said, str(said.WhichOneof("value")))

    async def block(self, *txs: bytes, twice: bytes = b"") -> Any:
        height = self.app.machine.height + 1
        found = [abci.Misbehavior(type=1, producer=abci.Producer(address=twice, power=1))] if twice else []
        time = abci.Timestamp(seconds=1 + height)
        said = await self.ask(finalize_block=abci.FinalizeBlock(txs=txs, height=height, time=time, misbehavior=found))
        await self.ask(commit=abci.Empty())
        return said

    async def offered(self) -> Any:
        return (await self.ask(list_snapshots=abci.Empty())).snapshots[-1]

    async def chunk(self, s: Any, index: int) -> bytes:
        which = abci.LoadSnapshotChunk(height=s.height, format=s.format, chunk=index)
        return (await self.ask(load_snapshot_chunk=which)).chunk

    async def offer(self, s: Any, app_hash: bytes) -> int:
        return (await self.ask(offer_snapshot=abci.OfferSnapshot(snapshot=s, app_hash=app_hash))).result

    async def apply(self, index: int, chunk: bytes, sender: str = "sender") -> Any:
        return await self.ask(apply_snapshot_chunk=abci.ApplySnapshotChunk(index=index, chunk=chunk, sender=sender))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 500)
    with ExitStack() as stack:

        def made(name: str, **options: int) -> Place:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            store = BlockStore(folder / "ledger.db")
            stack.callback(store.close)
            app = Application(genesis(producers=FOUR), store, **options)
            return Place(app, Conversation(app))

        yield made


def tx(name: str, action: Action, nonce: int = 0) -> bytes:
    return World(genesis(producers=FOUR)).tx(name, action, nonce=nonce)


async def grown(p: Place, blocks: int) -> None:
    for n in range(blocks):
        await p.block(tx("ann", Transfer(pub("ben"), 1 + n), n))


async def test_a_state_goes_over_in_chunks_and_the_chain_goes_on_from_it(place: Callable[..., Place]) -> None:
    old, new = place("old", snapshots=5), place("new")
    await grown(old, 7)
    s = await old.offered()
    assert (s.height, s.format) == (5, FORMAT)
    assert s.chunks > 1
    after_five = old.app.store.app_hash(5)
    assert after_five is not None
    assert await new.offer(s, after_five) == OFFERED.ACCEPT
    for index in range(s.chunks):
        assert (await new.apply(index, await old.chunk(s, index))).result == APPLIED.ACCEPT
    info = await new.ask(info=abci.Empty())
    assert (info.last_block_height, info.last_block_app_hash) == (5, after_five)
    assert (new.app.store.height(), new.app.store.told(), new.app.store.earliest()) == (5, 5, 6)
    for height in (6, 7):
        txs = [t.raw for t in old.app.store.txs(height)]
        assert (await new.block(*txs)).app_hash == old.app.store.app_hash(height)
    assert (await new.offer(s, after_five)) == OFFERED.ABORT, "it has blocks"
    new.app.store.close()
    again = place("new")
    assert again.app.machine.app_hash == old.app.machine.app_hash


async def test_a_restart_right_after_the_last_chunk_knows_its_state(place: Callable[..., Place]) -> None:
    old, new = place("old", snapshots=5), place("new")
    await grown(old, 5)
    s = await old.offered()
    await new.offer(s, old.app.machine.app_hash)
    for index in range(s.chunks):
        await new.apply(index, await old.chunk(s, index))
    new.app.store.close()
    assert (await place("new").app.info()) == (5, old.app.machine.app_hash)


async def test_a_wrong_chunk_is_refused_and_its_sender_named(place: Callable[..., Place]) -> None:
    old, new = place("old", snapshots=5), place("new")
    await grown(old, 5)
    s = await old.offered()
    await new.offer(s, old.app.machine.app_hash)
    good = await old.chunk(s, 0)
    for wrong in (good[:-1] + bytes([good[-1] ^ 1]), b"", await old.chunk(s, 1)):
        said = await new.apply(0, wrong, "liar")
        assert (said.result, list(said.refetch_chunks), list(said.reject_senders)) == (APPLIED.RETRY, [0], ["liar"])
    assert (await new.apply(s.chunks, good)).result == APPLIED.RETRY
    assert new.app.store.height() == 0
    assert await old.chunk(s, s.chunks) == b""
    assert (await old.ask(load_snapshot_chunk=abci.LoadSnapshotChunk(height=4, format=1, chunk=0))).chunk == b""


async def test_another_state_than_the_producers_signed_for_is_refused(place: Callable[..., Place]) -> None:
    old, new = place("old", snapshots=5), place("new")
    await grown(old, 5)
    s = await old.offered()
    assert await new.offer(s, bytes(32)) == OFFERED.ACCEPT
    last = [await new.apply(i, await old.chunk(s, i)) for i in range(s.chunks)][-1]
    assert last.result == APPLIED.REJECT_SNAPSHOT
    assert (new.app.store.height(), new.app.machine.height) == (0, 0)
    assert (await new.apply(0, b"")).result == APPLIED.ABORT
    s.metadata = s.metadata[:-32]
    assert await new.offer(s, bytes(32)) == OFFERED.REJECT
    s.format = 9
    assert await new.offer(s, bytes(32)) == OFFERED.REJECT


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1", b"\0\0\0\5ab", b"\0\0\0\1a\0\0\0\1b"])
def test_a_snapshot_of_another_form_is_malformed(content: bytes) -> None:
    offer = Offer(5, FORMAT, (hashlib.sha256(content).digest(),))
    fetched = Fetched(5, FORMAT, 1, offer.hash, offer.metadata, bytes(32))
    assert fetched.take(0, content)
    with pytest.raises(Malformed):
        fetched.read()


async def test_old_snapshots_and_old_blocks_go(place: Callable[..., Place]) -> None:
    p = place("p", snapshots=3, keep=5)
    for height in range(1, 21):
        await p.block(tx("ann", Transfer(pub("ben"), 1), height - 1))
        p.app.store.put_header(height, b"known")
    assert p.app.snapshots.heights() == [15, 18]
    assert p.app.store.earliest() == 15, "the snapshot's followers need what comes after it"
    assert p.app.store.txs(14) == []
    assert len(p.app.store.txs(15)) == 1
    kept = place("q", keep=5)
    await grown(kept, 20)
    assert kept.app.store.earliest() == 1, "no header is known yet"


async def test_the_engine_is_told_who_joins_and_tells_who_voted_twice(place: Callable[..., Place]) -> None:
    p, w = place("p"), World(genesis(producers=FOUR))
    said = await p.block(w.tx("ann", w.joining("ann", "fifth"), nonce=0))
    assert [(u.pub_key.ed25519, u.power) for u in said.validator_updates] == [(pub("fifth"), 1)]
    held = p.app.machine.query("/issuance", b"")
    said = await p.block(twice=hashlib.sha256(pub("fifth")).digest()[:20])
    assert [(u.pub_key.ed25519, u.power) for u in said.validator_updates] == [(pub("fifth"), 0)]
    assert p.app.machine.query("/issuance", b"") != held
    assert PRODUCER_BOND > 0


async def test_what_can_never_be_included_holds_no_place(place: Callable[..., Place]) -> None:
    """Nonces with a gap before them: all of them are turned down, until the one that is missing waits too."""
    p = place("p")

    async def code(nonce: int) -> int:
        return (await p.ask(check_tx=abci.CheckTx(tx=tx("ann", Transfer(pub("ben"), 1), nonce)))).code

    assert [await code(n) for n in range(1, 200, 7)] == [TxCode.TOO_EXPENSIVE] * 29
    assert p.app.door.waiting()[0] == 0
    assert [await code(n) for n in (0, 1, 2, 4)] == [TxCode.OK] * 3 + [TxCode.TOO_EXPENSIVE]
    assert p.app.door.waiting()[0] == 3
    await p.block(tx("ann", Transfer(pub("ben"), 1)))
    assert await code(3) == TxCode.OK
    assert await code(2) == TxCode.OK, "asked again"


async def test_a_snapshot_that_leaves_out_a_producer_is_refused(place: Callable[..., Place]) -> None:
    """What the state says of the producers must follow from changes that were signed, but for its last block's."""
    p, w = place("p", snapshots=1), World(genesis(producers=FOUR))
    await p.block(w.tx("ann", w.joining("ann", "fifth"), nonce=0))
    assert (await p.offered()).height == 1, "the change is two blocks ahead"
    authority, m = Authority.of(w.genesis), p.app.machine
    first = _facts_of(authority, SnapshotHead(1, w.chain, 1, ()), m)
    assert first == {at_height(PRODUCERS_FROM, 3): b"".join(m.producers)}
    await p.block()
    assert (await p.offered()).height == 1, "no header has shown the change yet"
    w.apply([])  # another chain of the same people, where two have joined
    for name in ("ben", "cat"):
        w.ok(name, w.joining(name, f"p-{name}"))
        w.block(5)
    with pytest.raises(Refused, match="leaves out"):
        _facts_of(authority, SnapshotHead(1, w.chain, w.machine.height, ()), w.machine)
