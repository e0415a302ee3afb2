"""Verifiable secret sharing: Shamir's polynomial over the scalars, and Feldman's commitment to it.

f(x) = a_0 + a_1 x + … + a_{t−1} x^{t−1}; the share of keyholder i is f(i), the commitment φ_k = a_k·B, and a share
is right iff f(i)·B = Σ i^k φ_k. Any t shares give a_0 by Lagrange's interpolation at 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from davy.killswitch.group import (
    ZERO,
    Identifier,
    L,
    Point,
    Scalar,
    Secret,
    add_points,
    add_scalars,
    multiply,
    multiply_base,
    multiply_scalars,
    nonzero,
    number,
)
from davy.protocol.errors import Malformed


class Polynomial(Secret):
    """A secret polynomial, by its coefficients from the constant one on; none may be zero.

    Raises
    ------
    Malformed
        A coefficient is zero or not below L.
    """

    __slots__ = ("_coefficients",)

    def __init__(self, coefficients: Sequence[Scalar]) -> None:
        self._coefficients = tuple(nonzero(a, "a coefficient") for a in coefficients)

    @property
    def constant(self) -> Scalar:
        return self._coefficients[0]

    def commitment(self) -> tuple[Point, ...]:
        return tuple(multiply_base(a) for a in self._coefficients)

    def at(self, x: Identifier) -> Scalar:
        value = self._coefficients[-1]
        for a in self._coefficients[-2::-1]:
            value = add_scalars(multiply_scalars(value, x), a)
        return value


def committed(commitment: Sequence[Point], x: Identifier) -> Point:
    """Σ x^k φ_k, which is f(x)·B for the polynomial that the commitment is to.

    Raises
    ------
    Malformed
        A commitment is no point, or the sum is the identity on the way.
    """
    value = commitment[-1]
    for phi in commitment[-2::-1]:
        value = add_points(multiply(x, value), phi)
    return value


class Vanishing(Polynomial):
    """A secret polynomial that is zero at 0, by its other coefficients: f(x) = x g(x). Its commitment is that to g."""

    __slots__ = ()

    def at(self, x: Identifier) -> Scalar:
        return multiply_scalars(x, super().at(x))


def is_share(share: Scalar, commitment: Sequence[Point], x: Identifier) -> bool:
    """f(x)·B = Σ x^k φ_k, for a share that is a scalar and not zero."""
    try:
        return multiply_base(nonzero(share, "a share")) == committed(commitment, x)
    except Malformed:
        return False


def is_vanishing_share(share: Scalar, commitment: Sequence[Point], x: Identifier) -> bool:
    """f(x)·B = x Σ x^k φ_k, for a share of a `Vanishing` polynomial that is a scalar and not zero."""
    try:
        return multiply_base(nonzero(share, "a share")) == multiply(x, committed(commitment, x))
    except Malformed:
        return False


def sum_of_commitments(commitments: Sequence[Sequence[Point]]) -> tuple[Point, ...]:
    """The commitment to the sum of polynomials of the same length, coefficient by coefficient."""
    total = tuple(commitments[0])
    for commitment in commitments[1:]:
        total = tuple(add_points(a, b) for a, b in zip(total, commitment, strict=True))
    return total


def lagrange(of: Identifier, identifiers: Sequence[Identifier], at: Scalar = ZERO) -> Scalar:
    """λ_i = Π (x_j − x) / (x_j − x_i) over the others: what a share counts at x, or at 0 (RFC 9591 §4.2). It is public.

    Raises
    ------
    Malformed
        `of` is not among the identifiers, or an identifier stands there twice.
    """
    x, place, numerator, denominator, seen = number(of), number(at), 1, 1, 0
    for each in identifiers:
        if each == of:
            seen += 1
            continue
        numerator = numerator * (number(each) - place) % L
        denominator = denominator * (number(each) - x) % L
    if seen != 1 or denominator == 0 or len(set(identifiers)) != len(identifiers):
        raise Malformed("Lagrange's coefficient is of one identifier among distinct ones; name each once")
    return (numerator * pow(denominator, -1, L) % L).to_bytes(32, "little")
