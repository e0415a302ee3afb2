"""A request and its answer with the receipt: enough for anybody to check later what a miner gave to whom.

Nobody has to be believed for it: the miner signed both bodies, the model and whom it answered. So it does not matter
how an exchange travels. What it cannot show is what else was asked: whoever hands exchanges on may choose among them.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.network.openai import CompletionRequest, parse_request
from davy.network.receipts import StreamDigest, response_digest
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import BadSignature, Malformed, Misdirected
from davy.protocol.limits import MAX_RECEIPT_BYTES, MAX_REQUEST_BYTES
from davy.protocol.ports import Store
from davy.protocol.receipt import Receipt, open_receipt
from davy.protocol.signing import Domain, digest
from davy.protocol.words import ChainId, Height

MAX_ANSWER_BYTES: Final = 128 * 1024
"""Of an exchange that is kept: longer answers are not."""
MAX_PIECES: Final = 4_096
BATCH: Final = 16
BATCHES: Final = 64
_MAX_BATCH_BYTES: Final = BATCH * (MAX_REQUEST_BYTES + 2 * MAX_ANSWER_BYTES + 2 * MAX_RECEIPT_BYTES)


class Exchange(Wire):
    """The raw bytes of both directions. `answer` is one whole body, or a stream's payloads in order less [DONE]."""

    version: Annotated[int, Meta(ge=1, le=1)]
    request: Annotated[bytes, Meta(max_length=MAX_REQUEST_BYTES)]
    streamed: bool
    answer: Annotated[tuple[bytes, ...], Meta(max_length=MAX_PIECES)]
    receipt: Annotated[bytes, Meta(max_length=2 * MAX_RECEIPT_BYTES)]


class Opened(NamedTuple):
    """What an exchange shows once its receipt was checked."""

    receipt: Receipt
    asked: CompletionRequest


def open_exchange(e: Exchange, chain: ChainId) -> Opened:
    """Check that the miner signed exactly this request and this answer, on this chain.

    Raises
    ------
    TooLarge, Malformed
        No receipt, no completion request, or an answer in other pieces than the request asks for.
    BadSignature
        Not signed by the miner it names, or over another request or answer.
    Misdirected
        For another chain.
    """
    receipt = open_receipt(e.receipt)
    if receipt.chain != chain:
        raise Misdirected("the receipt is for another chain")
    if receipt.request_body != digest(Domain.REQUEST_BODY, e.request):
        raise BadSignature("the receipt is for another request")
    if receipt.response_body != _answer_digest(e):
        raise BadSignature("the receipt is for another answer")
    asked = parse_request(e.request)
    # The digests of a stream and of a whole answer, or of two cuts of one stream, may be equal: one reading is allowed.
    cut_anew = any(b"\n" in payload for payload in e.answer) if e.streamed else len(e.answer) != 1
    if e.streamed != asked.stream or cut_anew:
        raise Malformed("the answer is not in the pieces that were asked for")
    return Opened(receipt, asked)


def _answer_digest(e: Exchange) -> bytes:
    if not e.streamed:
        return response_digest(b"".join(e.answer))
    said = StreamDigest()
    for payload in e.answer:
        said.add_payload(payload)
    return said.value()


class _Batch(Wire):
    version: Annotated[int, Meta(ge=1, le=1)]
    number: Height
    exchanges: Annotated[tuple[Exchange, ...], Meta(max_length=BATCH)]


class Exchanges:
    """The last `BATCHES` batches of exchanges in a store; written by one node, read by any."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, exchanges: tuple[Exchange, ...]) -> None:
        """Keep some, `BATCH` at most; the oldest batch goes.

        Raises
        ------
        StoreFailed
        """
        number = await self._newest() + 1
        await self._store.put(_place(number), encode(_Batch(1, number, exchanges)))
        await self._store.put(_NEWEST, number.to_bytes(8))

    async def after(self, number: int) -> tuple[int, list[Exchange]]:
        """What was added after a batch's number, and the newest number; begin with 0.

        Raises
        ------
        StoreFailed
        """
        newest = await self._newest()
        if newest < number:  # another store lies there now
            number = 0
        found: list[Exchange] = []
        for n in range(max(number, newest - BATCHES) + 1, newest + 1):
            raw = await self._store.get(_place(n))
            batch = None if raw is None else decode(raw, _Batch, limit=_MAX_BATCH_BYTES)
            if batch is not None and batch.number == n:  # else it was written over meanwhile
                found += batch.exchanges
        return newest, found

    async def _newest(self) -> int:
        return int.from_bytes(await self._store.get(_NEWEST) or b"")


_NEWEST: Final = b"exchanges/newest"


def _place(number: int) -> bytes:
    return b"exchanges/%d" % (number % BATCHES)
