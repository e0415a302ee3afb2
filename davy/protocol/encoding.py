"""One canonical encoding: structs as msgpack arrays, tagged unions, and decoding that refuses every second form.

A value has exactly one encoding. msgspec alone accepts overlong integers, so `decode` encodes again and compares.
Signatures and digests cover these exact bytes; the golden files in tests/protocol/golden freeze them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, dataclass_transform

import msgspec

from davy.protocol.errors import Malformed, TooLarge

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
class Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Base of every struct on a wire: an array, immutable, no unknown fields.

    A signed struct's field 0 is `version`; it has no defaults, floats, maps or nulls (a test walks them all). What
    never changes never refers to itself: Python's collector need not visit it, and a ledger holds very many.
    """


_encoder = msgspec.msgpack.Encoder()


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def encode(value: Wire) -> bytes:
    """Return the canonical bytes of a value."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[T], *, limit: int) -> T:
    """Return the value whose canonical encoding is exactly `data`.

    Parameters
    ----------
    kind
        A `Wire` struct, or a union of tagged ones.
    limit
        The most bytes this place accepts (`davy.protocol.limits`).

    Raises
    ------
    TooLarge
        `data` is longer than `limit`; nothing was parsed.
    Malformed
        Not msgpack, not of this type, out of a field's range, or not the canonical form.
    """
    if len(data) > limit:
        raise TooLarge(f"{len(data)} bytes where at most {limit} are taken; send less")
    try:
        value: T = _decoder(kind).decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as e:
        raise Malformed(f"not a valid {_name(kind)}: {e}") from None
    if _encoder.encode(value) != data:
        raise Malformed(f"not the canonical encoding of a {_name(kind)}; encode it with davy.protocol.encoding")
    return value


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
