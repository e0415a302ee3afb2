"""What a miner signs about each answer: who asked exactly what, what was answered, by which model, after which block.

The request's digest covers the raw body as received; the response's digest the raw body as sent. Of a stream it covers
each ``data:`` payload followed by LF, in order, comments and ``[DONE]`` left out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from davy.protocol.encoding import Wire, decode
from davy.protocol.limits import MAX_RECEIPT_BYTES
from davy.protocol.manifest import Identity
from davy.protocol.signing import Domain, verify
from davy.protocol.words import ChainId, Digest, Height, Hotkey, ModelId, Signature, UnixMillis

EMPTY_BRAKE_HEAD: Final = bytes(32)
"""The head of a brake that has seen no order."""


class Anchor(Wire):
    """A block the sender of a request knew: the answer to it is no older."""

    height: Height
    hash: Digest


class Outcome(StrEnum):
    """How an answer ended."""

    DONE = "done"
    HALTED = "halted"
    CANCELLED = "cancelled"


class Receipt(Wire):
    """The miner's word. `request_id` is the digest of the request's signature base: a receipt answers one request."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    miner: Hotkey
    caller: Hotkey
    request_id: Digest
    request_body: Digest
    response_body: Digest
    model_id: ModelId
    identity: Identity
    anchor: Anchor
    """Copied from the request."""
    brake_head: Digest
    prompt_tokens: Annotated[int, Meta(ge=0, le=1_000_000)]
    completion_tokens: Annotated[int, Meta(ge=0, le=1_000_000)]
    outcome: Outcome
    created: UnixMillis


class SignedReceipt(Wire):
    """A receipt's exact bytes and the miner's signature in the domain RECEIPT."""

    version: Annotated[int, Meta(ge=1, le=1)]
    receipt: Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)]
    signature: Signature


def open_receipt(raw: bytes) -> Receipt:
    """Decode a signed receipt and check the signature of the miner it names.

    Raises
    ------
    TooLarge, Malformed, BadSignature
    """
    signed = decode(raw, SignedReceipt, limit=MAX_RECEIPT_BYTES)
    receipt = decode(signed.receipt, Receipt, limit=MAX_RECEIPT_BYTES)
    verify(receipt.miner, Domain.RECEIPT, signed.receipt, signed.signature)
    return receipt
