"""Recovery words: standard BIP39, one seed a role, and every slip of the pen refused."""

import hashlib
import hmac

import pytest

from davy.host.recovery import new_words, seed_from_words
from davy.protocol.errors import Malformed
from davy.protocol.ports import Entropy
from davy.protocol.words import KeyRole

# BIP39's published vector for 32 bytes of 7f.
WORDS = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title"  # noqa: E501


def test_the_words_are_those_of_the_standard() -> None:
    class Fixed:
        def bytes(self, n: int) -> bytes:
            return b"\x7f" * n

    assert new_words(Fixed()) == WORDS


@pytest.mark.parametrize("role", KeyRole)
def test_a_seed_is_bip39_then_hkdf_in_the_role_s_domain(role: KeyRole) -> None:
    bip39 = hashlib.pbkdf2_hmac("sha512", WORDS.encode(), b"mnemonic", 2048)
    extracted = hmac.digest(b"davy/mnemonic", bip39, "sha256")
    expected = hmac.digest(extracted, b"davy/key/" + role.value.encode() + b"\1", "sha256")
    assert seed_from_words(WORDS, role) == expected


def test_seeds_are_frozen_and_differ_by_role() -> None:
    assert {role: seed_from_words(WORDS, role).hex() for role in KeyRole} == {
        KeyRole.COLDKEY: "c10a2b244853e2256ea515f313b2bd58b342ce3402806dcedd4e9a611a0497ec",
        KeyRole.HOTKEY: "cde0a9bb3ccaeee2b8af20f5436cd7847a4839e3d5dbcb727a048600e2233b66",
        KeyRole.PRODUCER: "dcdb4bced10634b35d5a1c39443dba5bb6abae351a73ecdc8ca23787a0feb064",
        KeyRole.KEYHOLDER: "4abc9e4cebb208affc7792b4384e414c351c4b7d2657526240f5dd6d0cd1dab9",
    }


def test_case_and_spaces_do_not_matter(entropy: Entropy) -> None:
    words = new_words(entropy)
    typed = "  " + words.upper().replace(" ", " \n ")
    assert seed_from_words(typed, KeyRole.HOTKEY) == seed_from_words(words, KeyRole.HOTKEY)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "24 words, 0 were given"),
        (" ".join(WORDS.split()[:23]), "23 were given"),
        (WORDS.replace("sausage", "sausages", 1), "word 6 is not in the BIP39 list"),
        (WORDS.replace("legal winner", "winner legal", 1), "do not belong together"),
        (WORDS.replace("title", "useful"), "do not belong together"),
    ],
)
def test_a_slip_is_refused(typed: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        seed_from_words(typed, KeyRole.COLDKEY)
