"""The crate frost-ed25519's own form on the wire, 3.0.0: a header, then the very fields that davy's structs have.

The header is the format's version, 0, and a checksum of the ciphersuite's name; numbers and lengths are varints, seven
bits a byte, the low ones first. Whose a package is stands in it only where it holds many; else it is told beside.
A signature share, δ and σ are bare scalars.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, TypeVar

from davy.killswitch.dkg import Round1Package, Round2Share
from davy.killswitch.frost import SignatureShare, SigningCommitments, SigningPackage
from davy.killswitch.group import CONTEXT, Identifier
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare
from davy.protocol.errors import Malformed

T = TypeVar("T")

HEADER: Final = b"\0" + zlib.crc32(CONTEXT).to_bytes(4, "big")


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def from_round1(package: Round1Package) -> bytes:
    """``dkg::round1::Package``, of a refresh too."""
    commitment = varint(len(package.commitment)) + b"".join(package.commitment)
    return HEADER + commitment + varint(64) + package.proof


def to_round1(data: bytes, sender: Identifier) -> Round1Package:
    def read(r: _Reader) -> Round1Package:
        commitment = tuple(r.take(32) for _ in range(r.varint()))
        return Round1Package(1, b"", sender, commitment, r.signature())

    return _strict(data, read, from_round1)


def from_round2(share: Round2Share) -> bytes:
    """``dkg::round2::Package``, of a refresh too."""
    return HEADER + share.share


def to_round2(data: bytes, sender: Identifier, recipient: Identifier) -> Round2Share:
    return _strict(data, lambda r: Round2Share(1, b"", sender, recipient, r.take(32)), from_round2)


def from_key(key: KeyPackage) -> bytes:
    """``KeyPackage``."""
    fields = key.identifier + key.signing_share + key.verifying_share + key.group_key
    return HEADER + fields + varint(key.threshold)


def to_key(data: bytes) -> KeyPackage:
    def read(r: _Reader) -> KeyPackage:
        i, share, verifying, group = (r.take(32) for _ in range(4))
        return KeyPackage(1, i, r.varint(), share, verifying, group)

    return _strict(data, read, from_key)


def from_public(public: PublicKeyPackage) -> bytes:
    """``PublicKeyPackage``, with the threshold that it has from 3.0.0 on."""
    rows = b"".join(each.identifier + each.point for each in public.verifying_shares)
    count = varint(len(public.verifying_shares))
    return HEADER + count + rows + public.group_key + b"\1" + varint(public.threshold)


def to_public(data: bytes) -> PublicKeyPackage:
    def read(r: _Reader) -> PublicKeyPackage:
        rows = tuple(VerifyingShare(r.take(32), r.take(32)) for _ in range(r.varint()))
        group_key = r.take(32)
        if r.take(1) != b"\1":
            raise Malformed("a public key package without its threshold; the crate writes it from 3.0.0 on")
        return PublicKeyPackage(1, r.varint(), group_key, rows)

    return _strict(data, read, from_public)


def from_commitments(commitments: SigningCommitments) -> bytes:
    """``round1::SigningCommitments``."""
    return HEADER + commitments.hiding + commitments.binding


def to_commitments(data: bytes, signer: Identifier) -> SigningCommitments:
    return _strict(data, lambda r: SigningCommitments(1, signer, r.take(32), r.take(32)), from_commitments)


def from_signing_package(package: SigningPackage) -> bytes:
    """``SigningPackage``; the crate takes the key from elsewhere."""
    rows = b"".join(each.identifier + from_commitments(each) for each in package.commitments)
    return HEADER + varint(len(package.commitments)) + rows + varint(len(package.message)) + package.message


def to_signing_package(data: bytes, group_key: bytes) -> SigningPackage:
    def read(r: _Reader) -> SigningPackage:
        rows: list[SigningCommitments] = []
        for _ in range(r.varint()):
            i, _, hiding, binding = r.take(32), r.header(), r.take(32), r.take(32)
            rows.append(SigningCommitments(1, i, hiding, binding))
        return SigningPackage(1, group_key, r.take(r.varint()), tuple(rows))

    return _strict(data, read, from_signing_package)


def from_share(share: SignatureShare) -> bytes:
    """``round2::SignatureShare`` as its `serialize` gives it."""
    return share.share


def to_share(data: bytes, signer: Identifier) -> SignatureShare:
    if len(data) != 32:
        raise Malformed("a signature share is a scalar of 32 bytes")
    return SignatureShare(1, signer, data)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, n: int) -> bytes:
        taken = self._data[self._at : self._at + n]
        if len(taken) != n:
            raise Malformed("the crate's form of a package ends too early")
        self._at += n
        return taken

    def varint(self) -> int:
        value = 0
        for place in range(0, 21, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << place
            if byte < 0x80:
                return value
        raise Malformed("a number in the crate's form is too large")

    def header(self) -> bytes:
        found = self.take(len(HEADER))
        if found != HEADER:
            raise Malformed("a package of another version or ciphersuite")
        return found

    def signature(self) -> bytes:
        if self.varint() != 64:
            raise Malformed("a signature of another length than 64 bytes")
        return self.take(64)


def _strict(data: bytes, read: Callable[[_Reader], T], write: Callable[[T], bytes]) -> T:
    reader = _Reader(data)
    reader.header()
    value = read(reader)
    if write(value) != data:
        raise Malformed("not the one form of a package: a number is overlong, or bytes follow")
    return value
