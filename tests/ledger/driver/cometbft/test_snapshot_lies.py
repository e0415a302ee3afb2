"""Who joins fetches the state from strangers: what they may send, and what they must not be able to do with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from davy.ledger.driver.cometbft import abci_pb2 as abci
from davy.ledger.driver.cometbft.snapshots import FORMAT, SnapshotHead
from davy.ledger.rules import upgrades
from davy.ledger.rules.absences import address
from davy.protocol.chain import Succession
from davy.protocol.errors import Malformed, TooLarge
from tests.ledger.driver.cometbft.places import Place, change
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import World, begins, genesis, pub

pytestmark = [pytest.mark.anyio]
OFFERED = abci.OfferSnapshotResult.Result
APPLIED = abci.ApplySnapshotChunkResult.Result
FIVE = (*FOUR, "fifth")
CHAIN = World(genesis(producers=FOUR)).chain
TRUE = change(CHAIN, 2, FOUR, FIVE)
"""The header after the block in which the fifth got its seat."""


async def joined(place: Callable[..., Place], blocks: int) -> Place:
    """A chain on which a fifth has a seat since its first block."""
    p = place("old")
    w = World(genesis(producers=FOUR))
    await p.block(w.tx("ann", w.joining("ann", "fifth"), nonce=0))
    for _ in range(blocks - 1):
        await p.block()
    return p


async def fetch(new: Place, old: Place, app_hash: bytes) -> Any:
    """Fetch all of the newest snapshot; what the last chunk is answered."""
    s = await old.offered()
    assert await new.offer(s, app_hash) == OFFERED.ACCEPT
    return [await new.apply(i, await old.chunk(s, i)) for i in range(s.chunks)][-1].result


@pytest.mark.parametrize(
    ("blocks", "changes"),
    [
        (3, ()),  # leaves the fifth out: its first header would be of producers that are not known
        (3, (TRUE, change(CHAIN, 9, FIVE, FOUR))),  # one that came later: those between would be out of turn
        (2, (TRUE, change(CHAIN, 3, FIVE, FOUR))),
        (3, (TRUE, change(CHAIN, 9, FIVE, FOUR), change(CHAIN, 20, FOUR, FIVE))),  # back to where it was, later
        (3, (TRUE, TRUE)),
        (1, ()),  # no header has shown the last block's change yet, so none can be checked
        (1, (change(CHAIN, 1, FOUR, FIVE),)),
    ],
)
async def test_changes_that_do_not_lead_to_the_producers_of_the_state_are_refused(
    place: Callable[..., Place], blocks: int, changes: tuple[Succession, ...]
) -> None:
    old, new = await joined(place, blocks), place("new")
    old.app.snapshots.take(SnapshotHead(1, CHAIN, blocks, changes), old.app.store.state())
    assert await fetch(new, old, old.app.machine.app_hash) == APPLIED.REJECT_SNAPSHOT
    assert (new.app.store.height(), new.app.machine.height) == (0, 0)


@pytest.mark.parametrize("blocks", [2, 3])
async def test_changes_that_do_are_taken_and_handed_on(place: Callable[..., Place], blocks: int) -> None:
    old, new = await joined(place, blocks), place("new")
    old.app.snapshots.take(SnapshotHead(1, CHAIN, blocks, (TRUE,)), old.app.store.state())
    assert await fetch(new, old, old.app.machine.app_hash) == APPLIED.ACCEPT
    assert len(new.app.changes(0, 10)) == 1
    assert new.app.machine.producers == old.app.machine.producers


@pytest.mark.parametrize(("edition", "without"), [(4, APPLIED.ACCEPT), (5, APPLIED.REJECT_SNAPSHOT)])
async def test_a_list_that_leaves_out_one_who_came_and_went_is_refused(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch, edition: int, without: int
) -> None:
    """What it leads to is right. But whoever begins so cannot tell who signs a header of that time."""
    monkeypatch.setattr(upgrades, "FROM_THE_START", begins(edition))
    old = await joined(place, 2)
    await old.block(twice=address(pub("fifth")))
    await old.block()
    whole = (change(CHAIN, 2, FOUR, FIVE), change(CHAIN, 4, FIVE, FOUR))  # votes count as they do in this edition
    for name, changes, said in (("without", (), without), ("with", whole, APPLIED.ACCEPT)):
        old.app.snapshots.take(SnapshotHead(1, CHAIN, 4, changes), old.app.store.state())
        assert await fetch(place(name), old, old.app.machine.app_hash) == said


async def offered(new: Place, *chunks: bytes) -> Any:
    """Offer chunks of one's own; what the last one is answered."""
    hashes = b"".join(hashlib.sha256(c).digest() for c in chunks)
    s = abci.Snapshot(
        height=5, format=FORMAT, chunks=len(chunks), hash=hashlib.sha256(hashes).digest(), metadata=hashes
    )
    assert await new.offer(s, bytes(32)) == OFFERED.ACCEPT
    return [await new.apply(i, c, "liar") for i, c in enumerate(chunks)][-1]


async def test_a_chunk_that_is_too_long_is_not_kept_though_it_is_the_one_that_was_offered(
    place: Callable[..., Place],
) -> None:
    said = await offered(place("new"), bytes(501))
    assert (said.result, list(said.reject_senders)) == (APPLIED.RETRY, ["liar"])
    whole = await offered(place("other"), bytes(500))
    assert (whole.result, list(whole.reject_senders)) == (APPLIED.REJECT_SNAPSHOT, ["liar"]), "nor another of theirs"


def framed(*frames: bytes) -> bytes:
    return b"".join(len(f).to_bytes(4, "big") + f for f in frames)


def held(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.name.startswith("ledger.db"))


async def test_chunks_wait_on_the_disk_and_go_with_what_they_were_for(
    place: Callable[..., Place], tmp_path: Path
) -> None:
    old, new = await joined(place, 3), place("new")
    old.app.snapshots.take(SnapshotHead(1, CHAIN, 3, (TRUE,)), old.app.store.state())
    s = await old.offered()
    assert s.chunks > 2
    await new.offer(s, old.app.machine.app_hash)
    await new.apply(0, await old.chunk(s, 0))
    assert held(tmp_path / "new") == 500
    await new.offer(s, old.app.machine.app_hash)
    assert held(tmp_path / "new") == 0, "another one is fetched"
    await new.apply(0, await old.chunk(s, 0))
    new.app.store.close()
    new = place("new")
    assert held(tmp_path / "new") == 0, "begun anew"
    assert await fetch(new, old, old.app.machine.app_hash) == APPLIED.ACCEPT
    assert held(tmp_path / "new") == 0, "restored"


async def test_one_killed_right_after_its_restore_begins_again(place: Callable[..., Place]) -> None:
    """Its engine has forgotten what it fetched, and fetches it, or a later state, once more."""
    old, new = await joined(place, 3), place("new")
    first = old.app.machine.app_hash
    old.app.snapshots.take(SnapshotHead(1, CHAIN, 3, (TRUE,)), old.app.store.state())
    early = await old.offered()
    assert await fetch(new, old, first) == APPLIED.ACCEPT
    new.app.store.close()
    new = place("new")
    assert (await new.ask(info=abci.Empty())).last_block_height == 3
    assert await fetch(new, old, first) == APPLIED.ACCEPT
    await old.block()
    old.app.snapshots.take(SnapshotHead(1, CHAIN, 4, (TRUE,)), old.app.store.state())
    assert await fetch(new, old, old.app.machine.app_hash) == APPLIED.ACCEPT
    assert (new.app.store.base(), new.app.machine.app_hash) == (4, old.app.machine.app_hash)
    assert await new.offer(early, first) == OFFERED.REJECT, "what was learned since would stand there from the future"
    assert (await new.block()).app_hash == (await old.block()).app_hash
    assert await new.offer(await old.offered(), bytes(32)) == OFFERED.ABORT, "it has blocks"


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ((b"a" + bytes(100), b""), "belongs to no table"),
        ((b"?" + bytes(32), b""), "belongs to no table"),
        ((b"", b""), "belongs to no table"),
        ((b"a" + b"\2" * 32, b"", b"a" + b"\1" * 32, b""), "rise"),
        ((b"a" + b"\2" * 32, b"", b"a" + b"\2" * 32, b""), "rise"),
    ],
)
async def test_rows_that_no_state_has_are_refused_before_anything_is_made_of_them(
    place: Callable[..., Place], rows: Iterable[bytes], refused: str
) -> None:
    from davy.protocol.encoding import encode

    new = place("new")
    content = framed(encode(SnapshotHead(1, CHAIN, 5, ())), *rows)
    assert (await offered(new, content)).result == APPLIED.REJECT_SNAPSHOT
    hashes = hashlib.sha256(content).digest()
    again = abci.Snapshot(height=5, format=FORMAT, chunks=1, hash=hashlib.sha256(hashes).digest(), metadata=hashes)
    await new.offer(again, bytes(32))
    fetched = new.app.fetched()
    assert fetched is not None
    fetched.take(0, content)
    with pytest.raises(Malformed, match=refused):
        await new.app.restore()


async def test_a_frame_that_says_to_be_longer_than_any_record_is_refused(place: Callable[..., Place]) -> None:
    new = place("new")
    content = b"\x7f\xff\xff\xff" + bytes(400)
    hashes = hashlib.sha256(content).digest()
    s = abci.Snapshot(height=5, format=FORMAT, chunks=1, hash=hashlib.sha256(hashes).digest(), metadata=hashes)
    await new.offer(s, bytes(32))
    fetched = new.app.fetched()
    assert fetched is not None
    fetched.take(0, content)
    with pytest.raises(TooLarge):
        await new.app.restore()
