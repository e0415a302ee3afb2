"""What makes a header one of this chain: its producer's signature, and its place after the one before.

May import: protocol. Used by the embedded driver when it opens its file, and by a client for every header it is told.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from davy.protocol.chain import Head, Header, SignedHeader, header_hash
from davy.protocol.encoding import decode
from davy.protocol.errors import Misdirected, Refused, Unauthorised
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.signing import Domain, verify
from davy.protocol.words import ChainId, Digest, PublicKey

MAX_SIGNED_HEADER_BYTES: Final = 2_048
_MAX_HEADER_BYTES: Final = 1_024


class Authority(NamedTuple):
    """Whose headers count."""

    chain: ChainId
    producers: Collection[PublicKey]

    @classmethod
    def of(cls, g: Genesis) -> Authority:
        return cls(chain_id(g), frozenset(g.producers))


class OpenedHeader(NamedTuple):
    """A header, its hash, and the exact bytes it came in, signature included."""

    header: Header
    hash: Digest
    raw: bytes

    @property
    def head(self) -> Head:
        return Head(self.header.height, self.header.time, self.hash, self.header.app_hash)


def open_header(raw: bytes, authority: Authority, *, check_signature: bool = True) -> OpenedHeader:
    """Decode a signed header and check that this chain's producer signed it.

    Parameters
    ----------
    check_signature
        False where a later header, whose signature is checked, names this one's hash.

    Raises
    ------
    TooLarge, Malformed, BadSignature
    Misdirected
        Of another chain.
    Unauthorised
        By a key that is no producer of this chain.
    """
    signed = decode(raw, SignedHeader, limit=MAX_SIGNED_HEADER_BYTES)
    header = decode(signed.header, Header, limit=_MAX_HEADER_BYTES)
    if header.chain != authority.chain:
        raise Misdirected("the header is of another chain; name the ledger of this one")
    if header.producer not in authority.producers:
        raise Unauthorised("the header is signed by a key that makes no blocks here; ask another ledger")
    if check_signature:
        verify(header.producer, Domain.HEADER, signed.header, signed.signature)
    return OpenedHeader(header, header_hash(signed.header), raw)


def origin(g: Genesis) -> Head:
    """The head before the first block: height 0, a hash of zeros."""
    return Head(0, g.time, bytes(32), bytes(32))


def check_follows(before: Head, after: OpenedHeader) -> None:
    """Check that a header is the next one.

    Raises
    ------
    Refused
        Another height, another history, or a time that did not rise.
    """
    h = after.header
    if h.height != before.height + 1:
        raise Refused(f"header {h.height} came where {before.height + 1} belongs; ask again")
    if h.previous != before.hash or h.time <= before.time:
        raise Refused(f"header {h.height} does not continue block {before.height}: this ledger tells two histories")
