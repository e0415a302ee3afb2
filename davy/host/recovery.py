"""Recovery words: 24 words of BIP39 from which every role's key follows, each in its own domain.

seed(role) = HKDF-SHA-256(BIP39 seed, salt = "davy/mnemonic", info = "davy/key/" ‖ role). So a hotkey that leaks tells
nothing of the coldkey made from the same words.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from davy.protocol.errors import Malformed
from davy.protocol.ports import Entropy
from davy.protocol.words import KeyRole

WORDS: Final = 24


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")


def new_words(entropy: Entropy) -> str:
    """Return 24 new words, 256 bits of entropy."""
    return _english().to_mnemonic(entropy.bytes(32))


def seed_from_words(words: str, role: KeyRole) -> bytes:
    """Return the 32-byte Ed25519 seed of a role.

    Raises
    ------
    Malformed
        Not 24 words, a word that is not in the list, or a checksum that does not match.
    """
    split = words.lower().split()
    if len(split) != WORDS:
        raise Malformed(f"recovery takes {WORDS} words, {len(split)} were given; type all of them in order")
    unknown = [n for n, word in enumerate(split, 1) if word not in _english().wordlist]
    if unknown:
        raise Malformed(f"word {unknown[0]} is not in the BIP39 list; check its spelling")
    text = " ".join(split)
    if not _english().check(text):
        raise Malformed("these words do not belong together: one is wrong or two are swapped; check each of them")
    kdf = HKDF(SHA256(), 32, salt=b"davy/mnemonic", info=b"davy/key/" + role.value.encode())
    return kdf.derive(Mnemonic.to_seed(text))
