"""Signatures: RFC 8032's vectors in the frozen prefix, and every known way to make two verifiers disagree."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature
from davy.protocol.signing import Domain, prefix, sign, verify, verify_raw
from davy.protocol.transaction import SignedTx, Transfer, TxBody, open_tx, verify_tx

L = 2**252 + 27742317777372353535851937790883648493
"""Order of the base point."""
P = 2**255 - 19
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(bytes(32))

# RFC 8032 §7.1, tests 1 to 3: public key, message, signature.
RFC8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]

# Every encoding of a point of small order (libsodium's own list), canonical or not.
SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    (P - 1).to_bytes(32, "little"),
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
]


@pytest.mark.parametrize(("key", "message", "signature"), RFC8032)
def test_rfc8032(key: str, message: str, signature: str) -> None:
    verify_raw(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))
    with pytest.raises(BadSignature):
        verify_raw(bytes.fromhex(key), bytes.fromhex(message) + b"\0", bytes.fromhex(signature))


@given(st.binary(max_size=100), st.sampled_from(list(Domain)))
def test_a_signature_is_for_its_domain_body_and_key_only(body: bytes, domain: Domain) -> None:
    signature = sign(SECRET, domain, body)
    verify(PUBLIC, domain, body, signature)
    verify_raw(PUBLIC, prefix(domain) + body, signature)
    for other in set(Domain) - {domain}:
        with pytest.raises(BadSignature):
            verify(PUBLIC, other, body, signature)
    with pytest.raises(BadSignature):
        verify(PUBLIC, domain, body + b"\0", signature)
    with pytest.raises(BadSignature):
        verify(bindings.crypto_sign_seed_keypair(b"1" * 32)[0], domain, body, signature)


def test_every_flipped_bit_is_refused() -> None:
    signature = sign(SECRET, Domain.TX, b"body")
    for bit in range(512):
        other = bytearray(signature)
        other[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(BadSignature):
            verify(PUBLIC, Domain.TX, b"body", bytes(other))


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_wrong_lengths_are_refused(length: int) -> None:
    signature = (sign(SECRET, Domain.TX, b"body") * 2)[:length]
    with pytest.raises(BadSignature, match="64 bytes"):
        verify(PUBLIC, Domain.TX, b"body", signature)
    with pytest.raises(BadSignature, match="64 bytes"):
        verify((PUBLIC * 4)[:length], Domain.TX, b"body", sign(SECRET, Domain.TX, b"body"))


def test_a_scalar_beyond_the_order_is_refused() -> None:
    """S and s + L satisfy the same equation: accepting both would give one transaction many hashes."""
    signature = sign(SECRET, Domain.TX, b"body")
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    for k in (1, 2, 15):
        with pytest.raises(BadSignature):
            verify(PUBLIC, Domain.TX, b"body", r + (s + k * L).to_bytes(32, "little"))


@pytest.mark.parametrize("key", [k for y in SMALL_ORDER for k in (y, y[:31] + bytes([y[31] | 0x80]))])
def test_small_order_keys_sign_nothing(key: bytes) -> None:
    """With such a key R = identity, s = 0 satisfies the equation for every eighth message at least."""
    for message in (b"", b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i"):
        for r in SMALL_ORDER:
            with pytest.raises(BadSignature):
                verify_raw(key, message, r + bytes(32))


def test_the_equation_holds_to_the_point_and_not_but_for_its_cofactor() -> None:
    """Libraries differ in that, and so may a later version of this one: nodes would disagree about one signature."""
    add, base = bindings.crypto_core_ed25519_add, bindings.crypto_scalarmult_ed25519_base_noclamp
    small = next(y for y in SMALL_ORDER if y[:1] == b"\x26")  # of order 8
    a, r, message = (7).to_bytes(32, "little"), (9).to_bytes(32, "little"), b"body"

    def signed(key: bytes, nonce: bytes) -> bytes:
        h = bindings.crypto_core_ed25519_scalar_reduce(hashlib.sha512(nonce + key + message).digest())
        product = bindings.crypto_core_ed25519_scalar_mul(h, a)
        return nonce + bindings.crypto_core_ed25519_scalar_add(r, product)

    verify_raw(base(a), message, signed(base(a), base(r)))
    with pytest.raises(BadSignature):
        verify_raw(base(a), message, signed(base(a), add(base(r), small)))


def test_a_key_that_is_no_canonical_point_is_refused() -> None:
    signature = sign(SECRET, Domain.TX, b"")
    for y in (2, P + 2, P + 3, 2**255 - 1, 2**256 - 1):
        with pytest.raises(BadSignature):
            verify(y.to_bytes(32, "little"), Domain.TX, b"", signature)


def test_a_transaction_is_its_sender_s() -> None:
    body = encode(TxBody(1, bytes(32), PUBLIC, 0, Transfer(bytes(32), 1)))
    signed, opened = open_tx(encode(SignedTx(1, body, sign(SECRET, Domain.TX, body))))
    verify_tx(signed, opened)
    foreign = bindings.crypto_sign_seed_keypair(b"1" * 32)[1]
    signed, opened = open_tx(encode(SignedTx(1, body, sign(foreign, Domain.TX, body))))
    with pytest.raises(BadSignature):
        verify_tx(signed, opened)
