"""How a receipt is made, travels, and is checked against what was really sent and got.

A whole answer carries it in the header ``davy-receipt``; a stream in a comment, ``: receipt <base64>``, after its last
event, which OpenAI's clients ignore. Both sides compute the digests from the bytes that crossed the wire.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.network.events import DONE, data_payloads
from davy.network.signed import Caller, anchor_text, request_id
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import BadSignature, Malformed, Misdirected, TooLarge
from davy.protocol.limits import MAX_HEADER_BYTES, MAX_RECEIPT_BYTES
from davy.protocol.manifest import Identity
from davy.protocol.ports import Frame, KeyStore, Response, SignedRequest
from davy.protocol.receipt import Outcome, Receipt, SignedReceipt, open_receipt
from davy.protocol.signing import Domain, digest, prefix
from davy.protocol.words import ChainId, Digest, Hotkey, KeyRole, ModelId, UnixMillis

RECEIPT_HEADER: Final = "davy-receipt"
_COMMENT: Final = b": receipt "


class StreamDigest:
    """SHA-256 in the domain RESPONSE_BODY over each ``data:`` payload + LF, in order, less comments and [DONE]."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(prefix(Domain.RESPONSE_BODY))

    def add(self, frame: Frame) -> None:
        for payload in data_payloads(frame):
            self.add_payload(payload)

    def add_payload(self, payload: bytes) -> None:
        if payload != DONE:
            self._hash.update(payload + b"\n")

    def value(self) -> Digest:
        return self._hash.digest()


def response_digest(body: bytes) -> Digest:
    """SHA-256 of a whole answer's raw body in the domain RESPONSE_BODY."""
    return digest(Domain.RESPONSE_BODY, body)


class Testimony(Wire):
    """What a miner signed for, with what it was asked: enough to convict one that served after a halt."""

    version: Annotated[int, Meta(ge=1, le=1)]
    request: Annotated[bytes, Meta(max_length=MAX_HEADER_BYTES)]
    """The request's signature base (`davy.network.signed.request_base`)."""
    receipt: Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)]
    """Bytes of a `SignedReceipt`."""


class Served(NamedTuple):
    """What a miner says of its answer, beyond whom it answers."""

    response_body: Digest
    """`response_digest`, or a `StreamDigest`'s value."""
    model_id: ModelId
    identity: Identity
    brake_head: Digest
    """The miner's own."""
    prompt_tokens: int
    completion_tokens: int
    outcome: Outcome
    created: UnixMillis


def make_receipt(keys: KeyStore, chain: ChainId, caller: Caller, request_body: bytes, served: Served) -> bytes:
    """Sign a receipt with the hotkey; return the canonical bytes of a `SignedReceipt`.

    Parameters
    ----------
    request_body
        The raw body as it was received.
    """
    receipt = Receipt(
        version=1,
        chain=chain,
        miner=keys.public(KeyRole.HOTKEY),
        caller=caller.hotkey,
        request_id=caller.request_id,
        request_body=digest(Domain.REQUEST_BODY, request_body),
        response_body=served.response_body,
        model_id=served.model_id,
        identity=served.identity,
        anchor=caller.anchor,
        brake_head=served.brake_head,
        prompt_tokens=served.prompt_tokens,
        completion_tokens=served.completion_tokens,
        outcome=served.outcome,
        created=served.created,
    )
    body = encode(receipt)
    return encode(SignedReceipt(1, body, keys.sign(KeyRole.HOTKEY, Domain.RECEIPT, body)))


def check_receipt(raw: bytes, *, sent: SignedRequest, miner: Hotkey, response_body: Digest) -> Receipt:
    """Return the receipt if this miner signed it for exactly this request and this answer.

    Chain, caller and anchor are those of the request that was sent. What the receipt says of model, identity, tokens,
    outcome, brake head and time is the miner's word: whoever asked compares it with what was asked for.

    Parameters
    ----------
    sent
        The request as `sign_request` returned it; it is trusted.
    response_body
        Digest of what arrived: `response_digest`, or a `StreamDigest`'s value.

    Raises
    ------
    TooLarge, Malformed
        No receipt.
    BadSignature
        Not signed by the miner, or over another request or answer.
    Misdirected
        For another chain or caller.
    """
    receipt = open_receipt(raw)
    fields = dict(sent.headers)
    if receipt.miner != miner:
        raise BadSignature("the receipt is signed by another miner than was asked")
    signer = f';keyid="{receipt.caller.hex()}";'
    if receipt.chain.hex() != fields.get("davy-chain") or signer not in fields.get("signature-input", ""):
        raise Misdirected("the receipt is for another chain or caller")
    if receipt.request_id != request_id(sent) or anchor_text(receipt.anchor) != fields.get("davy-anchor"):
        raise BadSignature("the receipt is for another request")
    if receipt.request_body != digest(Domain.REQUEST_BODY, sent.body):
        raise BadSignature("the miner received another request body than was sent")
    if receipt.response_body != response_body:
        raise BadSignature("the receipt is for another answer than the one that arrived")
    return receipt


def receipt_header(raw: bytes) -> tuple[str, str]:
    """Return the header field that carries a receipt beside a whole answer."""
    return RECEIPT_HEADER, base64.b64encode(raw).decode()


def receipt_frame(raw: bytes) -> Frame:
    """Return the comment that carries a receipt after the last event of a stream."""
    return _COMMENT + base64.b64encode(raw)


def receipt_of(response: Response) -> bytes | None:
    """Return the receipt that came with a whole answer; None if there is none.

    Raises
    ------
    TooLarge, Malformed
        More than one, or one that is no base64 within bounds.
    """
    found = [value for name, value in response.headers if name == RECEIPT_HEADER]
    if len(found) > 1:
        raise Malformed("an answer came with more than one receipt")
    return _decode(found[0].encode(errors="replace")) if found else None


def receipt_in(frame: Frame) -> bytes | None:
    """Return the receipt that a frame of a stream carries; None if it is another frame.

    Raises
    ------
    TooLarge, Malformed
        See `receipt_of`.
    """
    return _decode(frame.removeprefix(_COMMENT)) if frame.startswith(_COMMENT) else None


def _decode(text: bytes) -> bytes:
    if len(text) > 2 * MAX_RECEIPT_BYTES:
        raise TooLarge(f"a receipt holds at most {MAX_RECEIPT_BYTES} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Malformed("a receipt is base64; this one is not") from None
