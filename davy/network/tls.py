"""TLS 1.3 without authorities: a self-signed Ed25519 certificate whose SHA-256 stands in the node's `serve` record.

Names and dates in the certificate mean nothing, the fingerprint is all; so it never expires and carries no host. To
change it a node first publishes the `next` fingerprint; clients accept either.
"""

from __future__ import annotations

import hashlib
import ssl
from asyncio import Transport
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import Fingerprint, ServerFingerprintMismatch
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
_MAX_PINS: Final = 16_384


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
            f"{certificate} is no readable certificate ({e}); remove it, and a new one is made"
        ) from None


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return a server's context that speaks TLS 1.3 and nothing older.

    Raises
    ------
    Misconfigured
        The files are missing, unreadable, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as e:
        raise Misconfigured(f"cannot use {files.certificate} with {files.key} ({e}); make a new pair") from None
    return context


class Pin(Fingerprint):
    """Accepts the certificates of one `serve` record: the current one and the next."""

    def __init__(self, current: Digest, following: bytes) -> None:
        super().__init__(current)
        self._accepted = frozenset({current, following} if following else {current})

    def check(self, transport: Transport) -> None:
        """Compare the peer's certificate; called once a connection, before anything is sent.

        Raises
        ------
        ServerFingerprintMismatch
            Another certificate, or none.
        """
        tls = transport.get_extra_info("ssl_object")
        got = fingerprint(tls.getpeercert(binary_form=True) or b"") if tls else b""
        if got not in self._accepted:
            host, port, *_ = transport.get_extra_info("peername")
            raise ServerFingerprintMismatch(self.fingerprint, got, host, port)


@lru_cache(maxsize=_MAX_PINS)
def pin(current: Digest, following: bytes) -> Pin:
    """Return the one pin of these fingerprints: a new object would open a new connection for each request."""
    return Pin(current, following)
