"""What a keyholder has after a ceremony: its own key package, and the public one that all have alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta
from nacl import bindings

from davy.killswitch.group import (
    IDENTITY,
    Identifier,
    Point,
    Scalar,
    Secret,
    add_points,
    ascending,
    multiply,
    multiply_base,
    named,
    nonzero,
    point,
)
from davy.killswitch.sharing import lagrange
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import Malformed
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS

Version = Annotated[int, Meta(ge=1, le=1)]
Threshold = Annotated[int, Meta(ge=2, le=MAX_KEYHOLDERS)]
"""t: how many keyholders sign; with fewer than two there is nothing to share."""


class KeyPackage(Secret, Wire):
    """One keyholder's key. Secret: its bytes are stored or sent only after they were encrypted."""

    version: Version
    identifier: Identifier
    threshold: Threshold
    signing_share: Scalar
    verifying_share: Point
    group_key: Point


class VerifyingShare(Wire):
    """Y_i = s_i·B."""

    identifier: Identifier
    point: Point


class PublicKeyPackage(Wire):
    """The group's key and every keyholder's verifying share, in ascending order of identifiers."""

    version: Version
    threshold: Threshold
    group_key: Point
    verifying_shares: Annotated[tuple[VerifyingShare, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]

    def shares(self) -> dict[Identifier, Point]:
        return {each.identifier: each.point for each in self.verifying_shares}


def interpolate(points: Mapping[Identifier, Point]) -> Point:
    """Σ λ_i P_i: the point at 0 of the polynomial through these."""
    total = IDENTITY
    for i, p in points.items():
        total = add_points(total, multiply(lagrange(i, list(points)), p))
    return total


def check_public(public: PublicKeyPackage) -> None:
    """Check a public key package when it is loaded or received; signing then takes it as it is.

    All verifying shares must lie on one polynomial of degree t − 1 with the group key at 0: of no higher degree, or t
    keyholders could not sign, and of no lower one, or fewer could. A package with one wrong share would make an honest
    keyholder look like a culprit.

    Raises
    ------
    Malformed
        More signers needed than there are; identifiers zero, doubled or out of order; no point; not one polynomial.
    """
    shares, t = public.shares(), public.threshold
    ascending(tuple(each.identifier for each in public.verifying_shares), "a public key package")
    if not 2 <= t <= len(public.verifying_shares) <= MAX_KEYHOLDERS:
        raise Malformed(f"{t} of {len(shares)} cannot sign; at least 2, at most all of {MAX_KEYHOLDERS} can")
    point(public.group_key, "the group key")
    for i, y in shares.items():
        point(y, f"the verifying share of {named([i])}")
    first = {i: shares[i] for i in list(shares)[: t - 1]}
    fit = all(interpolate({**first, i: shares[i]}) == public.group_key for i in list(shares)[t - 1 :])
    if not fit or interpolate(first) == public.group_key:
        raise Malformed("the verifying shares do not belong to the group key; ask another keyholder for the package")


def check_key(key: KeyPackage, public: PublicKeyPackage) -> None:
    """Check a key package against the public one, when it is loaded.

    Raises
    ------
    Malformed
        The share is zero or not below L, does not give the verifying share, or is of another group.
    """
    share = multiply_base(nonzero(key.signing_share, "a signing share"))
    if not bindings.sodium_memcmp(share, key.verifying_share):
        raise Malformed("the signing share does not give its verifying share; restore it from a copy or repair it")
    belongs(key, public)


def open_public(raw: bytes) -> PublicKeyPackage:
    """Decode and check a public key package.

    Raises
    ------
    TooLarge, Malformed
    """
    public = decode(raw, PublicKeyPackage, limit=MAX_CEREMONY_BYTES)
    check_public(public)
    return public


def open_key(raw: bytes, public: PublicKeyPackage) -> KeyPackage:
    """Decode a key package and check it against the public one.

    Raises
    ------
    TooLarge, Malformed
    """
    key = decode(raw, KeyPackage, limit=MAX_CEREMONY_BYTES)
    check_key(key, public)
    return key


def belongs(key: KeyPackage, public: PublicKeyPackage) -> None:
    """Check that a key package names the same group, threshold and verifying share as the public one.

    Raises
    ------
    Malformed
    """
    same = (key.group_key, key.threshold) == (public.group_key, public.threshold)
    if not same or public.shares().get(key.identifier) != key.verifying_share:
        raise Malformed("the key package and the public key package are of different groups or ceremonies; load a pair")
