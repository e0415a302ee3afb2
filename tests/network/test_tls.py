"""A certificate is a function of its seed; its fingerprint is what every tool prints."""

import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from davy.network.certificate import CertificateFiles, make_certificate, read_fingerprint
from davy.network.tls import pin, server_context
from davy.protocol.errors import Misconfigured


def test_a_seed_gives_one_certificate() -> None:
    a, b = make_certificate(bytes(32)), make_certificate(bytes(32))
    assert a == b
    assert make_certificate(bytes([1]) * 32).fingerprint != a.fingerprint


def test_the_fingerprint_is_the_sha_256_of_the_der(tmp_path: Path) -> None:
    c = make_certificate(bytes(32))
    der = ssl.PEM_cert_to_DER_cert(c.certificate.decode())
    assert hashlib.sha256(der).digest() == c.fingerprint
    (tmp_path / "c.pem").write_bytes(c.certificate)
    assert read_fingerprint(tmp_path / "c.pem") == c.fingerprint


def test_the_certificate_is_signed_by_its_own_key() -> None:
    c = make_certificate(bytes(32))
    read = x509.load_pem_x509_certificate(c.certificate)
    read.verify_directly_issued_by(read)
    assert load_pem_private_key(c.key, None).public_key() == read.public_key()
    assert read.not_valid_after_utc.year == 9999


def test_files_that_are_none(tmp_path: Path) -> None:
    nothing, garbage = tmp_path / "nothing", tmp_path / "garbage"
    garbage.write_bytes(b"garbage")
    for path in (nothing, garbage):
        with pytest.raises(Misconfigured):
            read_fingerprint(path)
        with pytest.raises(Misconfigured):
            server_context(CertificateFiles(path, path))


def test_one_pin_a_record() -> None:
    """aiohttp keeps connections by the pin's identity."""
    assert pin(bytes(32), b"") is pin(bytes(32), b"")
    assert pin(bytes(32), b"") is not pin(bytes(32), bytes(32))
