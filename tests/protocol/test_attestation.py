"""What a node signs when it obeys: it verifies under the node's key, and under nothing else."""

import hashlib

import pytest
from nacl import bindings

from davy.protocol.attestation import Attestation, SignedAttestation, open_attestation
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, TooLarge
from davy.protocol.limits import MAX_SERVED_MODELS
from davy.protocol.signing import Domain, sign

NODE, SECRET = bindings.crypto_sign_seed_keypair(hashlib.sha256(b"node").digest())
MOST = tuple(bytes([n]) * 32 for n in range(MAX_SERVED_MODELS))
WORD = encode(Attestation(1, bytes(32), b"\1" * 32, NODE, 5, 9, b"\2" * 32, MOST, 1_000_000))


def test_the_longest_one_opens() -> None:
    opened = open_attestation(encode(SignedAttestation(1, WORD, sign(SECRET, Domain.ATTESTATION, WORD))))
    assert (opened.node, opened.models, opened.stopped - opened.received) == (NODE, MOST, 4)


@pytest.mark.parametrize("domain", [Domain.RECEIPT, Domain.ORDER])
def test_another_domain_or_key_is_refused(domain: Domain) -> None:
    with pytest.raises(BadSignature):
        open_attestation(encode(SignedAttestation(1, WORD, sign(SECRET, domain, WORD))))
    other = bindings.crypto_sign_seed_keypair(bytes(32))[1]
    with pytest.raises(BadSignature):
        open_attestation(encode(SignedAttestation(1, WORD, sign(other, Domain.ATTESTATION, WORD))))


def test_junk_is_refused() -> None:
    with pytest.raises(Malformed):
        open_attestation(b"junk")
    with pytest.raises(TooLarge):
        open_attestation(bytes(10_000))
