"""What a miner signs about each answer: who asked exactly what, what was answered, by which model, after which block.

The request's digest covers the raw body as received; the response's digest the raw body as sent. Of a stream it covers
each ``data:`` payload followed by LF, in order, comments and ``[DONE]`` left out.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import Malformed
from davy.protocol.limits import MAX_RECEIPT_BYTES
from davy.protocol.manifest import Identity
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import INT63, ChainId, Digest, Height, Hotkey, ModelId, Signature, UnixMillis

EMPTY_BRAKE_HEAD: Final = bytes(32)
"""The head of a brake that has seen no order."""


_ANCHOR_LINE: Final = re.compile(rb'"davy-anchor": (0|[1-9][0-9]{0,18}):([0-9a-f]{64})')


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


def receipt_digest(raw: bytes) -> Digest:
    """SHA-256 of a signed receipt's bytes in the domain RECEIPT."""
    return digest(Domain.RECEIPT, raw)


def request_anchor(base: bytes, request_id: Digest) -> Anchor:
    """The anchor in a request's signature base, which a receipt names by its digest.

    Raises
    ------
    Malformed
        Another digest, or not exactly one line that is an anchor (`davy.network.signed` says how it is written).
    """
    if digest(Domain.REQUEST, base) != request_id:
        raise Malformed("the receipt is for another request; send the signature base of the one it answers")
    lines = [line for line in base.split(b"\n") if line.startswith(b'"davy-anchor":')]
    found = _ANCHOR_LINE.fullmatch(lines[0]) if len(lines) == 1 else None
    if found is None or int(found[1]) > INT63:
        raise Malformed("the request has no anchor; send the signature base as it was signed")
    return Anchor(int(found[1]), bytes.fromhex(found[2].decode()))
