"""An answer as it arrived, whole or in pieces, with the receipt that came with it: both are read and scored alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from davy.network.events import DONE, data_payloads
from davy.network.openai import Choice, CompletionResponse, Logprobs, parse_response
from davy.network.receipts import StreamDigest, receipt_in, receipt_of, response_digest
from davy.protocol.errors import BadAnswer
from davy.protocol.ports import Frame, Response, SignedRequest
from davy.protocol.words import Digest


class Arrived(NamedTuple):
    """What came back, and what a receipt for it must say."""

    sent: SignedRequest
    response: CompletionResponse
    receipt: bytes | None
    digest: Digest


def whole(sent: SignedRequest, answer: Response) -> Arrived:
    """Read an answer in one piece.

    Raises
    ------
    TooLarge, Malformed
    """
    return Arrived(sent, parse_response(answer.body), receipt_of(answer), response_digest(answer.body))


def joined(sent: SignedRequest, frames: Sequence[Frame]) -> Arrived:
    """Read a stream, and put its chunks together to what the same answer would be in one piece.

    Raises
    ------
    TooLarge, Malformed, BadAnswer
        A frame cannot be read (an error event is no chunk), there is no chunk, or more than one receipt.
    """
    said = StreamDigest()
    receipts: list[bytes] = []
    chunks: list[CompletionResponse] = []
    for frame in frames:
        said.add(frame)
        found = receipt_in(frame)
        if found is not None:
            receipts.append(found)
        chunks += [parse_response(payload) for payload in data_payloads(frame) if payload != DONE]
    if not chunks or len(receipts) > 1:
        raise BadAnswer(f"a stream of {len(chunks)} chunks with {len(receipts)} receipts is not an answer")
    return Arrived(sent, joined_chunks(chunks), receipts[0] if receipts else None, said.value())


def joined_chunks(chunks: Sequence[CompletionResponse]) -> CompletionResponse:
    """Put the chunks of a stream together.

    Raises
    ------
    BadAnswer
        There is none.
    """
    if not chunks:
        raise BadAnswer("a stream without a chunk is not an answer")
    parts = [choice for chunk in chunks for choice in chunk.choices]
    first, usage = chunks[0], next((c.usage for c in reversed(chunks) if c.usage), None)
    return CompletionResponse(first.id, first.created, first.model, _one(parts), usage=usage)


def _one(parts: Sequence[Choice]) -> list[Choice]:
    if not parts:
        return []
    logs = [p.logprobs for p in parts if p.logprobs is not None]
    log = Logprobs(
        [t for x in logs for t in x.tokens],
        [v for x in logs for v in x.token_logprobs],
        [top for x in logs for top in x.top_logprobs],
        [at for x in logs for at in x.text_offset],
    )
    finish = next((p.finish_reason for p in reversed(parts) if p.finish_reason), None)
    return [Choice(parts[0].index, "".join(p.text for p in parts), log if logs else None, finish)]
