"""A producer's application, asked as its engine would ask it; no engine runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from anyio import to_thread
from msgspec.structs import replace
from nacl import bindings

from davy.ledger import commits
from davy.ledger.commits import BlockId, CommittedHeader, EngineHeader, Vote
from davy.ledger.driver.cometbft import abci_pb2 as abci
from davy.ledger.driver.cometbft.application import Application
from davy.ledger.driver.cometbft.wire import Conversation
from davy.protocol.chain import Succession
from davy.protocol.encoding import encode
from davy.protocol.transaction import Action, Transfer
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import World, genesis, keys, pub


class Place(NamedTuple):
    """A producer's application and a connection of its engine's."""

    app: Application
    talk: Conversation

    async def ask(self, **request: Any) -> Any:
        said = await self.talk.answer(abci.Request(**request).SerializeToString())
        return getattr(said, str(said.WhichOneof("value")))

    async def block(self, *txs: bytes, twice: bytes = b"", votes: Mapping[bytes, int] = MappingProxyType({})) -> Any:
        """Decide a block and keep it; `votes` are the flags of those for the block before, by address."""
        height = self.app.machine.height + 1
        found = [abci.Misbehavior(type=1, producer=abci.Producer(address=twice, power=1))] if twice else []
        time = abci.Timestamp(seconds=1 + height)
        last = abci.Commit(
            votes=[abci.SaidVote(producer=abci.Producer(address=a), block_id_flag=f) for a, f in votes.items()]
        )
        block = abci.FinalizeBlock(txs=txs, height=height, time=time, misbehavior=found, decided_last_commit=last)
        said = await self.ask(finalize_block=block)
        await self.ask(commit=abci.Empty())
        await to_thread.run_sync(self.app.snapshots.finish)
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


def tx(name: str, action: Action, nonce: int = 0) -> bytes:
    return World(genesis(producers=FOUR)).tx(name, action, nonce=nonce)


async def grown(p: Place, blocks: int) -> None:
    for n in range(blocks):
        await p.block(tx("ann", Transfer(pub("ben"), 1 + n), n))


def change(chain: bytes, height: int, before: Sequence[str], after: Sequence[str]) -> Succession:
    """A header that all of those before sign, and that names those after."""
    secrets = {pub(name): keys(name)[1] for name in before}
    order, later = commits.in_order(secrets), tuple(pub(name) for name in after)
    signers, named = commits.producers_hash(secrets, chain), commits.producers_hash(later, chain)
    before_it, some = BlockId(bytes(32), 1, bytes(32)), bytes(32)
    header = EngineHeader(
        *(11, 1, height, 1, 0, before_it, some, some, signers, named, some, some, b"", some),
        commits.address(order[0]),
    )
    block = BlockId(commits.committed_hash(header, chain), 1, some)
    vote, votes = Vote(2, 1, 0, b""), list[Vote]()
    for key in order:
        said = commits.vote_bytes(block, height, 0, vote, chain)
        votes.append(replace(vote, signature=bindings.crypto_sign(said, secrets[key])[:64]))
    return Succession(encode(CommittedHeader(2, header, 0, 1, some, tuple(votes))), later)
