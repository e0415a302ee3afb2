"""What makes a header one of this chain: who signed it, and its place after the one before.

There are two kinds, told apart by their version: a header of the one producer of an embedded ledger, signed by it, and
a header of a BFT engine with a commit of its producers (`davy.ledger.commits`).

May import: protocol. Used by the drivers when they open their files, and by a client for every header it is told.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple, Self

from davy.ledger.commits import (
    CommittedHeader,
    address,
    check_commit,
    check_producers,
    committed_hash,
    in_order,
    merkle_root,
    producers_hash,
)
from davy.protocol.chain import Head, Header, SignedHeader, Succession, header_hash, txs_digest
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, Misdirected, Refused, Unauthorised
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES
from davy.protocol.signing import Domain, verify
from davy.protocol.words import ChainId, Digest, Height, PublicKey

MAX_SIGNED_HEADER_BYTES: Final = 2_048
_MAX_HEADER_BYTES: Final = 1_024
_TWO_THIRDS: Final = b"\x96\x02"
"""How a `CommittedHeader` begins: an array of six, version 2."""


class Authority(NamedTuple):
    """Whose headers count: the producers of the genesis, and after each height of `changes` others."""

    chain: ChainId
    producers: Collection[PublicKey]
    changes: tuple[tuple[Height, Collection[PublicKey]], ...] = ()
    """The first height that a set signs, and the set; rising."""

    @classmethod
    def of(cls, g: Genesis) -> Authority:
        return cls(chain_id(g), frozenset(g.producers))

    def at(self, height: Height) -> Collection[PublicKey]:
        """Who signs the header of a height, as far as changes are known."""
        return next((keys for since, keys in reversed(self.changes) if since <= height), self.producers)

    def after(self, change: Succession) -> Self:
        """Take in the next change.

        Raises
        ------
        TooLarge, Malformed, BadSignature
        Unauthorised
            Those before did not sign it, or it names others.
        Refused
            It does not come after the changes that are known.
        """
        opened = open_header(change.header, self)
        if not opened.committed:
            raise Unauthorised("the one producer of this chain never changes; ask another ledger")
        h = decode(change.header, CommittedHeader, limit=MAX_COMMITTED_HEADER_BYTES).header
        if self.changes and h.height < self.changes[-1][0]:
            raise Refused(f"the change after block {h.height} came out of turn; ask again")
        if len(set(change.producers)) < len(change.producers):
            raise Unauthorised(f"header {h.height} names a producer twice; ask another ledger")
        if h.next_validators == h.validators or h.next_validators != producers_hash(change.producers, self.chain):
            raise Unauthorised(f"header {h.height} does not make these the producers; ask another ledger")
        return self._replace(changes=(*self.changes, (h.height + 1, frozenset(change.producers))))


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
    h, chain, producers = c.header, authority.chain, authority.at(c.header.height)
    check_producers(c, chain, producers)
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
