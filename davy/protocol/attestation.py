"""What a node signs when it obeys an order: which, when, and what it stopped. Drills are answered in the same way."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.limits import MAX_RECEIPT_BYTES, MAX_SERVED_MODELS
from davy.protocol.order import OrderId
from davy.protocol.ports import KeyStore
from davy.protocol.signing import Domain, verify
from davy.protocol.words import ChainId, Digest, Hotkey, KeyRole, ModelId, Signature, UnixMillis


class Attestation(Wire):
    """The node's word; `received` and `stopped` are its own clock's."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    order: OrderId
    node: Hotkey
    received: UnixMillis
    stopped: UnixMillis
    """When the last answer that the order covers had ended."""
    head: Digest
    """The node's brake head with the order in it."""
    models: Annotated[tuple[ModelId, ...], Meta(max_length=MAX_SERVED_MODELS)]
    """Models it served until then and that the order covers, sorted."""
    streams: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Answers that it broke off."""


class SignedAttestation(Wire):
    """An attestation's exact bytes and the node's signature in the domain ATTESTATION."""

    version: Annotated[int, Meta(ge=1, le=1)]
    attestation: Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)]
    signature: Signature


def sign_attestation(keys: KeyStore, a: Attestation) -> bytes:
    """Sign with the hotkey; return the canonical bytes of a `SignedAttestation`."""
    body = encode(a)
    return encode(SignedAttestation(1, body, keys.sign(KeyRole.HOTKEY, Domain.ATTESTATION, body)))


def open_attestation(raw: bytes) -> Attestation:
    """Decode a signed attestation and check the signature of the node it names.

    Raises
    ------
    TooLarge, Malformed, BadSignature
    """
    signed = decode(raw, SignedAttestation, limit=MAX_RECEIPT_BYTES)
    attestation = decode(signed.attestation, Attestation, limit=MAX_RECEIPT_BYTES)
    verify(attestation.node, Domain.ATTESTATION, signed.attestation, signed.signature)
    return attestation
