"""The engine's own JSON-RPC, on a Unix socket in its home: where transactions are handed in and commits are read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from davy.ledger.commits import BlockId, CommittedHeader, EngineHeader, Vote
from davy.network.client_failures import told_of_client
from davy.protocol.errors import Malformed, Refused, TooLarge, Unreachable

T = TypeVar("T")

_MAX_ANSWER_BYTES: Final = 1024 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=3)
_COMMITTED: Final = 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EngineRefused(Refused):
    """The engine's own words of why a call failed."""


class _Error(msgspec.Struct, frozen=True):
    message: str
    data: str = ""


class _Answer(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


class Broadcast(msgspec.Struct, frozen=True):
    code: int
    log: str


class _Parts(msgspec.Struct, frozen=True):
    total: int
    hash: str


class _BlockId(msgspec.Struct, frozen=True):
    hash: str
    parts: _Parts


class _Version(msgspec.Struct, frozen=True):
    block: str = "0"
    app: str = "0"


class _Header(msgspec.Struct, frozen=True):
    version: _Version
    height: str
    time: str
    last_block_id: _BlockId
    last_commit_hash: str
    data_hash: str
    validators_hash: str
    next_validators_hash: str
    consensus_hash: str
    app_hash: str
    last_results_hash: str
    evidence_hash: str
    proposer_address: str


class _Signature(msgspec.Struct, frozen=True):
    block_id_flag: int
    timestamp: str
    signature: str | None = None


class _Commit(msgspec.Struct, frozen=True):
    round: int
    block_id: _BlockId
    signatures: list[_Signature]


class _SignedHeader(msgspec.Struct, frozen=True):
    header: _Header
    commit: _Commit


class _CommitAnswer(msgspec.Struct, frozen=True):
    signed_header: _SignedHeader


class Engine:
    """The engine behind a socket; use it as ``async with Engine(path) as engine``."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(str(self._socket))
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def broadcast(self, raw: bytes) -> Broadcast:
        """Hand a transaction in; it has passed the door, or not, when this returns.

        Raises
        ------
        EngineRefused
            It waits already, or there is no room.
        Unreachable
        """
        return await self._call("broadcast_tx_sync", Broadcast, tx=base64.b64encode(raw).decode())

    async def header(self, height: int) -> CommittedHeader:
        """Return a block's header with the commit for it.

        Raises
        ------
        EngineRefused
            There is no such block yet.
        Malformed, TooLarge, Unreachable
        """
        try:
            return _committed((await self._call("commit", _CommitAnswer, height=str(height))).signed_header)
        except ValueError as e:
            raise Malformed(f"the engine's header {height} is not as 0.38 writes it ({e})") from None

    async def relay(self, method: str, params: Mapping[str, str]) -> msgspec.Raw:
        """Return an answer as it is.

        Raises
        ------
        EngineRefused, Unreachable, TooLarge, Malformed
        """
        return await self._call(method, msgspec.Raw, **params)

    async def _call(self, method: str, kind: type[T], **params: Any) -> T:
        if self._session is None:
            raise Unreachable("the engine is not spoken to yet")
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        raw = bytearray()
        try:
            async with self._session.post("http://engine/", data=body) as response:
                async for part in response.content.iter_any():
                    raw += part
                    if len(raw) > _MAX_ANSWER_BYTES:
                        raise TooLarge(f"the engine answers more than {_MAX_ANSWER_BYTES} bytes to {method}")
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise Unreachable(f"the engine does not answer ({told_of_client(e)})") from None
        try:
            answer = msgspec.json.decode(bytes(raw), type=_Answer)
            if answer.error is not None:
                raise EngineRefused((answer.error.data or answer.error.message)[:500])
            return msgspec.json.decode(answer.result, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise Malformed(f"the engine's answer to {method} is not as 0.38 writes it ({e})") from None


def _committed(s: _SignedHeader) -> CommittedHeader:
    h, c = s.header, s.commit
    seconds, nanos = _moment(h.time)
    header = EngineHeader(
        int(h.version.block),
        int(h.version.app),
        int(h.height),
        seconds,
        nanos,
        _block_id(h.last_block_id),
        *map(bytes.fromhex, (h.last_commit_hash, h.data_hash, h.validators_hash, h.next_validators_hash)),
        *map(bytes.fromhex, (h.consensus_hash, h.app_hash, h.last_results_hash, h.evidence_hash, h.proposer_address)),
    )
    parts = _block_id(c.block_id)
    return CommittedHeader(2, header, c.round, parts.parts, parts.parts_hash, tuple(map(_vote, c.signatures)))


def _block_id(b: _BlockId) -> BlockId:
    return BlockId(bytes.fromhex(b.hash), b.parts.total, bytes.fromhex(b.parts.hash))


def _vote(s: _Signature) -> Vote:
    if s.block_id_flag != _COMMITTED or s.signature is None:
        return Vote(1, 0, 0, b"")
    try:  # what no engine can have signed makes this vote void, not all others
        seconds, nanos = _moment(s.timestamp)
        signature = base64.b64decode(s.signature, validate=True)
    except ValueError:
        return Vote(1, 0, 0, b"")
    return Vote(_COMMITTED, seconds, nanos, signature)


def _moment(text: str) -> tuple[int, int]:
    """Seconds and nanoseconds of RFC 3339 in UTC, as Go prints them: up to nine decimals, trailing zeros left out."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH
    return since.days * 86_400 + since.seconds, int(rest.ljust(9, "0")[:9])
