"""`davy.protocol.ports.LedgerClient` over JSON-RPC, checking what can be checked.

Checked against the chain id, which is all a node has to know: the genesis, each header's producer and signature, that
heights rise without a gap in one history, that a transaction stands in its block, and what `proved` returns, so also
`brake` (that no order is left out), `subject`, `halted` and `conviction`. Not checked, and only as good as the ledger:
a transaction's result code, and the answers of `query` (metagraph, accounts, epochs), which are `views`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from enum import Enum
from typing import Final, Self, TypeVar

import anyio
import msgspec

from davy.ledger.client.answers import (
    Broadcast,
    GenesisAnswer,
    HeaderAnswer,
    QueryAnswer,
    QueryResponse,
    Status,
    TxAnswer,
    code_of,
)
from davy.ledger.client.believed import Believed
from davy.ledger.client.braking import are_all, gather
from davy.ledger.client.fates import holding_block, next_nonce
from davy.ledger.client.following import Heads
from davy.ledger.client.news import ToldRecord
from davy.ledger.client.rpc import RpcCaller, RpcRefused, to_bytes
from davy.ledger.client.views import Views
from davy.ledger.headers import OpenedHeader, origin
from davy.network.failures import printable
from davy.protocol.chain import Head, Proof, SavedProof, TxResult
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, Expired, Misdirected, Refused, TxCode, TxFailed, Unreachable
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_GENESIS_BYTES, MAX_RESULT_BYTES
from davy.protocol.order import OrderId
from davy.protocol.proof import check_proof
from davy.protocol.recorded import (
    BRAKE_KEY,
    BrakePage,
    BrakeRecord,
    ConvictionRecord,
    HaltedRecord,
    RecordedBrake,
    SubjectFacts,
    account_key,
    conviction_key,
    halted_key,
    order_keys,
)
from davy.protocol.transaction import open_tx, tx_hash
from davy.protocol.words import ChainId, Digest, Height, Hotkey, ModelId, Netuid, TxHash

T = TypeVar("T")

_SHORTEST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0
_NEXT_BLOCK_PATIENCE_S: Final = 30.0
_TRIES_FOR_A_BRAKE: Final = 5
_TRIES_WHILE_BEHIND: Final = 10
"""Of a ledger whose state is older than a header it has shown: another one behind the same address, for a moment."""
_MOST_BYTES: Final = 512 * 1024 * 1024
"""What all orders may take here, with `_BESIDE` for each: more than all possible rosters sign in small ones."""
_BESIDE: Final = 256


class _Absence(Enum):
    """Why a transaction is not shown, in the words that a ledger's sentence holds."""

    NOT_FOUND = "not found"
    NOT_ANNOUNCED = "not announced yet"
    """The ledger's state is after its block, and nobody was told of the block: it will be, and it is waited for."""


class RpcLedger(Views):
    """A ledger behind an address; use it as ``async with RpcLedger(url, chain) as ledger``.

    Parameters
    ----------
    chain
        What this node takes part in; a ledger of another chain is refused.
    """

    def __init__(self, url: str, chain: ChainId) -> None:
        self._rpc = RpcCaller(url)
        self._chain = chain
        self._genesis: Genesis | None = None
        self._believed = Believed(self._rpc, self.genesis)
        self._newest: OpenedHeader | None = None
        self._followed: list[Heads] = []
        """Iterators of `blocks` that are open."""

    async def __aenter__(self) -> Self:
        await self._rpc.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rpc.__aexit__()

    @property
    def chain(self) -> ChainId:
        return self._chain

    async def genesis(self) -> Genesis:
        """Return the genesis, whose digest is the chain id.

        Raises
        ------
        Misdirected
            The ledger runs another chain.
        """
        if self._genesis is None:
            document = (await self._rpc.call("genesis", GenesisAnswer)).genesis
            genesis = decode(to_bytes(document.app_state), Genesis, limit=MAX_GENESIS_BYTES)
            if chain_id(genesis) != self._chain:
                raise Misdirected(f"the ledger at {self._rpc.url} runs another chain; name the one of this network")
            self._genesis = genesis
        return self._genesis

    @property
    def has_engine(self) -> bool:
        """Whether several producers' votes, not one's signature, vouch for the newest block that was asked for."""
        return self._newest is not None and self._newest.committed

    async def head(self) -> Head:
        """Return the newest block's head.

        Raises
        ------
        Refused
            The ledger went back behind a block it has shown, or tells another history.
        """
        shown, genesis = self._newest, await self.genesis()
        try:
            answer = await self._rpc.call("header", HeaderAnswer)
        except RpcRefused:
            status = await self._rpc.call("status", Status)
            if shown is not None:
                raise
            if int(status.sync_info.latest_block_height) == 0:
                return origin(genesis)
            answer = await self._rpc.call("header", HeaderAnswer)  # the first block was made between the two calls
        return (await self._seen(to_bytes(answer.signed_header), shown)).head

    async def earliest(self) -> Height:
        """The first block that the ledger says it still has."""
        return int((await self._rpc.call("status", Status)).sync_info.earliest_block_height)

    async def submit(self, raw: bytes) -> TxHash:
        """Hand in a signed transaction; one that waits already is taken for handed in.

        Raises
        ------
        TxFailed
            Turned down at the door.
        Busy
            There is no room; later there may be.
        Unreachable
            It may or may not have arrived: the same bytes can be handed in again.
        """
        try:
            said = await self._rpc.call("broadcast_tx_sync", Broadcast, tx=base64.b64encode(raw).decode())
        except RpcRefused as e:
            if "already exists" in str(e):
                return tx_hash(raw)
            raise (Busy(str(e)) if "mempool is full" in str(e) else e) from None
        if said.code:
            raise TxFailed(code_of(said), printable(said.log))
        return tx_hash(raw)

    async def outcome(self, h: TxHash, *, until: Height) -> TxResult:
        """Wait until a transaction stands in a committed block, and check that the block's header names it.

        Raises
        ------
        Expired
            Height `until` was committed without it.
        Refused
            The header names other transactions.
        """
        pause = _SHORTEST_PAUSE_S
        while True:
            height = await self._height()
            result = await self._included(h)
            if isinstance(result, TxResult):
                return result
            if height >= until and result is _Absence.NOT_FOUND:
                raise Expired(f"block {until} was made without transaction {h.hex()}; hand it in again")
            heads = self._foremost()  # also who follows asks now and then: so it is noticed that the ledger is gone
            with anyio.move_on_after(pause if heads is None else _LONGEST_PAUSE_S):
                await (anyio.sleep_forever() if heads is None else heads.ahead(height))
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    async def fate(self, raw: bytes, *, after: Height) -> TxResult | None:
        """See `davy.protocol.ports.LedgerClient`: the nonce is proved used, and then all blocks up to there are read.

        Raises
        ------
        Expired, Refused, Unreachable
        """
        h, (_, body) = tx_hash(raw), open_tx(raw)
        height, stored = await self._proved(account_key(body.sender))
        if next_nonce(stored) <= body.nonce:
            raise Expired(f"nonce {body.nonce} is not used up, so transaction {h.hex()} can still be included")
        holding = await holding_block(self._rpc, self._believed, h, after + 1, height)
        if holding is None:
            return None
        result = await self._included(h)
        if isinstance(result, TxResult):
            return result
        raise Refused(f"block {holding} holds it, and the ledger does not show its result")

    async def query(self, path: str, data: bytes = b"") -> bytes:
        return to_bytes((await self._query(path, data)).value)

    def unchanged(self, netuid: Netuid, since: Height) -> bool:
        """See `davy.protocol.ports.LedgerClient`; known only while blocks are followed, and none was missed."""
        heads = self._foremost()
        return heads is not None and heads.heard.unchanged(netuid, since)

    async def brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        """Return all orders that stand on the ledger, proved complete against a header's app hash.

        They are those of the newest block there was when this was called, or of a later one. The state after block H is
        named by header H+1, so this waits for one more block.

        Raises
        ------
        Refused
            What the ledger shows is not what its state holds, whenever it is asked, or is out of date.
        Unreachable
            No block follows in time.
        """
        newest = await self._height()
        if known is not None and known.height >= newest:
            told = known
        else:
            told = await self.told_brake(known)
        for number in range(_TRIES_FOR_A_BRAKE):
            height, record = await self._proved_brake(None if number else self._told_record(), newest)
            if are_all(told, record):
                return RecordedBrake(height, record, told.orders, told.drills)
            told = await self.told_brake()  # an order came between the two, or one that was known is forgotten
        raise Refused("the ledger does not show all orders of its brake: ask another one, and serve nothing before")

    async def told_brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        """Return what the ledger says at once, unproved: each order proves itself, others may be missing."""
        told = self._told_record()
        if known is not None and told is not None and told.record == known.brake:
            return msgspec.structs.replace(known, height=max(known.height, told.height))
        rows = [] if known is None else [*known.orders, *known.drills]
        size = sum(len(row.order) + _BESIDE for row in rows)
        first = 0 if known is None else known.brake.next
        while True:
            page = await self._view("/brake", first.to_bytes(8, "big"), BrakePage)
            rows += page.orders
            size += sum(len(row.order) + _BESIDE for row in page.orders)
            if size > _MOST_BYTES:
                raise Refused(f"the ledger shows more than {len(rows)} orders, which no brake holds; ask another one")
            if not page.more or not page.orders:
                return gather(page.height, page.brake, rows)
            first = max(first, page.orders[-1].number) + 1

    async def halted(self, *names: bytes) -> dict[bytes, HaltedRecord | None]:
        """What halts each of these names (`davy.protocol.recorded`), proved; None: nothing does.

        Raises
        ------
        Refused, Unreachable
            See `proved`.
        """
        return {name: await self._record(halted_key(name), HaltedRecord) for name in names}

    async def conviction(self, hotkey: Hotkey) -> ConvictionRecord | None:
        """Why a hotkey is barred, proved; None: it is not.

        Raises
        ------
        Refused, Unreachable
            See `proved`.
        """
        return await self._record(conviction_key(hotkey), ConvictionRecord)

    async def is_recorded(self, order: OrderId) -> bool:
        """See `davy.protocol.ports.LedgerClient`.

        Raises
        ------
        Refused, Unreachable
            See `proved`.
        """
        for key in order_keys(order):
            if await self.proved(key) is not None:
                return True
        return False

    async def subject(self, netuid: Netuid, hotkey: Hotkey, model: ModelId | None = None) -> SubjectFacts:
        """Return what a brake is asked about, proved as of the newest block there was or a later one, after one more.

        Raises
        ------
        TxFailed
            NOT_FOUND: no UID there, or no such model.
        Refused, Unreachable
            See `proved`.
        """
        from davy.ledger.client.subjects import read_subject  # a command that asks for none loads no rules

        newest = await self._height()
        raw = await self.query("/subject_rows", netuid.to_bytes(2, "big") + hotkey + (model or b""))
        facts, app_hash = read_subject(raw, newest, netuid, hotkey, model)
        if await self._app_hash(facts.height) != app_hash:
            raise Refused(f"the ledger shows a model otherwise than block {facts.height} left it; ask another one")
        return facts

    async def proved(self, key: bytes) -> bytes | None:
        """Return the value stored at a key of the state, or None, proved against a header's app hash.

        The state after block H is named by header H+1, so this waits for one more block.

        Raises
        ------
        Refused
            The proof does not hold.
        Unreachable
            No block follows in time, or what the ledger shows is older than a header that it has shown before.
        """
        return (await self._proved(key))[1]

    async def saved_proof(self, key: bytes) -> SavedProof:
        """What `proved` says, with the proof, to be kept and checked without a ledger (`saved.check_saved`).

        Raises
        ------
        Refused, Unreachable
            See `proved`.
        """
        height, value, proof = await self._proof_of(key)
        header = await self._header(height + 1)
        held = () if value is None else (value,)
        return SavedProof(2, encode(await self.genesis()), self._believed.changes, header.raw, key, held, proof)

    async def _record(self, key: bytes, kind: type[T]) -> T | None:
        value = await self.proved(key)
        return None if value is None else decode(value, kind, limit=MAX_RESULT_BYTES)

    async def _proved(self, key: bytes, newest: Height | None = None) -> tuple[Height, bytes | None]:
        """What the state after a block holds at a key, and the block's height."""
        return (await self._proof_of(key, newest))[:2]

    async def _proof_of(self, key: bytes, newest: Height | None = None) -> tuple[Height, bytes | None, Proof]:
        """As of what header `newest`, else the newest there was when this was called, or a later one names.

        A proof of long ago is as true as ever, so it must not be taken for one of now. That header names the state
        after the block before it.
        """
        newest, pause, height = await self._height() if newest is None else newest, _SHORTEST_PAUSE_S, 0
        for _ in range(_TRIES_WHILE_BEHIND):
            height, value, proof = await self._shown_proof(key)
            if height + 1 >= newest:
                check_proof(await self._app_hash(height), key, value, proof)
                return height, value, proof
            await anyio.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_S)
        raise Unreachable(
            f"the ledger shows the state after block {height}, and block {newest} is known; ask again or another one"
        )

    async def _shown_proof(self, key: bytes) -> tuple[Height, bytes | None, Proof]:
        said = await self._query("/store", key, prove=True, may_miss=True)
        if said.proof_ops is None or len(said.proof_ops.ops) != 1:
            raise Refused("the ledger gives no proof; ask another one")
        proof = decode(to_bytes(said.proof_ops.ops[0].data), Proof, limit=MAX_RESULT_BYTES)
        return int(said.height), None if said.code else to_bytes(said.value), proof

    async def _proved_brake(self, told: ToldRecord | None, newest: Height) -> tuple[Height, BrakeRecord]:
        """The brake's record after block `newest` or a later one, as it was told or else as it is asked for."""
        if told is not None and told.height >= newest:
            told.check(await self._app_hash(told.height))
            return told.height, told.record
        height, stored = await self._proved(BRAKE_KEY, 0)
        if stored is None or height < newest:
            raise Refused(f"the ledger shows no brake of block {newest} or later; ask another one")
        return height, decode(stored, BrakeRecord, limit=MAX_RESULT_BYTES)

    def _told_record(self) -> ToldRecord | None:
        heads = self._foremost()
        return None if heads is None else heads.heard.brake()

    def _foremost(self) -> Heads | None:
        """Of the iterators that are open the one that is furthest: another may wait for who reads it."""
        return max(self._followed, key=lambda h: -1 if h.newest is None else h.newest.height, default=None)

    @asynccontextmanager
    async def blocks(self, after: Height, *, newest: bool = False) -> AsyncGenerator[AsyncIterator[Head]]:
        """See `davy.protocol.ports.LedgerClient`; what is not given is verified too, another history is `Refused`."""
        async with aclosing(Heads(self._rpc, self.genesis, self._believed, after, newest=newest)) as heads:
            self._followed.append(heads)
            try:
                yield heads
            finally:
                self._followed.remove(heads)

    async def _query(self, path: str, data: bytes, *, prove: bool = False, may_miss: bool = False) -> QueryResponse:
        said = (await self._rpc.call("abci_query", QueryAnswer, path=path, data=data.hex(), prove=prove)).response
        if said.code and not (may_miss and said.code == TxCode.NOT_FOUND):
            raise TxFailed(code_of(said), printable(said.log))
        return said

    async def _included(self, h: TxHash) -> TxResult | _Absence:
        try:
            found = await self._rpc.call("tx", TxAnswer, hash=base64.b64encode(h).decode(), prove=True)
        except RpcRefused as e:
            for absence in _Absence:
                if absence.value in str(e):
                    return absence
            raise
        height, index, raw = int(found.height), found.index, to_bytes(found.proof.hashes)
        hashes = [raw[n : n + 32] for n in range(0, len(raw), 32)]
        opened = await self._header(height)
        if not 0 <= index < len(hashes) or hashes[index] != h or not opened.names(hashes):
            raise Refused(f"header {height} does not name transaction {h.hex()}: this ledger cannot be believed")
        return TxResult(height, index, found.tx_result.code, printable(found.tx_result.log))

    async def _header(self, height: int) -> OpenedHeader:
        if self._newest is not None and self._newest.header.height == height:
            return self._newest
        answer = await self._rpc.call("header", HeaderAnswer, height=str(height))
        opened = await self._believed.open(to_bytes(answer.signed_header))
        if opened.header.height != height:
            raise Refused(f"header {opened.header.height} came where {height} was asked for; ask another ledger")
        return opened

    async def _height(self) -> Height:
        """Of the newest block: as far as it is followed, or as the ledger says."""
        heads = self._foremost()
        newest = None if heads is None else heads.newest
        return (await self.head()).height if newest is None else newest.height

    async def _app_hash(self, height: Height) -> Digest:
        """Of the state after a block, as the header after it names it.

        Raises
        ------
        Unreachable
            No block follows in time.
        """
        with anyio.move_on_after(_NEXT_BLOCK_PATIENCE_S):
            pause = _SHORTEST_PAUSE_S
            newest = await (self.head() if (heads := self._foremost()) is None else heads.ahead(height))
            while newest.height <= height:
                await anyio.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE_S / 4)
                newest = await self.head()
            return newest.app_hash if newest.height == height + 1 else (await self._header(height + 1)).header.app_hash
        raise Unreachable(f"no block follows {height}, so its state has no signed app hash yet; try again later")

    async def _seen(self, raw: bytes, shown: OpenedHeader | None) -> OpenedHeader:
        """Check the newest header against the newest one seen before the call."""
        if shown is not None and raw == shown.raw:
            return shown
        opened = await self._believed.open(raw)
        if shown is not None and opened.hash == shown.hash:
            return shown  # a commit of other producers for the same block
        if shown is not None and opened.header.height <= shown.header.height:
            raise Refused(f"the ledger went back from block {shown.header.height}; it lost blocks it had acknowledged")
        if self._newest is None or opened.header.height > self._newest.header.height:
            self._newest = opened
        return self._newest
