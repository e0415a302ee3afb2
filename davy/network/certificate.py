"""A node's certificate: self-signed Ed25519, known by its SHA-256 alone.

Names and dates in it mean nothing, the fingerprint is all; so it never expires and carries no host.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from davy.protocol.errors import Misconfigured
from davy.protocol.words import Digest

_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "davy")])
_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_TO: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280 §4.1.2.5: no well-defined expiration date."""


class Certificate(NamedTuple):
    """What a node keeps in two files; the key's file is for its owner only (mode 0600)."""

    certificate: bytes
    """PEM."""
    key: bytes
    """PKCS#8 PEM, unencrypted: the server reads it without a person."""
    fingerprint: Digest


class CertificateFiles(NamedTuple):
    """Where they lie."""

    certificate: Path
    key: Path


def make_certificate(seed: bytes) -> Certificate:
    """Return the self-signed certificate of an Ed25519 key; the same seed gives the same bytes.

    Parameters
    ----------
    seed
        32 fresh random bytes: the private key.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key()
    serial = int.from_bytes(hashlib.sha256(public.public_bytes_raw()).digest()[:16]) | 1
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(_FROM)
        .not_valid_after(_TO)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    made = builder.sign(key, algorithm=None)
    return Certificate(
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        fingerprint(made.public_bytes(Encoding.DER)),
    )


def fingerprint(der: bytes) -> Digest:
    """Plain SHA-256 of a certificate's DER, as every tool prints it."""
    return hashlib.sha256(der).digest()


def read_fingerprint(certificate: Path) -> Digest:
    """Return the fingerprint of a certificate file (PEM).

    Raises
    ------
    Misconfigured
    """
    try:
        return fingerprint(x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER))
    except (OSError, ValueError) as e:
        raise Misconfigured(
            f"{certificate} is not a readable certificate ({e}); remove it, and a new one is made"
        ) from None
