"""Identifiers, amounts and moments, each with its range, so that decoding a value already bounds it."""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, TypeAlias

from msgspec import Meta

from davy.protocol.errors import Malformed

TOKEN: Final = 10**9
"""Base units in one token."""
MAX_SUPPLY: Final = 21_000_000 * TOKEN
"""No amount exceeds it: 2.1e16 base units."""
U16: Final = 65_535
INT63: Final = 2**63 - 1

Digest: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature: TypeAlias = Annotated[bytes, Meta(min_length=64, max_length=64)]
ChainId: TypeAlias = Digest
"""SHA-256 of the genesis, never a name."""
ModelId: TypeAlias = Digest
"""SHA-256 of a model's manifest, never a display name."""
TxHash: TypeAlias = Digest
Coldkey: TypeAlias = PublicKey
"""Owns tokens; offline as much as possible."""
Hotkey: TypeAlias = PublicKey
"""Signs requests, receipts, weights; lives on the node."""

Amount: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SUPPLY)]
"""Base units."""
Height: TypeAlias = Annotated[int, Meta(ge=0, le=INT63)]
UnixMillis: TypeAlias = Annotated[int, Meta(ge=0, le=INT63)]
Nonce: TypeAlias = Annotated[int, Meta(ge=0, le=INT63)]
Netuid: TypeAlias = Annotated[int, Meta(ge=0, le=U16)]
Uid: TypeAlias = Annotated[int, Meta(ge=0, le=U16)]
Proportion: TypeAlias = Annotated[int, Meta(ge=0, le=U16)]
"""A fraction of 65535."""
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]


class Moment(NamedTuple):
    """When a rule is asked: what a block says, never what a machine believes."""

    height: int
    time: int
    """Unix milliseconds, verified block time."""


class KeyRole(StrEnum):
    """What a key is for, and the prefix of its text form."""

    COLDKEY = "cold"
    HOTKEY = "hot"
    PRODUCER = "prod"
    KEYHOLDER = "holder"


def tokens(units: int) -> str:
    """Write base units as people count them, in tokens: exactly, without superfluous zeros."""
    whole, rest = divmod(units, TOKEN)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def key_text(role: KeyRole, key: bytes) -> str:
    """Return a key as people read and copy it: role, underscore, base32 of the key and a 3-byte checksum.

    A key pasted where another role belongs, or with a letter changed, is refused by `key_from_text`.
    """
    return f"{role.value}_" + base64.b32encode(key + _checksum(role, key)).decode().lower()


def key_from_text(role: KeyRole, text: str) -> bytes:
    """Inverse of `key_text`.

    Raises
    ------
    Malformed
        Wrong role, alphabet, length or checksum.
    """
    prefix, _, body = text.strip().partition("_")
    if prefix != role.value:
        raise Malformed(f"expected a key that begins with '{role.value}_', got '{text[:12]}…'")
    try:
        raw = base64.b32decode(body, casefold=True)
    except ValueError:
        raise Malformed(f"'{text[:12]}…' is not a key: a letter is missing or wrong; copy it again") from None
    key, check = raw[:32], raw[32:]
    if len(raw) != 35 or check != _checksum(role, key):
        raise Malformed(f"'{text[:12]}…' is not a key: its checksum does not match; copy it again")
    return key


def _checksum(role: KeyRole, key: bytes) -> bytes:
    return hashlib.sha256(b"davy/key-text\0" + role.value.encode() + b"\0" + key).digest()[:3]
