"""Domains, digests, signatures: SHA-256 and Ed25519 with a prefix for every use, so that no bytes mean two things.

One verifier only, libsodium through PyNaCl: it refuses small-order keys, non-canonical points and s ≥ L, where
others do not, and two verifiers that disagree fork a network.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from nacl import bindings
from nacl.exceptions import CryptoError

from davy.protocol.errors import BadSignature


class Domain(StrEnum):
    """Every use of a digest or a signature; the strings are frozen."""

    GENESIS = "genesis"
    TX = "tx"
    HEADER = "header"
    TXS = "txs"
    STATE_LEAF = "state-leaf"
    STATE_NODE = "state-node"
    MANIFEST = "manifest"
    FILE = "file"
    CONSENT = "register-consent"
    COMMIT = "weights-commit"
    SUBJECT = "weights-subject"
    REQUEST_BODY = "request-body"
    RESPONSE_BODY = "response-body"
    RECEIPT = "receipt"
    PARAMETERS = "parameters"
    ORDER = "brake-order"
    ROSTER = "keyholder-roster"
    REASON = "brake-reason"
    BRAKE_HEAD = "brake-head"
    RECORDED = "brake-recorded"
    ATTESTATION = "stop-attestation"
    TICKET = "ticket"
    REQUEST = "request"
    DKG_SESSION = "dkg-session"
    DKG_ROUND1 = "dkg-round1"
    DKG_ECHO = "dkg-echo"
    DKG_HELLO = "dkg-hello"
    REFRESH = "share-refresh"
    REPAIR = "share-repair"
    CIRCLE = "keyholder-circle"
    CHILD = "child-consent"
    SUCCESSOR = "coldkey-successor"
    SUCCESSION = "coldkey-succession"
    BUDGET = "budget"
    GENERATION = "share-generation"
    STAGED = "shares-staged"
    MEND_HELLO = "mend-hello"
    SHEET = "carried-question"
    PRODUCER = "producer-consent"
    SHEET_ANSWER = "carried-answer"
    REHEARSAL = "order-rehearsal"
    ACCESSION = "roster-accession"
    GOSSIP = "gossip-identity"
    SEATS = "producer-seats"

    prefix: bytes
    """What stands before the bytes of this domain: ``davy/<domain>`` and one zero byte."""

    def __init__(self, name: str) -> None:
        self.prefix = b"davy/" + name.encode() + b"\0"


def prefix(domain: Domain) -> bytes:
    """Return `domain.prefix`."""
    return domain.prefix


def digest(domain: Domain, data: bytes) -> bytes:
    """SHA-256(prefix(domain) ‖ data), 32 bytes."""
    return hashlib.sha256(domain.prefix + data).digest()


def sign(secret: bytes, domain: Domain, body: bytes) -> bytes:
    """Ed25519 over prefix(domain) ‖ body.

    Parameters
    ----------
    secret
        libsodium's 64-byte secret key (seed ‖ public key).
    """
    return bindings.crypto_sign(domain.prefix + body, secret)[:64]


def verify(public: bytes, domain: Domain, body: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature over prefix(domain) ‖ body.

    Raises
    ------
    BadSignature
        Empty, of a wrong length, by another key, over other bytes, or in a non-canonical form.
    """
    verify_raw(public, domain.prefix + body, signature)


def verify_raw(public: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature over bytes that carry their domain in themselves (RFC 9421's signature base).

    Raises
    ------
    BadSignature
        See `verify`.
    """
    if len(signature) != 64 or len(public) != 32:
        raise BadSignature("a signature of 64 bytes by a key of 32 bytes is needed; sign the request")
    try:
        bindings.crypto_sign_open(signature + message, public)
    except (CryptoError, ValueError):
        raise BadSignature("the signature does not belong to these bytes and this key; sign again") from None


def is_key(public: bytes) -> bool:
    """Whether these are the canonical bytes of a point of Ed25519's prime-order subgroup other than the identity."""
    return len(public) == 32 and bindings.crypto_core_ed25519_is_valid_point(public)
