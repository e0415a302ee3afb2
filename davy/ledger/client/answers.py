"""What a client reads of each answer, in the ledger's JSON; fields it does not use are not named and not looked at.

Integers of 64 bits come as text, bytes as base64.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from davy.protocol.errors import TxCode
from davy.protocol.limits import MAX_BLOCK_TXS, MAX_NEWS_SUBNETS, MAX_RPC_PAGE
from davy.protocol.words import U16

HeightText: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]


class SyncInfo(msgspec.Struct, frozen=True):
    latest_block_height: HeightText
    earliest_block_height: HeightText = "1"


class Status(msgspec.Struct, frozen=True):
    sync_info: SyncInfo


class GenesisDocument(msgspec.Struct, frozen=True):
    app_state: str


class GenesisAnswer(msgspec.Struct, frozen=True):
    genesis: GenesisDocument


class HeaderAnswer(msgspec.Struct, frozen=True):
    signed_header: str


class Headers(msgspec.Struct, frozen=True):
    last_height: HeightText
    block_metas: list[HeaderAnswer]


class BlockData(msgspec.Struct, frozen=True):
    txs: Annotated[list[str], Meta(max_length=MAX_BLOCK_TXS)]


class Block(msgspec.Struct, frozen=True):
    data: BlockData


class BlockAnswer(msgspec.Struct, frozen=True):
    block: Block


class Successions(msgspec.Struct, frozen=True):
    changes: Annotated[list[str], Meta(max_length=MAX_RPC_PAGE)]


class Broadcast(msgspec.Struct, frozen=True):
    code: int
    log: str


class TxProof(msgspec.Struct, frozen=True):
    hashes: str


class ExecResult(msgspec.Struct, frozen=True):
    code: int
    log: str


class TxAnswer(msgspec.Struct, frozen=True):
    height: HeightText
    index: int
    tx_result: ExecResult
    proof: TxProof


class ProofOp(msgspec.Struct, frozen=True):
    data: str


class ProofOps(msgspec.Struct, frozen=True):
    ops: list[ProofOp]


class QueryResponse(msgspec.Struct, frozen=True):
    code: int
    log: str
    value: str
    height: HeightText
    proof_ops: ProofOps | None = msgspec.field(name="proofOps", default=None)


class QueryAnswer(msgspec.Struct, frozen=True):
    response: QueryResponse


class NewsAnswer(msgspec.Struct, frozen=True):
    """Of one block: where nodes have something to look up (null: anywhere), and the brake after it with its proof."""

    changed: Annotated[list[Annotated[int, Meta(ge=0, le=U16)]], Meta(max_length=MAX_NEWS_SUBNETS)] | None
    brake: str
    proof: str


class HeaderEvent(HeaderAnswer, frozen=True):
    news: NewsAnswer | None = None


class EventData(msgspec.Struct, frozen=True):
    value: HeaderEvent


class EventResult(msgspec.Struct, frozen=True):
    data: EventData


class Event(msgspec.Struct, frozen=True):
    result: EventResult


_CODES: Final = frozenset(int(c) for c in TxCode)


def code_of(answer: Broadcast | QueryResponse) -> TxCode:
    """Why it was refused; INTERNAL where no code of this version says so."""
    return TxCode(answer.code) if answer.code in _CODES else TxCode.INTERNAL
