"""The JSON-RPC methods, in CometBFT's names and shapes: upper-case hex, base64, 64-bit integers as strings.

What CometBFT does not have stands beside its fields: `signed_header` (the exact bytes the producer signed), the `news`
of a block (`davy.ledger.driver.news`) and, in a transaction's `proof`, the hashes of all of its block's transactions,
whose digest stands in the header.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import Meta

import davy
from davy.ledger.driver.node import Node
from davy.ledger.driver.shapes import (
    Json,
    from_base64,
    from_hex,
    hash_from,
    header_json,
    public_key_json,
    rfc3339,
    to_base64,
    tx_json,
    upper_hex,
)
from davy.ledger.headers import OpenedHeader, open_header
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, Refused, StoreFailed, TxCode, TxFailed, Unreachable
from davy.protocol.limits import MAX_QUERY_BYTES, MAX_RPC_PAGE, MAX_TX_BYTES
from davy.protocol.words import INT63


class RpcCode(IntEnum):
    """JSON-RPC 2.0, section 5.1; INTERNAL also carries what CometBFT says of its own accord."""

    PARSE = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL = -32603


class RpcFailed(Exception):
    """An answer that is an error: `data` is the sentence for people."""

    def __init__(self, code: RpcCode, data: str) -> None:
        super().__init__(data)
        self.code, self.data = code, data


_OF_THE_ENGINE: Final = ("commit", "validators", "consensus_params")
HeightText: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{1,19}\Z")] | Annotated[int, Meta(ge=0, le=INT63)] | None


class _Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Named parameters, or positional ones in this order."""


class _NoParams(_Params, frozen=True):
    pass


class _TxParams(_Params, frozen=True):
    tx: Annotated[str, Meta(max_length=MAX_TX_BYTES * 2)]


class _QueryParams(_Params, frozen=True):
    path: Annotated[str, Meta(max_length=64)]
    data: Annotated[str, Meta(max_length=MAX_QUERY_BYTES * 2 + 2)] = ""
    height: HeightText = None
    prove: bool = False


class _HeightParams(_Params, frozen=True):
    height: HeightText = None


class _EngineParams(_Params, frozen=True):
    height: HeightText = None
    page: HeightText = None
    per_page: HeightText = None


class _AfterParams(_Params, frozen=True):
    after: HeightText = None


class _HashParams(_Params, frozen=True):
    hash: Annotated[str, Meta(max_length=66)]
    prove: bool = False


class _RangeParams(_Params, frozen=True):
    min_height: HeightText = msgspec.field(name="minHeight", default=None)
    max_height: HeightText = msgspec.field(name="maxHeight", default=None)


class _Said(NamedTuple):
    """What the state says, after which block; code 0 or why not."""

    code: TxCode
    log: str
    height: int
    value: bytes = b""
    proof: bytes = b""


class Methods:
    """Answers to calls, from one ledger."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._table: Mapping[str, tuple[type[_Params], Callable[[Any], Awaitable[Json | msgspec.Raw]]]] = {
            "health": (_NoParams, self._health),
            "status": (_NoParams, self._status),
            "genesis": (_NoParams, self._genesis),
            "broadcast_tx_sync": (_TxParams, self._broadcast_tx_sync),
            "abci_query": (_QueryParams, self._abci_query),
            "block": (_HeightParams, self._block),
            "header": (_HeightParams, self._header),
            "blockchain": (_RangeParams, self._blockchain),
            "tx": (_HashParams, self._tx),
            **{name: (_EngineParams, partial(self._relay, name)) for name in _OF_THE_ENGINE},
            "succession": (_AfterParams, self._succession),
            "num_unconfirmed_txs": (_NoParams, self._num_unconfirmed_txs),
        }

    async def call(self, method: str, params: object) -> Json | msgspec.Raw:
        """Answer one call; `params` is a mapping, a sequence in the order of the fields, or None.

        Raises
        ------
        RpcFailed
        """
        if method not in self._table:
            raise RpcFailed(RpcCode.METHOD_NOT_FOUND, f"the methods are: {', '.join(sorted(self._table))}")
        kind, answer = self._table[method]
        if isinstance(params, list):
            names, values = [f.encode_name for f in msgspec.structs.fields(kind)], cast("list[object]", params)
            if len(values) > len(names):
                raise RpcFailed(RpcCode.INVALID_PARAMS, f"{method} takes at most {len(names)} parameters")
            params = dict(zip(names, values, strict=False))
        try:
            return await answer(msgspec.convert({} if params is None else params, kind))
        except (msgspec.ValidationError, Malformed) as e:
            raise RpcFailed(RpcCode.INVALID_PARAMS, str(e)) from None
        except (Refused, StoreFailed, Unreachable) as e:
            raise RpcFailed(RpcCode.INTERNAL, str(e)) from None

    async def _health(self, _: _NoParams) -> Json:
        return {}

    async def _status(self, _: _NoParams) -> Json:
        p = self._node
        return {
            "node_info": {"network": p.chain.hex(), "version": davy.__version__, "moniker": f"davy {p.engine}"},
            "sync_info": {
                "latest_block_hash": upper_hex(p.head.hash),
                "latest_app_hash": upper_hex(p.head.app_hash),
                "latest_block_height": str(p.head.height),
                "latest_block_time": rfc3339(p.head.time),
                "earliest_block_height": str(p.store.earliest()),
                "catching_up": False,
            },
            "validator_info": {"pub_key": public_key_json(p.public), "voting_power": "1"},
        }

    async def _genesis(self, _: _NoParams) -> Json:
        g = self._node.genesis
        return {
            "genesis": {
                "genesis_time": rfc3339(g.time),
                "chain_id": self._node.chain.hex(),
                "initial_height": "1",
                "app_state": to_base64(encode(g)),
            }
        }

    async def _broadcast_tx_sync(self, p: _TxParams) -> Json:
        verdict = await self._node.hand_in(from_base64(p.tx, "tx"))
        said = {"code": int(verdict.code), "log": verdict.message, "hash": upper_hex(verdict.hash)}
        return said | {"data": "", "codespace": ""}

    async def _abci_query(self, p: _QueryParams) -> Json:
        key = from_hex(p.data, "data")
        try:
            said = await (self._stored(key) if p.path == "/store" else self._computed(p.path, key))
        except TxFailed as e:
            said = _Said(e.code, str(e), self._node.head.height)
        if int(p.height or 0) not in (0, said.height):
            log = f"only the state after block {said.height} is kept; ask without a height"
            said = _Said(TxCode.NOT_FOUND, log, said.height)
        ops = None
        if p.prove and said.proof:
            ops = {"ops": [{"type": "davy:critbit", "key": to_base64(key), "data": to_base64(said.proof)}]}
        response = {"code": int(said.code), "log": said.log, "codespace": "", "height": str(said.height)}
        return {"response": response | {"key": to_base64(key), "value": to_base64(said.value), "proofOps": ops}}

    async def _stored(self, key: bytes) -> _Said:
        proved = await self._node.prove(key)
        if proved.value is None:
            return _Said(TxCode.NOT_FOUND, "there is nothing at this key", proved.height, proof=encode(proved.proof))
        return _Said(TxCode.OK, "", proved.height, proved.value, encode(proved.proof))

    async def _computed(self, path: str, data: bytes) -> _Said:
        height, value = await self._node.query(path, data)
        return _Said(TxCode.OK, "", height, value)

    async def _header(self, p: _HeightParams) -> Json:
        return self.header(self._height(p.height))

    async def _block(self, p: _HeightParams) -> Json:
        return self.block(self._height(p.height))

    async def _blockchain(self, p: _RangeParams) -> Json:
        """The newest MAX_RPC_PAGE headers of a range, falling, as CometBFT does it."""
        last = min(int(p.max_height or 0) or INT63, self._node.head.height)
        first = min(max(int(p.min_height or 0), last - MAX_RPC_PAGE + 1, 1), INT63)  # no file holds a higher one
        metas: list[Json] = []
        for _, raw, _ in self._node.store.headers(first, last):
            opened = self._read(raw)
            meta = {"block_id": {"hash": upper_hex(opened.hash)}, "header": header_json(opened)}
            metas.insert(0, meta | {"signed_header": to_base64(raw)})
        return {"last_height": str(self._node.head.height), "block_metas": metas}

    async def _tx(self, p: _HashParams) -> Json:
        h = hash_from(p.hash)
        found = self._node.store.tx(h)
        if found is None:
            raise RpcFailed(RpcCode.INTERNAL, f"tx ({upper_hex(h)}) not found")
        # The file may be ahead of what everybody was told: a block is announced as a whole. The state is, too, so a
        # sender whose nonce is used up must not hear that its transaction is nowhere.
        if found.result.height > self._node.head.height:
            raise RpcFailed(RpcCode.INTERNAL, f"tx ({upper_hex(h)}) is in a block that is not announced yet")
        answer = tx_json(h, found)
        if p.prove:
            hashes = self._node.store.tx_hashes(found.result.height)
            answer["proof"] = {"data": to_base64(found.raw), "hashes": to_base64(b"".join(hashes))}
        return answer

    async def _relay(self, method: str, p: _EngineParams) -> msgspec.Raw:
        """What an engine that fetches a snapshot asks others' ledgers, to check it against the producers' votes."""
        asked = {name: value for name, value in msgspec.structs.asdict(p).items() if value is not None}
        return await self._node.relay(method, {name: str(value) for name, value in asked.items()})

    async def _succession(self, p: _AfterParams) -> Json:
        """Davy's own: changes of the producers, the first MAX_RPC_PAGE that hold from above a height on."""
        return {"changes": [to_base64(raw) for raw in self._node.succession(int(p.after or 0))]}

    async def _num_unconfirmed_txs(self, _: _NoParams) -> Json:
        waiting, size = self._node.waiting()
        return {"n_txs": str(waiting), "total": str(waiting), "total_bytes": str(size), "txs": None}

    def block(self, height: int) -> Json:
        """A block as `block` and the event NewBlock show it."""
        opened, txs = self._opened(height), self._node.store.txs(height)
        data = {"txs": [to_base64(t.raw) for t in txs]}
        block: Json = {"header": header_json(opened), "data": data, "evidence": {"evidence": list[Json]()}}
        return {"block_id": {"hash": upper_hex(opened.hash)}, "block": block, "signed_header": to_base64(opened.raw)}

    def header(self, height: int) -> Json:
        """A header as the event NewBlockHeader shows it, with the news of its block."""
        opened, news = self._opened(height), self._node.news(height)
        shown: Json = {"header": header_json(opened), "signed_header": to_base64(opened.raw)}
        if news is None:
            return shown
        changed = None if news.changed is None else list(news.changed)
        return shown | {
            "news": {"changed": changed, "brake": to_base64(news.brake), "proof": to_base64(news.proof)},
        }

    def _height(self, asked: HeightText) -> int:
        newest = self._node.head.height
        height = newest if asked is None else int(asked)
        if not 1 <= height <= newest:
            raise RpcFailed(RpcCode.INTERNAL, f"height {height} must be between 1 and the current height {newest}")
        return height

    def _opened(self, height: int) -> OpenedHeader:
        raw = self._node.store.header(height)
        if raw is None:
            raise RpcFailed(RpcCode.INTERNAL, f"height {height} is not available")
        return self._read(raw)

    def _read(self, raw: bytes) -> OpenedHeader:
        return open_header(raw, self._node.authority, check_signature=False)
