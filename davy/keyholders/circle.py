"""The circle: who the keyholders are and where each listens. One line each, which its owner prints and sends around.

::

    alice  halt.example.org:7401  sha256:<64 hex>  holder_…
    name   address                TLS certificate  the keyholder's own key

Everybody keeps the same lines, compared by their fingerprint, read aloud. Addresses and certificates may change later
and are not in it. Sorted by key, the keyholder of line i has the identifier i of both group keys.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

from mnemonic import Mnemonic

from davy.killswitch.group import Identifier, identifier
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import Malformed, Unauthorised
from davy.protocol.limits import MAX_CIRCLE, MAX_HOST_CHARS
from davy.protocol.signing import Domain, digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Digest, KeyRole, PublicKey, key_from_text, key_text

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_PRINT: Final = re.compile(r"sha256:([0-9a-f]{64})")
_WORD_BITS: Final = 11
_WORDS: Final = 8
MAX_CIRCLE_FILE_BYTES: Final = 16 * 1024


class Holder(NamedTuple):
    """One keyholder."""

    name: str
    endpoint: Endpoint
    key: PublicKey


class _Named(Wire):
    name: str
    key: PublicKey


class _Circle(Wire):
    version: int
    holders: tuple[_Named, ...]


class Circle(NamedTuple):
    """All of them, by key."""

    holders: tuple[Holder, ...]

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        return tuple(h.key for h in self.holders)

    @property
    def digest(self) -> Digest:
        """SHA-256 over names and keys, in the domain CIRCLE."""
        return digest(Domain.CIRCLE, encode(_Circle(1, tuple(_Named(h.name, h.key) for h in self.holders))))

    def holder(self, key: PublicKey) -> Holder:
        """Look one up.

        Raises
        ------
        Unauthorised
            It is a stranger's key.
        """
        found = next((h for h in self.holders if h.key == key), None)
        if found is None:
            raise Unauthorised("this key is of no keyholder here; compare the fingerprints of `davy keyholder circle`")
        return found

    def identifier(self, key: PublicKey) -> Identifier:
        """Return the FROST identifier of a keyholder.

        Raises
        ------
        Unauthorised
        """
        return identifier(self.holders.index(self.holder(key)) + 1)


def holder_line(h: Holder) -> str:
    """Write the line of a keyholder."""
    host = f"[{h.endpoint.host}]" if ":" in h.endpoint.host else h.endpoint.host
    text = key_text(KeyRole.KEYHOLDER, h.key)
    return f"{h.name} {host}:{h.endpoint.port} sha256:{h.endpoint.fingerprint.hex()} {text}"


def read_circle(text: str) -> Circle:
    """Read a circle's lines; empty ones and those that begin with # say nothing.

    Raises
    ------
    Malformed
        A line that is none, a name or key there twice, fewer than two or more than MAX_CIRCLE.
    """
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not 2 <= len(lines) <= MAX_CIRCLE:
        raise Malformed(f"{len(lines)} lines of keyholders; put those of all of them there, 2 to {MAX_CIRCLE}")
    holders = sorted((_holder(words) for words in lines), key=lambda h: h.key)
    for what, each in (("name", [h.name for h in holders]), ("key", [h.key for h in holders])):
        if len(set(each)) != len(each):
            raise Malformed(f"two of the keyholders' lines have the same {what}; each has its own")
    return Circle(tuple(holders))


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; IPv6 in brackets.

    Raises
    ------
    Malformed
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not _HOST.fullmatch(host) or len(host) > MAX_HOST_CHARS or not re.fullmatch("[0-9]{1,5}", port):
        raise Malformed(f"{text[:60]!a} is not an address; write HOST:PORT")
    if not 1 <= int(port) <= 65_535:
        raise Malformed(f"{port} is not a port; choose 1 to 65535")
    return host, int(port)


def check_name(name: str) -> str:
    """Return a keyholder's name: what others see it by on their screens.

    Raises
    ------
    Malformed
    """
    if not _NAME.fullmatch(name):
        raise Malformed(f"{name[:32]!a} is not a name; take up to 32 small letters, digits and hyphens")
    return name


def _holder(words: list[str]) -> Holder:
    if len(words) != 4:
        raise Malformed(f"{' '.join(words)[:40]!a} is not a keyholder's line; copy what `davy keyholder init` printed")
    name, address, certificate, key = words
    host, port = parse_address(address)
    found = _PRINT.fullmatch(certificate)
    if found is None:
        raise Malformed(f"{certificate[:24]!a} is not a fingerprint; copy the line of {name[:32]!a} again")
    endpoint = Endpoint(host, port, bytes.fromhex(found[1]), b"")
    if not key.isascii() or not key.isprintable():
        raise Malformed(f"{key[:24]!a} is not a key; copy the line of {name[:32]!a} again")
    return Holder(check_name(name), endpoint, key_from_text(KeyRole.KEYHOLDER, key))


@cache
def _words() -> list[str]:
    return Mnemonic("english").wordlist


def fingerprint(d: Digest) -> str:
    """Eight words of BIP39's list for the first 88 bits of a digest: to be read aloud and compared."""
    number = int.from_bytes(d[: _WORD_BITS * _WORDS // 8], "big")
    words = [_words()[number >> _WORD_BITS * n & 2**_WORD_BITS - 1] for n in reversed(range(_WORDS))]
    return " ".join(words)
