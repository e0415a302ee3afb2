"""ABCI 2.0 on a Unix socket: messages with their length before them, each answered in the order it came.

The engine opens four connections. What it sends is bounded; whatever is no request ends its connection, and an error in
an answer is told as an exception, at which the engine stops: the supervisor starts it again, and it begins with `info`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus
from google.protobuf.message import DecodeError

from davy.ledger.commits import engine_chain_id, power
from davy.ledger.driver.cometbft import abci_pb2 as abci
from davy.ledger.driver.cometbft.application import APP_VERSION, Application
from davy.ledger.driver.cometbft.fetched import Fetched
from davy.ledger.rules.machine import Verdict
from davy.protocol.errors import Malformed, Misdirected, Refused, TxFailed
from davy.protocol.genesis import chain_id

_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024
_FOR_THE_BLOCK: Final = 2
"""Of the flags of a vote; without one, or with a vote for no block, none would ever be decided."""
_RECHECK: Final = 1
"""How the engine marks what it asks about again after a block (CheckTxType)."""
_log: Final = logging.getLogger(__name__)


class Conversation:
    """One connection of the engine's."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._decides = False
        """Whether blocks are decided on this one."""
        self._answers: dict[str, Callable[[abci.Request], Awaitable[abci.Response]]] = {
            "echo": self._echo,
            "flush": self._flush,
            "info": self._info,
            "init_chain": self._init_chain,
            "query": self._query,
            "check_tx": self._check_tx,
            "prepare_proposal": self._prepare_proposal,
            "process_proposal": self._process_proposal,
            "finalize_block": self._finalize_block,
            "commit": self._commit,
            "list_snapshots": self._list_snapshots,
            "offer_snapshot": self._offer_snapshot,
            "load_snapshot_chunk": self._load_snapshot_chunk,
            "apply_snapshot_chunk": self._apply_snapshot_chunk,
        }

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the other side hangs up."""
        buffer = bytearray()
        self._app.connections += 1
        try:
            while data := await reader.read(_READ_BYTES):
                buffer += data
                while (message := take_message(buffer)) is not None:
                    writer.write(with_length((await self.answer(message)).SerializeToString()))
                await writer.drain()
        except OSError:
            pass  # it is gone, with or without a farewell
        except Malformed as e:
            _log.warning("the engine's connection: %s", e)
        finally:
            self._app.connections -= 1
            if self._decides:
                self._app.drop()
            writer.close()

    async def answer(self, message: bytes) -> abci.Response:
        """Answer one request."""
        try:
            request = abci.Request.FromString(message)
        except DecodeError as e:
            raise Malformed(f"what came is not a request of ABCI 2.0 ({e})") from None
        kind = request.WhichOneof("value") or "nothing"
        try:
            return await self._answers[kind](request) if kind in self._answers else _unused(kind)
        except Exception as e:  # the engine must hear that there is no answer: it stops, and both begin anew
            _log.exception("%s", kind)
            return abci.Response(exception=abci.Exception(error=str(e) or type(e).__name__))

    async def _echo(self, r: abci.Request) -> abci.Response:
        return abci.Response(echo=r.echo)

    async def _flush(self, r: abci.Request) -> abci.Response:
        return abci.Response(flush=r.flush)

    async def _info(self, _: abci.Request) -> abci.Response:
        where = await self._app.info()
        said = abci.InfoResult(
            data="davy", app_version=APP_VERSION, last_block_height=where.height, last_block_app_hash=where.app_hash
        )
        return abci.Response(info=said)

    async def _init_chain(self, r: abci.Request) -> abci.Response:
        g = self._app.genesis
        keys = {v.pub_key.ed25519 for v in r.init_chain.validators}
        if r.init_chain.chain_id != engine_chain_id(chain_id(g)) or keys != set(g.producers):
            raise Misdirected(
                "the engine's genesis is of another chain; make its configuration from this home's genesis"
            )
        machine = await self._app.settled()
        return abci.Response(init_chain=abci.InitChainResult(app_hash=machine.app_hash))

    async def _query(self, r: abci.Request) -> abci.Response:
        machine = await self._app.settled()
        try:
            value = machine.query(r.query.path, r.query.data)
        except TxFailed as e:
            return abci.Response(query=abci.QueryResult(code=int(e.code), log=str(e), height=machine.height))
        except Malformed as e:
            return abci.Response(query=abci.QueryResult(code=1, log=str(e), height=machine.height))
        return abci.Response(query=abci.QueryResult(key=r.query.data, value=value, height=machine.height))

    async def _check_tx(self, r: abci.Request) -> abci.Response:
        verdict = self._app.check_tx(r.check_tx.tx, waits=r.check_tx.type == _RECHECK)
        return abci.Response(check_tx=_checked(verdict))

    async def _prepare_proposal(self, r: abci.Request) -> abci.Response:
        p = r.prepare_proposal
        return abci.Response(prepare_proposal=abci.PrepareProposalResult(txs=self._app.prepare(p.txs, p.max_tx_bytes)))

    async def _process_proposal(self, r: abci.Request) -> abci.Response:
        kinds = abci.ProcessProposalResult.Status
        status = kinds.ACCEPT if self._app.process(r.process_proposal.txs) else kinds.REJECT
        return abci.Response(process_proposal=abci.ProcessProposalResult(status=status))

    async def _finalize_block(self, r: abci.Request) -> abci.Response:
        b = r.finalize_block
        self._decides = True
        time, twice = b.time.seconds * 1_000 + b.time.nanos // 1_000_000, [m.producer.address for m in b.misbehavior]
        absent = [v.producer.address for v in b.decided_last_commit.votes if v.block_id_flag != _FOR_THE_BLOCK]
        done = self._app.finalize(b.height, time, tuple(b.txs), twice, absent)
        each = power(self._app.machine.state.chain)
        said = abci.FinalizeBlockResult(
            tx_results=[abci.TxResult(code=x.code, log=x.log) for x in done.results],
            validator_updates=[
                abci.ValidatorUpdate(pub_key=abci.PublicKey(ed25519=u.key), power=each if u.joined else 0)
                for u in done.producer_updates
            ],
            app_hash=done.app_hash,
        )
        return abci.Response(finalize_block=said)

    async def _commit(self, _: abci.Request) -> abci.Response:
        return abci.Response(commit=abci.CommitResult(retain_height=await self._app.commit()))

    async def _list_snapshots(self, _: abci.Request) -> abci.Response:
        offers = await to_thread.run_sync(self._app.snapshots.offers)
        told = [
            abci.Snapshot(height=o.height, format=o.format, chunks=len(o.hashes), hash=o.hash, metadata=o.metadata)
            for o in offers
        ]
        return abci.Response(list_snapshots=abci.ListSnapshotsResult(snapshots=told))

    async def _load_snapshot_chunk(self, r: abci.Request) -> abci.Response:
        c = r.load_snapshot_chunk
        chunk = await to_thread.run_sync(self._app.snapshots.chunk, c.height, c.format, c.chunk)
        return abci.Response(load_snapshot_chunk=abci.LoadSnapshotChunkResult(chunk=chunk))

    async def _offer_snapshot(self, r: abci.Request) -> abci.Response:
        kinds = abci.OfferSnapshotResult.Result
        s, app = r.offer_snapshot.snapshot, self._app
        if not app.may_fetch():
            return abci.Response(offer_snapshot=abci.OfferSnapshotResult(result=kinds.ABORT))
        told = s.height, s.format, s.chunks, s.hash, s.metadata, r.offer_snapshot.app_hash
        try:
            result = kinds.ACCEPT if app.offer(Fetched(app.fetching, *told)) else kinds.REJECT
        except Malformed as e:
            _log.warning("a snapshot after block %d was turned down: %s", s.height, e)
            result = kinds.REJECT
        return abci.Response(offer_snapshot=abci.OfferSnapshotResult(result=result))

    async def _apply_snapshot_chunk(self, r: abci.Request) -> abci.Response:
        """A wrong chunk is asked for again, of others: whoever sent it sends no more.

        Nor does who sent the last chunk of a wrong snapshot, for only those who offered it are asked for its chunks.
        """
        kinds = abci.ApplySnapshotChunkResult.Result
        c, fetched = r.apply_snapshot_chunk, self._app.fetched()
        if fetched is None:
            return _applied(kinds.ABORT)
        if not fetched.take(c.index, c.chunk):
            _log.warning("chunk %d of a snapshot is not the one that was offered; %s sends no more", c.index, c.sender)
            return _applied(kinds.RETRY, [c.index], [c.sender])
        if fetched.whole:
            try:
                await self._app.restore()
            except Refused as e:
                _log.warning("a snapshot was turned down: %s; %s sends no more", e, c.sender)
                return _applied(kinds.REJECT_SNAPSHOT, banned=[c.sender])
        return _applied(kinds.ACCEPT)


async def listen(path: Path, app: Application, *, task_status: TaskStatus[None]) -> None:
    """Answer the engine on a socket in a folder that only this user may open, until cancelled; on asyncio."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(Conversation(app).run(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    path.unlink(missing_ok=True)  # noqa: ASYNC240  # left by a process that was killed; nothing runs yet
    server = await asyncio.start_unix_server(talk, path)
    try:
        task_status.started()
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        for task in tuple(talks):
            task.cancel()
        with anyio.CancelScope(shield=True):  # a block that is on its way to the disk gets there
            await asyncio.gather(*talks, return_exceptions=True)


def with_length(message: bytes) -> bytes:
    """Put a message's length before it, as an unsigned varint."""
    head, size = bytearray(), len(message)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + message


def take_message(buffer: bytearray) -> bytes | None:
    """Take the first whole message out of what has arrived; None: there is none yet.

    Raises
    ------
    Malformed
        It would be longer than any may be.
    """
    size = 0
    for at in range(min(len(buffer), 5)):
        size |= (buffer[at] & 0x7F) << 7 * at
        if buffer[at] <= 0x7F:
            if size > _MAX_MESSAGE_BYTES:
                break
            end = at + 1 + size
            if len(buffer) < end:
                return None
            message = bytes(buffer[at + 1 : end])
            del buffer[:end]
            return message
    else:
        if len(buffer) < 5:
            return None
    raise Malformed(f"a message of the engine's is longer than {_MAX_MESSAGE_BYTES} bytes")


def _applied(result: int, again: Sequence[int] = (), banned: Sequence[str] = ()) -> abci.Response:
    said = abci.ApplySnapshotChunkResult(result=result, refetch_chunks=again, reject_senders=banned)  # type: ignore[arg-type]
    return abci.Response(apply_snapshot_chunk=said)


def _checked(v: Verdict) -> abci.CheckTxResult:
    return abci.CheckTxResult(code=int(v.code), log=v.message, gas_wanted=1)


def _unused(kind: str) -> abci.Response:
    """Vote extensions are not used: an empty answer of the same name says so."""
    empty = abci.Empty()
    answers = {
        "extend_vote": abci.Response(extend_vote=empty),
        "verify_vote_extension": abci.Response(verify_vote_extension=empty),
    }
    return answers.get(kind) or abci.Response(exception=abci.Exception(error="this request is of no known kind"))
