"""What producers learn from their engines: each has its own votes for the newest block, and all the same for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from nacl import bindings

from davy.ledger import commits
from davy.ledger.commits import BlockId, CommittedHeader, EngineHeader, Vote
from davy.ledger.driver.cometbft.engine import Engine, EngineRefused
from davy.ledger.driver.cometbft.node import EngineNode
from davy.ledger.headers import Authority
from davy.protocol.chain import Succession
from davy.protocol.encoding import decode, encode
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES
from tests.ledger.driver.cometbft.places import Place
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import World, genesis, keys, pub

pytestmark = [pytest.mark.anyio]
FIVE = (*FOUR, "fifth")
CHANGED, SINCE = 1, 3
"""The block that gives a seat away, and the first one that its new holder signs."""


def signing(height: int) -> tuple[str, ...]:
    return FOUR if height < SINCE else FIVE


class Heard(Engine):
    """An engine that has heard of some votes only for the newest block."""

    def __init__(self, world: World, silent: str) -> None:
        super().__init__(Path("/nowhere"))
        self._world, self._silent = world, silent
        self.headers: list[EngineHeader] = []
        self.unready: list[int] = []
        """Heights of headers that it does not tell of yet, once each."""

    def decide(self, app_hash: bytes, txs: Sequence[bytes]) -> None:
        """One more block is decided; `app_hash` is of the state before it."""
        height, chain = len(self.headers) + 1, self._world.chain
        before = commits.committed_hash(self.headers[-1], chain) if self.headers else b""
        signers, later = ([pub(name) for name in signing(h)] for h in (height, height + 1))
        self.headers.append(
            EngineHeader(
                *(11, 1, height, 1_700_000_000 + height, 0, BlockId(before, 1, bytes(32)), bytes(32)),
                *(commits.merkle_root(txs), commits.producers_hash(signers, chain)),
                *(commits.producers_hash(later, chain), bytes(32), app_hash, b"", bytes(32)),
                commits.address(commits.in_order(signers)[0]),
            )
        )

    async def header(self, height: int) -> CommittedHeader:
        if height in self.unready:
            self.unready.remove(height)
            raise EngineRefused("it is not there yet")
        if height > len(self.headers):
            raise EngineRefused("there is no such block yet")
        silent = {self._silent} if height == len(self.headers) else {"fourth"}
        chain, header = self._world.chain, self.headers[height - 1]
        block = BlockId(commits.committed_hash(header, chain), 1, bytes(32))
        names = {pub(name): name for name in signing(height)}
        votes: list[Vote] = []
        for key in commits.in_order(names):
            if names[key] in silent:
                votes.append(Vote(1, 0, 0, b""))
                continue
            vote = Vote(2, 1_700_000_001, 0, b"")
            said = commits.vote_bytes(block, height, 0, vote, chain)
            votes.append(replace(vote, signature=bindings.crypto_sign(said, keys(names[key])[1])[:64]))
        return CommittedHeader(2, header, 0, 1, bytes(32), tuple(votes))


class Producer:
    """An application, its engine, and the ledger that learns from both."""

    def __init__(self, place: Place, world: World, silent: str) -> None:
        self.place, self.engine = place, Heard(world, silent)
        self.node = EngineNode(place.app, self.engine, pub(silent))

    async def block(self, *txs: bytes) -> None:
        """Decide one, and learn its header before the next."""
        before = self.place.app.machine.app_hash if self.place.app.machine.height else bytes(32)
        await self.place.block(*txs)
        height = self.place.app.machine.height
        self.engine.decide(before, self.place.app.store.tx_hashes(height))
        with self.node.subscribed() as told, anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.node.follow)
                while self.node.head.height < height:
                    await told.heights.receive()
                tasks.cancel_scope.cancel()


async def test_producers_that_heard_of_other_votes_show_a_change_alike_and_offer_one_snapshot(
    place: Callable[..., Place],
) -> None:
    world = World(genesis(producers=FOUR))
    made = [Producer(place(silent, snapshots=2), world, silent) for silent in ("first", "second")]
    joins = world.tx("ann", world.joining("ann", "fifth"), nonce=0)
    for height in range(1, 8):
        for producer in made:
            await producer.block(*([joins] if height == CHANGED else []))
    shown = [producer.node.succession(0) for producer in made]
    assert shown[0] == shown[1]
    (change,) = (decode(raw, Succession, limit=2 * MAX_COMMITTED_HEADER_BYTES) for raw in shown[0])
    assert Authority.of(world.genesis).after(change).changes == ((SINCE, frozenset(map(pub, FIVE))),)
    offered = [producer.place.app.snapshots.offers() for producer in made]
    assert [s.height for s in offered[0]] == [4, 6]
    assert offered[0] == offered[1]
    headers = [producer.place.app.store.header(7) for producer in made]
    assert headers[0] != headers[1], "of the newest block they have heard of other votes"


async def test_a_change_that_was_not_kept_is_learned_again(place: Callable[..., Place]) -> None:
    """The engine goes away between the two headers that it takes; a restart comes before the change was kept."""
    world = World(genesis(producers=FOUR))
    p = Producer(place("p"), world, "first")
    await p.block(world.tx("ann", world.joining("ann", "fifth"), nonce=0))
    await p.block()
    assert p.node.succession(0) == []
    p.node = EngineNode(p.place.app, p.engine, pub("first"))
    p.engine.unready = [SINCE - 1, SINCE, SINCE]
    await p.block()
    assert len(p.node.succession(0)) == 1
    assert p.node.authority.at(SINCE) == frozenset(map(pub, FIVE))
    again = EngineNode(p.place.app, p.engine, pub("first"))
    assert (again.authority, again.head) == (p.node.authority, p.node.head)
    assert encode(await p.engine.header(SINCE))
