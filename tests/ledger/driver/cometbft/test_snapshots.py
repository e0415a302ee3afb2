"""What the engine asks about snapshots, evidence and producers, answered without an engine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from davy.ledger.driver.cometbft import abci_pb2 as abci
from davy.ledger.driver.cometbft import application
from davy.ledger.driver.cometbft.application import SUCCESSION_FROM, at_height
from davy.ledger.driver.cometbft.fetched import Fetched
from davy.ledger.driver.cometbft.snapshots import FORMAT, Offer
from davy.ledger.rules import absences
from davy.ledger.rules.producers import PRODUCER_BOND
from davy.ledger.rules.records import ABSENCES, AbsenceRecord
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, TxCode
from davy.protocol.limits import chain_parameters
from davy.protocol.transaction import Transfer
from tests.ledger.driver.cometbft.places import Place, change, grown, tx
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import World, genesis, pub

pytestmark = [pytest.mark.anyio]
OFFERED = abci.OfferSnapshotResult.Result
APPLIED = abci.ApplySnapshotChunkResult.Result


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
def test_a_snapshot_of_another_form_is_malformed(tmp_path: Path, content: bytes) -> None:
    offer = Offer(5, FORMAT, (hashlib.sha256(content).digest(),))
    fetched = Fetched(tmp_path / "f", 5, FORMAT, 1, offer.hash, offer.metadata, bytes(32))
    assert fetched.take(0, content)
    with pytest.raises(Malformed):
        fetched.head()


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


@pytest.mark.parametrize(("unbonding", "first"), [(3, 16), (18, 3), (50, 0)])
async def test_the_engine_keeps_blocks_as_long_as_two_votes_can_be_shown(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch, unbonding: int, first: int
) -> None:
    """Of a block that it is to drop earlier it drops but a part, and that once: header and votes stay for good."""
    g = genesis(p=chain_parameters(unbonding=unbonding), producers=FOUR)
    monkeypatch.setattr(application, "_BLOCKS_A_SECOND", 0)
    p = place("p", g, keep=5)
    told: list[int] = []
    for height in range(1, 21):
        p.app.finalize(height, 1_000 * (1 + height), ())
        told.append(await p.app.commit())
        p.app.store.put_header(height, b"known")
    assert told == [max(0, first - 20 + height) for height in range(1, 21)]
    assert p.app.store.earliest() == 16, "what clients ask for is forgotten all the same"
    assert application.votes_shown(g) == (unbonding - 1, 10**9)


async def test_the_engine_is_told_who_joins_and_tells_who_voted_twice(place: Callable[..., Place]) -> None:
    p, w = place("p"), World(genesis(producers=FOUR))
    said = await p.block(w.tx("ann", w.joining("ann", "fifth"), nonce=0))
    assert [(u.pub_key.ed25519, u.power) for u in said.validator_updates] == [(pub("fifth"), 2)]
    held = p.app.machine.query("/issuance", b"")
    said = await p.block(twice=hashlib.sha256(pub("fifth")).digest()[:20])
    assert [(u.pub_key.ed25519, u.power) for u in said.validator_updates] == [(pub("fifth"), 0)]
    assert p.app.machine.query("/issuance", b"") != held
    assert PRODUCER_BOND > 0


async def test_the_engine_tells_who_is_missing_in_the_commit_before(place: Callable[..., Place]) -> None:
    """Who votes for no block is as good as missing."""
    p, flags = place("p"), dict(zip(FOUR, (1, 2, 3, 2), strict=True))
    for _ in range(3):
        await p.block(votes={absences.address(pub(name)): flag for name, flag in flags.items()})
    records = p.app.machine.state.records
    counts = [records.get(ABSENCES.tag + pub(name)) for name in FOUR]
    assert counts == [AbsenceRecord(3), None, AbsenceRecord(3), None]


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


async def test_no_snapshot_is_taken_while_a_change_of_the_producers_cannot_be_shown(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    p, w = place("p", snapshots=1), World(genesis(producers=FOUR))
    await p.block(w.tx("ann", w.joining("ann", "fifth"), nonce=0))
    assert not p.app.snapshots.offers(), "no header shows the change before the next block"
    await p.block()
    assert not p.app.snapshots.offers(), "that header is not known here yet"
    shown = change(w.chain, 2, FOUR, (*FOUR, "fifth"))
    p.app.store.put_header(2, b"known", {at_height(SUCCESSION_FROM, 3): encode(shown)})
    with monkeypatch.context() as patch:
        patch.setattr(application, "MAX_PRODUCER_CHANGES", 0)
        await p.block()
        assert not p.app.snapshots.offers(), "more changes than anybody reads"
    await p.block()
    assert (await p.offered()).height == 4


async def test_blocks_go_on_while_a_snapshot_is_written_and_it_is_of_its_own_block(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = place("old", snapshots=3, keep=1), place("new")
    may_go_on, written = threading.Event(), threading.Event()
    take = old.app.snapshots.take

    def slowly(*what: Any) -> None:
        may_go_on.wait(20)
        take(*what)
        written.set()

    monkeypatch.setattr(old.app.snapshots, "take", slowly)
    monkeypatch.setattr(old.app.snapshots, "finish", lambda: None)
    await grown(old, 3)
    for n in range(3, 7):  # the sixth block's snapshot waits for the one that is being written
        await old.block(tx("ann", Transfer(pub("ben"), 1), n))
        old.app.store.put_header(n + 1, b"known")
    assert not written.is_set()
    assert old.app.store.earliest() == 1, "not before those who fetch it can go on from it"
    after_three = old.app.store.app_hash(3)
    assert after_three is not None
    may_go_on.set()
    assert await to_thread.run_sync(written.wait, 20)
    s = await old.offered()
    assert (s.height, await new.offer(s, after_three)) == (3, OFFERED.ACCEPT)
    assert [(await new.apply(i, await old.chunk(s, i))).result for i in range(s.chunks)] == [APPLIED.ACCEPT] * s.chunks
    assert new.app.machine.app_hash == after_three


async def test_what_a_killed_process_left_half_written_goes(place: Callable[..., Place], tmp_path: Path) -> None:
    for name in ("snapshots/5.new", "fetched", "snapshots/other"):
        (tmp_path / "p" / name).mkdir(parents=True)
        (tmp_path / "p" / name / "0").write_bytes(bytes(100))
    place("p", snapshots=5)
    assert [q.name for q in sorted((tmp_path / "p").glob("**/0"))] == ["0"]
    assert (tmp_path / "p/snapshots/other/0").exists()
