"""The prime-order group of Ed25519 and its scalars, as libsodium computes them, with a gate for every received one.

Scalars are 32 bytes little-endian below L, points 32 bytes compressed. libsodium's `add` takes points of small order
and encodings with y ≥ p, and its scalar arithmetic silently reduces what is not below L: what comes from outside passes
`is_scalar` or `is_point` first. Secrets are never turned into Python integers, whose running time follows their value;
only identifiers and Lagrange coefficients, which everybody knows, are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, NoReturn, TypeAlias

from msgspec import Meta
from nacl import bindings
from nacl.exceptions import CryptoError

from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.ports import Entropy

L: Final = 2**252 + 27742317777372353535851937790883648493
"""Order of the group."""

Scalar: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Point: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Identifier: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A keyholder's place on the polynomial: a scalar, not zero."""

CONTEXT: Final = b"FROST-ED25519-SHA512-v1"
"""In front of every hash of the ciphersuite but the challenge, which is plain Ed25519's (RFC 9591 §6.1)."""
ZERO: Final = bytes(32)
IDENTITY: Final = b"\x01" + bytes(31)

add_scalars = bindings.crypto_core_ed25519_scalar_add
subtract_scalars = bindings.crypto_core_ed25519_scalar_sub
multiply_scalars = bindings.crypto_core_ed25519_scalar_mul
add_points = bindings.crypto_core_ed25519_add


class Secret:
    """What shows nothing of itself, and is neither copied nor pickled: bytes leave it by its fields only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __rich_repr__(self) -> Iterator[Any]:
        return iter(())

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is secret and is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is secret and is not copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is secret and is not pickled")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is secret and is not pickled")


def is_scalar(data: bytes) -> bool:
    """Whether these are 32 bytes little-endian below L: neither L or more, nor any high bit set."""
    return len(data) == 32 and bindings.sodium_memcmp(reduce(data), data)


def is_point(data: bytes) -> bool:
    """Whether this is a point of the prime-order group in its one encoding.

    The identity, points of small or mixed order, y ≥ p and what is not on the curve are not.
    """
    return len(data) == 32 and bindings.crypto_core_ed25519_is_valid_point(data)


def nonzero(data: bytes, what: str) -> Scalar:
    """Return `data` if it is a scalar other than zero.

    Raises
    ------
    Malformed
    """
    if not is_scalar(data) or bindings.sodium_memcmp(data, ZERO):
        raise Malformed(f"{what} is zero or no scalar below the group's order; ask for it again")
    return data


def point(data: bytes, what: str) -> Point:
    """Return `data` if it is a point (`is_point`).

    Raises
    ------
    Malformed
    """
    if not is_point(data):
        raise Malformed(f"{what} is not a point of the prime-order group; ask for it again")
    return data


def reduce(data: bytes) -> Scalar:
    """Up to 64 bytes little-endian, mod L."""
    return bindings.crypto_core_ed25519_scalar_reduce(data.ljust(64, b"\0"))


def hash_to_scalar(*parts: bytes) -> Scalar:
    """SHA-512 of the parts one after the other, mod L. What separates them is the caller's affair."""
    return reduce(hashlib.sha512(b"".join(parts)).digest())


def multiply(k: Scalar, p: Point) -> Point:
    """k·P.

    Raises
    ------
    Malformed
        P is no point (`is_point`), or the product is the identity.
    """
    try:
        return bindings.crypto_scalarmult_ed25519_noclamp(k, p)
    except CryptoError:
        raise Malformed("a product is the identity, or of a point outside the prime-order group; begin again") from None


def multiply_base(k: Scalar) -> Point:
    """k·B.

    Raises
    ------
    Malformed
        k is zero.
    """
    try:
        return bindings.crypto_scalarmult_ed25519_base_noclamp(k)
    except CryptoError:
        raise Malformed("a scalar is zero; begin again") from None


def draw(entropy: Entropy, size: int, times: int) -> list[bytes]:
    """Independent draws from the source of randomness.

    Raises
    ------
    Misconfigured
        The source is broken: it gave another number of bytes, or the same bytes twice. Such nonces give the key away.
    """
    drawn = [entropy.bytes(size) for _ in range(times)]
    if any(len(each) != size for each in drawn) or len(set(drawn)) != times:
        raise Misconfigured("the source of randomness is broken; repair it before anything is signed")
    return drawn


def identifier(number: int) -> Identifier:
    """A number as a keyholder's identifier.

    Raises
    ------
    Malformed
        Not in 1 … L − 1.
    """
    if not 0 < number < L:
        raise Malformed(f"{number} is not an identifier; keyholders are numbered from 1")
    return number.to_bytes(32, "little")


def number(identifier: Identifier) -> int:
    """The inverse of `identifier`; also the order in which identifiers stand in a list."""
    return int.from_bytes(identifier, "little")


def ascending(identifiers: tuple[Identifier, ...], what: str) -> None:
    """Check a list of identifiers: each a scalar, none zero, none twice, in numeric order.

    Raises
    ------
    Malformed
    """
    last = 0
    for each in identifiers:
        here = number(each)
        if len(each) != 32 or not last < here < L:
            raise Malformed(f"{what} must name keyholders by scalars other than zero, each once, in ascending order")
        last = here


def named(identifiers: Iterable[Identifier]) -> str:
    """How a sentence names keyholders."""
    names = [str(n) if n < 2**32 else f"{n:064x}" for n in map(number, identifiers)]
    return f"keyholder {names[0]}" if len(names) == 1 else f"keyholders {', '.join(names)}"
