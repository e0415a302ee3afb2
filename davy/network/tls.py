"""TLS 1.3 without authorities: a certificate (`certificate`) whose SHA-256 stands in the node's `serve` record.

To change it a node first publishes the `next` fingerprint; clients accept either.
"""

from __future__ import annotations

import ssl
from asyncio import Transport
from functools import lru_cache
from typing import Final

from aiohttp import Fingerprint, ServerFingerprintMismatch

from davy.network.certificate import CertificateFiles, fingerprint
from davy.protocol.errors import Misconfigured
from davy.protocol.words import Digest

_MAX_PINS: Final = 16_384


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
        raise Misconfigured(
            f"cannot use {files.certificate} with {files.key} ({e}); restore them, or delete both for a new pair"
        ) from None
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
