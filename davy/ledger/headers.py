"""What makes a header one of this chain: who signed it, and its place after the one before.

There are two kinds, told apart by their version: a header of the one producer of an embedded ledger, signed by it, and
a header of a BFT engine with a commit of its producers (`davy.ledger.commits`).

May import: protocol. Used by the drivers when they open their files, and by a client for every header it is told.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from davy.ledger.commits import (
    CommittedHeader,
    address,
    check_commit,
    check_producers,
    committed_hash,
    in_order,
    merkle_root,
)
from davy.protocol.chain import Head, Header, SignedHeader, header_hash, txs_digest
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, Misdirected, Refused, Unauthorised
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.signing import Domain, verify
from davy.protocol.words import ChainId, Digest, PublicKey

MAX_SIGNED_HEADER_BYTES: Final = 2_048
MAX_COMMITTED_HEADER_BYTES: Final = 16 * 1024
"""The votes of 128 producers, and a header."""
_MAX_HEADER_BYTES: Final = 1_024
_TWO_THIRDS: Final = b"\x96\x02"
"""How a `CommittedHeader` begins: an array of six, version 2."""


class Authority(NamedTuple):
    """Whose headers count."""

    chain: ChainId
    producers: Collection[PublicKey]

    @classmethod
    def of(cls, g: Genesis) -> Authority:
        return cls(chain_id(g), frozenset(g.producers))


class OpenedHeader(NamedTuple):
    """A header, its hash, and the exact bytes it came in, signature or commit included.

    Of an engine's header, `header` holds what stands in both kinds: `txs` is the root over the hashes of the block's
    transactions, `producer` who proposed it.
    """

    header: Header
    hash: Digest
    raw: bytes
    committed: bool = False

    @property
    def head(self) -> Head:
        return Head(self.header.height, self.header.time, self.hash, self.header.app_hash)

    def names(self, hashes: list[bytes]) -> bool:
        """Whether these are the hashes of the block's transactions, in order."""
        return self.header.txs == (merkle_root(hashes) if self.committed else txs_digest(hashes))


def open_header(raw: bytes, authority: Authority, *, check_signature: bool = True) -> OpenedHeader:
    """Decode a header and check that this chain's producer, or more than two thirds of several, signed it.

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
    if raw[:2] == _TWO_THIRDS:
        return _open_committed(raw, authority, check_signature=check_signature)
    signed = decode(raw, SignedHeader, limit=MAX_SIGNED_HEADER_BYTES)
    header = decode(signed.header, Header, limit=_MAX_HEADER_BYTES)
    if header.chain != authority.chain:
        raise Misdirected("the header is of another chain; name the ledger of this one")
    if {header.producer} != set(authority.producers):
        raise Unauthorised("the header is signed by a key that makes no blocks here; ask another ledger")
    if check_signature:
        verify(header.producer, Domain.HEADER, signed.header, signed.signature)
    return OpenedHeader(header, header_hash(signed.header), raw)


def _open_committed(raw: bytes, authority: Authority, *, check_signature: bool) -> OpenedHeader:
    c = decode(raw, CommittedHeader, limit=MAX_COMMITTED_HEADER_BYTES)
    h, chain, producers = c.header, authority.chain, authority.producers
    check_producers(c, producers)
    block = committed_hash(h, chain)
    if check_signature:
        check_commit(c, block, chain, producers)
    proposer = next((key for key in in_order(producers) if address(key) == h.proposer), None)
    if proposer is None or len(h.app_hash) != 32 or len(h.data) != 32:
        raise Malformed(f"header {h.height} lacks its proposer, app hash or transactions; ask another ledger")
    time = h.seconds * 1_000 + h.nanos // 1_000_000
    header = Header(1, chain, h.height, time, h.last_block.hash or bytes(32), h.app_hash, h.data, proposer)
    return OpenedHeader(header, block, raw, committed=True)


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
