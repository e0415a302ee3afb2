"""Headers of a BFT engine: more than two thirds of the producers vouch for one by a signature each.

The header's hash and the bytes that are signed are CometBFT's (0.38; its documents `spec/core/data_structures.md` and
`spec/core/encoding.md`), made here from typed fields, so that a client needs neither protobuf nor the engine.
May import: protocol, and of the rules their editions.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Sequence
from typing import Annotated, Final

from msgspec import Meta

from davy.ledger.rules import upgrades
from davy.ledger.zip215 import strictly_verifies, verifies
from davy.protocol.encoding import Wire
from davy.protocol.errors import BadSignature, Unauthorised
from davy.protocol.words import ChainId, Digest, Height, PublicKey

_NONE_OR_HASH: Final = Meta(max_length=32)
_COMMITTED: Final = 2
_PRECOMMIT: Final = 2
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
"""Since 1970, of the years 1 to 9999: what a protobuf Timestamp can be."""
_SECONDS: Final = Meta(ge=0, le=_LAST_SECOND)
_VOTE_SECONDS: Final = Meta(ge=_FIRST_SECOND, le=_LAST_SECOND)
"""The engine bounds no vote's time further. What counts there has to count here: else blocks may lack votes here."""
_NANOS: Final = Meta(ge=0, le=999_999_999)
_PARTS: Final = Meta(ge=0, le=1 << 16)


class BlockId(Wire):
    """A block as votes name it: its header's hash, and the number and hash of the parts it was gossiped in."""

    hash: Annotated[bytes, _NONE_OR_HASH]
    parts: Annotated[int, _PARTS]
    parts_hash: Annotated[bytes, _NONE_OR_HASH]


class EngineHeader(Wire):
    """CometBFT's header but for the chain id, which the reader knows; in the order of its hash's leaves."""

    block_version: Annotated[int, Meta(ge=0, le=1 << 32)]
    app_version: Annotated[int, Meta(ge=0, le=1 << 32)]
    height: Height
    seconds: Annotated[int, _SECONDS]
    nanos: Annotated[int, _NANOS]
    last_block: BlockId
    last_commit: Annotated[bytes, _NONE_OR_HASH]
    data: Annotated[bytes, _NONE_OR_HASH]
    validators: Annotated[bytes, _NONE_OR_HASH]
    next_validators: Annotated[bytes, _NONE_OR_HASH]
    consensus: Annotated[bytes, _NONE_OR_HASH]
    app_hash: Annotated[bytes, _NONE_OR_HASH]
    last_results: Annotated[bytes, _NONE_OR_HASH]
    evidence: Annotated[bytes, _NONE_OR_HASH]
    proposer: Annotated[bytes, Meta(min_length=20, max_length=20)]


class Vote(Wire):
    """A producer's word on the block, in the order of `in_order`. `flag` 2: for it; otherwise there is no signature."""

    flag: Annotated[int, Meta(ge=1, le=3)]
    seconds: Annotated[int, _VOTE_SECONDS]
    nanos: Annotated[int, _NANOS]
    signature: Annotated[bytes, Meta(max_length=64)]


class CommittedHeader(Wire):
    """A header and the commit for it; version 1 is `davy.protocol.chain.SignedHeader`."""

    version: Annotated[int, Meta(ge=2, le=2)]
    header: EngineHeader
    round: Annotated[int, Meta(ge=0, le=1 << 31)]
    parts: Annotated[int, _PARTS]
    parts_hash: Annotated[bytes, _NONE_OR_HASH]
    votes: Annotated[tuple[Vote, ...], Meta(max_length=128)]


def engine_chain_id(chain: ChainId) -> str:
    """The chain id in the engine's words, of which it takes 50 characters: all 32 bytes in base64url, unpadded."""
    return urlsafe_b64encode(chain).rstrip(b"=").decode()


def address(producer: PublicKey) -> bytes:
    """The first 20 bytes of SHA-256(key): what the engine calls a producer by."""
    return hashlib.sha256(producer).digest()[:20]


def in_order(producers: Collection[PublicKey]) -> list[PublicKey]:
    """Producers of equal power in the engine's order: by address."""
    return sorted(producers, key=address)


def merkle_root(items: Sequence[bytes]) -> Digest:
    """RFC 6962's tree hash: SHA-256(0 ‖ leaf), SHA-256(1 ‖ left ‖ right), split at the largest power of two below n."""
    if not items:
        return hashlib.sha256(b"").digest()
    if len(items) == 1:
        return hashlib.sha256(b"\0" + items[0]).digest()
    split = 1 << (len(items) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(items[:split]) + merkle_root(items[split:])).digest()


def power(chain: ChainId) -> int:
    """What a producer's vote counts, the same for all: two.

    A block's time is the middle one of the votes for the block before, but the engine halves the sum of what they
    count and rounds down: with one each it takes the earliest of three, and a single slow clock holds time back. A
    chain of an older edition keeps that one.
    """
    return 2 if upgrades.edition(upgrades.begins(chain), 1) >= upgrades.MIDDLE_TIME_SINCE else 1


def producers_hash(producers: Collection[PublicKey], chain: ChainId) -> Digest:
    """What a header says of who may vote for it: the tree hash over (key, power) in order."""
    each = _number(2, power(chain))
    return merkle_root([_field(1, _field(1, key)) + each for key in in_order(producers)])


def committed_hash(h: EngineHeader, chain: ChainId) -> Digest:
    """The block's hash: the tree hash over the header's fields, each encoded as protobuf does it."""
    leaves = [
        _number(1, h.block_version) + _number(2, h.app_version),
        _field(1, engine_chain_id(chain).encode()),
        _number(1, h.height),
        _moment(h.seconds, h.nanos),
        _block_id(h.last_block),
        *(_field(1, x) if x else b"" for x in (h.last_commit, h.data, h.validators, h.next_validators, h.consensus)),
        *(_field(1, x) if x else b"" for x in (h.app_hash, h.last_results, h.evidence, h.proposer)),
    ]
    return merkle_root(leaves)


def check_commit(c: CommittedHeader, block: Digest, chain: ChainId, producers: Collection[PublicKey]) -> None:
    """Check that more than two thirds of the producers signed for this block.

    What libsodium refuses is looked at again (`zip215`), which takes long, only where the others are not enough, and
    only until the first that is wrong: the engine puts no vote into a commit that it has not verified.

    Raises
    ------
    BadSignature
        Fewer did.
    """
    wanted, found = 2 * len(producers) // 3 + 1, 0
    signed = BlockId(block, c.parts, c.parts_hash)
    doubtful: list[tuple[PublicKey, bytes, bytes]] = []
    for key, vote in zip(in_order(producers), c.votes, strict=False):
        if vote.flag == _COMMITTED:
            said = key, vote_bytes(signed, c.header.height, c.round, vote, chain), vote.signature
            if strictly_verifies(*said):
                found += 1
                if found == wanted:
                    return
            else:
                doubtful.append(said)
    if found + len(doubtful) >= wanted:
        for said in doubtful:
            if not verifies(*said):
                break
            found += 1
            if found == wanted:
                return
    raise BadSignature(
        f"block {c.header.height} is vouched for by {found} producers of {wanted} needed; ask another one"
    )


def check_producers(c: CommittedHeader, chain: ChainId, producers: Collection[PublicKey]) -> None:
    """Check that the header and its commit are of these producers.

    Raises
    ------
    Unauthorised
    """
    if c.header.validators != producers_hash(producers, chain) or len(c.votes) != len(producers):
        raise Unauthorised("the header names other producers than this chain has; ask another ledger")


def vote_bytes(block: BlockId, height: int, round_: int, vote: Vote, chain: ChainId) -> bytes:
    """What a producer signs: its precommit in canonical form, with its length before it."""
    body = (
        _number(1, _PRECOMMIT)
        + b"\x11"
        + height.to_bytes(8, "little")
        + (b"\x19" + round_.to_bytes(8, "little") if round_ else b"")
        + _field(4, _block_id(block))
        + _field(5, _moment(vote.seconds, vote.nanos))
        + _field(6, engine_chain_id(chain).encode())
    )
    return _varint(len(body)) + body


def _block_id(b: BlockId) -> bytes:
    parts = _number(1, b.parts) + (_field(2, b.parts_hash) if b.parts_hash else b"")
    return (_field(1, b.hash) if b.hash else b"") + _field(2, parts)


def _moment(seconds: int, nanos: int) -> bytes:
    return _number(1, seconds) + _number(2, nanos)


def _number(field: int, value: int) -> bytes:
    """A negative one as protobuf writes it: in two's complement of 64 bits."""
    return bytes([field << 3]) + _varint(value & (1 << 64) - 1) if value else b""


def _field(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
