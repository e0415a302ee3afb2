"""Proofs of presence and absence against an app hash: what a client checks, and the hashes the ledger's map is made of.

The map is a crit-bit trie over the keys' raw bytes: every inner node splits at one critical bit, left 0 and right 1,
and bits rise from the root to the leaves. Its shape depends on its contents alone, and its leaves stand in key order. A
key that is absent is proved by the leaf where the search for it ends: an honest map would have it there.
"""

from __future__ import annotations

import hashlib
from typing import Final

from davy.protocol.chain import Proof
from davy.protocol.errors import Refused
from davy.protocol.signing import Domain, digest
from davy.protocol.words import Digest

EMPTY_ROOT: Final = digest(Domain.STATE_NODE, b"")
"""The app hash of a map with no keys."""
_VALUE: Final = Domain.STATE_LEAF.prefix
_LEAF: Final = Domain.STATE_NODE.prefix + b"\0"
_NODE: Final = Domain.STATE_NODE.prefix + b"\1"
# Three times `digest` with its prefix at hand: a block hashes some thousand times.


def value_hash(value: bytes) -> bytes:
    """SHA-256 of a value's bytes in the domain STATE_LEAF."""
    return hashlib.sha256(_VALUE + value).digest()


def leaf_hash(key: bytes, hashed_value: bytes) -> bytes:
    """Hash of a leaf: 00 ‖ len(key) as 2 bytes big-endian ‖ key ‖ value hash, in the domain STATE_NODE."""
    return hashlib.sha256(_LEAF + len(key).to_bytes(2, "big") + key + hashed_value).digest()


def node_hash(bit: int, left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: 01 ‖ critical bit as 2 bytes big-endian ‖ left ‖ right, in the domain STATE_NODE."""
    return hashlib.sha256(_NODE + bit.to_bytes(2, "big") + left + right).digest()


def key_bit(key: bytes, bit: int) -> int:
    """Bit `bit` of a key, the first byte's highest being 0; keys are followed by endless zeros."""
    byte = bit >> 3
    return (key[byte] >> (7 - (bit & 7))) & 1 if byte < len(key) else 0


def root_of(key: bytes, value: bytes | None, proof: Proof) -> Digest:
    """The app hash of the state that a proof is of, if it shows that `value`, or nothing where None, stands at `key`.

    Raises
    ------
    Refused
        It is for another key or value.
    """
    if value is None:
        if proof.leaf_key == key:
            raise Refused("the proof shows that the key is present")
        if not proof.leaf_key and not proof.steps:
            return EMPTY_ROOT
    elif proof.leaf_key != key or proof.leaf_value != value_hash(value):
        raise Refused("the proof is not for this key and value; ask for it again")
    here, last = leaf_hash(proof.leaf_key, proof.leaf_value), 1 << 16
    for step in proof.steps:
        side = key_bit(key, step.bit)
        if step.bit >= last or key_bit(proof.leaf_key, step.bit) != side:
            raise Refused("the proof does not follow the key; ask for it again")
        here = node_hash(step.bit, step.sibling, here) if side else node_hash(step.bit, here, step.sibling)
        last = step.bit
    return here


def verify_presence(app_hash: bytes, key: bytes, value: bytes, proof: Proof) -> None:
    """Check that the state under `app_hash` holds `value` at `key`.

    Raises
    ------
    Refused
        The proof is for another key, another value or another state.
    """
    check_proof(app_hash, key, value, proof)


def verify_absence(app_hash: bytes, key: bytes, proof: Proof) -> None:
    """Check that the state under `app_hash` holds nothing at `key`.

    Raises
    ------
    Refused
        The key is present, or the proof is for another key or another state.
    """
    check_proof(app_hash, key, None, proof)


def check_proof(app_hash: bytes, key: bytes, value: bytes | None, proof: Proof) -> None:
    """Check that the state under `app_hash` holds `value`, or nothing where it is None, at `key`.

    Raises
    ------
    Refused
        See `root_of`; or the proof is for another state.
    """
    if root_of(key, value, proof) != app_hash:
        raise Refused("the proof does not lead to this app hash; ask for one at the right height")
