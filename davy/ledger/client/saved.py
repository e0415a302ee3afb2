"""A proof that was kept, checked against nothing but the chain id: no ledger is asked, and none is believed."""

from __future__ import annotations

from typing import NamedTuple

from davy.ledger.headers import Authority, open_header
from davy.protocol.chain import SavedProof
from davy.protocol.encoding import decode
from davy.protocol.errors import Misdirected, Refused
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_GENESIS_BYTES, MAX_SAVED_PROOF_BYTES
from davy.protocol.proof import check_proof
from davy.protocol.words import ChainId, Height, UnixMillis


class Shown(NamedTuple):
    """What a proof shows: the state after block `height` held `value` at `key`, or, where it is None, nothing.

    `time` is that of the header after the block, which names the state.
    """

    height: Height
    time: UnixMillis
    key: bytes
    value: bytes | None


def check_saved(raw: bytes, chain: ChainId) -> Shown:
    """Check a proof's bytes: the genesis is the chain's, its producers or those after them signed.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Misdirected, Unauthorised, Refused
        It proves nothing on this chain.
    """
    saved = decode(raw, SavedProof, limit=MAX_SAVED_PROOF_BYTES)
    genesis = decode(saved.genesis, Genesis, limit=MAX_GENESIS_BYTES)
    if chain_id(genesis) != chain:
        raise Misdirected("the proof is of another chain; name the network that it is of")
    authority = Authority.of(genesis)
    for change in saved.changes:
        authority = authority.after(change)
    header = open_header(saved.header, authority).header
    if header.height < 1:
        raise Refused("the proof names no block; ask for it again")
    value = saved.value[0] if saved.value else None
    check_proof(header.app_hash, saved.key, value, saved.proof)
    return Shown(header.height - 1, header.time, saved.key, value)
