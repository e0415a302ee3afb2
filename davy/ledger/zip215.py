"""Ed25519 as the engine verifies it (ZIP-215): cofactored, and points in non-canonical form or of small order count.

libsodium, the one verifier of everything that davy signs itself, is stricter. What it accepts is accepted here; only
what it refuses is computed again, on integers, so that no producer can make a commit that the engine takes and a
client does not. May import: protocol.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

from davy.protocol.errors import BadSignature
from davy.protocol.signing import verify_raw

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)

_Point: TypeAlias = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""
_IDENTITY: Final[_Point] = (0, 1, 1, 0)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether [8]([s]B − R − [k]A) is the identity, with s < L and k = SHA-512(R ‖ A ‖ M) mod L."""
    if len(public) != 32 or len(signature) != 64:
        return False
    return strictly_verifies(public, message, signature) or _cofactored(public, message, signature)


def strictly_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether libsodium accepts it, a hundred times as fast."""
    try:
        verify_raw(public, message, signature)
    except BadSignature:
        return False
    return True


def _cofactored(public: bytes, message: bytes, signature: bytes) -> bool:
    a, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    x, y, z, _ = _times(8, _add(_times(s, _BASE), _negative(_add(r, _times(k, a)))))
    return x == 0 and y == z


def _point(data: bytes) -> _Point | None:
    """A point from its 32 bytes, y reduced modulo p; None where no x belongs to it."""
    number = int.from_bytes(data, "little")
    y, odd = (number & ((1 << 255) - 1)) % _P, number >> 255
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if v * x * x % _P != u:
        return None
    if x & 1 != odd:
        x = -x % _P  # of 0 with its sign set, 0: RFC 8032 refuses it, ZIP-215 does not
    return x, y, 1, x * y % _P


def _negative(a: _Point) -> _Point:
    return -a[0] % _P, a[1], a[2], -a[3] % _P


def _add(a: _Point, b: _Point) -> _Point:
    """RFC 8032, section 5.1.4."""
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(k: int, a: _Point) -> _Point:
    total = _IDENTITY
    while k:
        if k & 1:
            total = _add(total, a)
        a, k = _add(a, a), k >> 1
    return total


def _base() -> _Point:
    found = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    if found is None:
        raise ArithmeticError("the base point is no point")
    return found


_BASE: Final = _base()
