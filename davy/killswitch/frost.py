"""Threshold signatures: FROST(Ed25519, SHA-512), RFC 9591. t of n keyholders sign, and the result is plain Ed25519.

::

    each signer      nonces, commitments = commit(key, entropy)                          §5.1
    coordinator      package = signing_package(public, message, commitments)
    each signer      share = sign(key, public, nonces, package, message)                 §5.2
    coordinator      signature = aggregate(public, package, shares)                      §5.3

The coordinator is trusted with nothing: it can only fail to produce a signature. The message is what
`davy.protocol.signing.verify` checks: prefix(domain) ‖ body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, NamedTuple, final

from msgspec import Meta

from davy.killswitch.group import (
    CONTEXT,
    IDENTITY,
    ZERO,
    Identifier,
    Point,
    Scalar,
    Secret,
    add_points,
    add_scalars,
    ascending,
    draw,
    hash_to_scalar,
    is_point,
    is_scalar,
    multiply,
    multiply_base,
    multiply_scalars,
    named,
    nonzero,
    number,
    point,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, Version, belongs
from davy.killswitch.sharing import lagrange
from davy.protocol.encoding import Wire
from davy.protocol.errors import BadSignature, Malformed, Misbehaved, Misdirected, Replayed, Unauthorised
from davy.protocol.limits import MAX_KEYHOLDERS, MAX_THRESHOLD_MESSAGE_BYTES
from davy.protocol.ports import Entropy
from davy.protocol.signing import verify_raw
from davy.protocol.words import Signature


class SigningCommitments(Wire):
    """D_i and E_i: what a signer publishes in round one."""

    version: Version
    identifier: Identifier
    hiding: Point
    binding: Point


class SigningPackage(Wire):
    """What the coordinator sends to every signer: the key, the message, and all commitments in ascending order."""

    version: Version
    group_key: Point
    message: Annotated[bytes, Meta(max_length=MAX_THRESHOLD_MESSAGE_BYTES)]
    commitments: Annotated[tuple[SigningCommitments, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]

    def identifiers(self) -> tuple[Identifier, ...]:
        return tuple(each.identifier for each in self.commitments)


class SignatureShare(Wire):
    """z_i: what a signer releases in round two."""

    version: Version
    identifier: Identifier
    share: Scalar


@final
class Nonces(Secret):
    """The secrets behind one pair of commitments, for one signature: two under the same nonces give the share away.

    `commit` makes them; given scalars are for reproducing vectors. They live in memory only: there is no encoding, no
    copy and no pickle, and nothing reads them but `sign`, which destroys them before it does anything else, whether or
    not it then signs. A signer that restarts has none and commits anew. What cannot be prevented here is a copy of the
    whole process (`fork`, a snapshot of a virtual machine): do not copy one that holds nonces.
    """

    __slots__ = ("_pair", "binding", "hiding")

    def __init__(self, hiding: Scalar, binding: Scalar) -> None:
        self.hiding = multiply_base(nonzero(hiding, "a nonce"))
        self.binding = multiply_base(nonzero(binding, "a nonce"))
        # `pop` is atomic, so that of two threads only one gets them.
        self._pair = [(hiding, binding)]

    def spend(self) -> tuple[Scalar, Scalar]:
        """Hand the nonces out, once.

        Raises
        ------
        Replayed
        """
        try:
            return self._pair.pop()
        except IndexError:
            raise Replayed("these nonces were used; commit anew, and start the round again") from None


def commit(key: KeyPackage, entropy: Entropy) -> tuple[Nonces, SigningCommitments]:
    """Round one: two nonces, H3(32 random bytes ‖ signing share) each, and the commitments to them (§4.1, §5.1).

    Raises
    ------
    Misconfigured
        The source of randomness repeats itself or gives too little.
    """
    nonces = Nonces(*(hash_to_scalar(CONTEXT, b"nonce", r, key.signing_share) for r in draw(entropy, 32, 2)))
    return nonces, SigningCommitments(1, key.identifier, nonces.hiding, nonces.binding)


def signing_package(
    public: PublicKeyPackage, message: bytes, commitments: Sequence[SigningCommitments]
) -> SigningPackage:
    """Put the commitments that a coordinator received in order.

    Raises
    ------
    Misbehaved
        Commitments that are no points; `culprits` sent them.
    Malformed, Unauthorised
        Too few signers or too many, one twice, or a stranger.
    """
    ordered = tuple(sorted(commitments, key=lambda c: number(c.identifier)))
    package = SigningPackage(1, public.group_key, message, ordered)
    _check_signers(public, package)
    if culprits := [c.identifier for c in ordered if not is_point(c.hiding) or not is_point(c.binding)]:
        raise Misbehaved(f"the commitments of {named(culprits)} are no points; leave them out", culprits)
    return package


def sign(
    key: KeyPackage, public: PublicKeyPackage, nonces: Nonces, package: SigningPackage, message: bytes
) -> SignatureShare:
    """Round two: z_i = d_i + e_i ρ_i + λ_i s_i c (§5.2). The nonces are gone afterwards, also after a refusal.

    Parameters
    ----------
    message
        What this signer decoded itself and agreed to sign; the coordinator's package must hold the same bytes.

    Raises
    ------
    Replayed
        The nonces were used before.
    Misdirected
        Another key, another message, or commitments for this signer that are not those of its nonces.
    Malformed, Unauthorised
        Too few signers or too many, one twice or out of order, a stranger, no points; or keys that are no pair.
    """
    hiding, binding = nonces.spend()
    belongs(key, public)
    if package.message != message:
        raise Misdirected(
            "the coordinator's message is not the one agreed to; do not sign, and ask another to coordinate"
        )
    own = SigningCommitments(1, key.identifier, nonces.hiding, nonces.binding)
    if own not in package.commitments:
        raise Misdirected("the package does not hold the commitments of these nonces; commit anew")
    common = derive(public, package)
    weight = lagrange(key.identifier, package.identifiers())
    nonce = add_scalars(hiding, multiply_scalars(binding, common.factors[key.identifier]))
    keyed = multiply_scalars(multiply_scalars(weight, key.signing_share), common.challenge)
    return SignatureShare(1, key.identifier, add_scalars(nonce, keyed))


def aggregate(public: PublicKeyPackage, package: SigningPackage, shares: Sequence[SignatureShare]) -> Signature:
    """R ‖ Σ z_i (§5.3), verified. Only when that fails are the shares looked at one by one.

    Raises
    ------
    Misbehaved
        `culprits` sent wrong shares: all of them are named. Without them, the others begin a new round.
    Malformed
        A share is missing, doubled, or of one who is no signer of this package.
    """
    common = derive(public, package)
    by_signer = {each.identifier: each.share for each in shares}
    if len(shares) != len(by_signer) or by_signer.keys() != common.factors.keys():
        raise Malformed("one share of each signer in the package is needed; wait for those missing, drop the others")
    if all(map(is_scalar, by_signer.values())):
        total = ZERO
        for share in by_signer.values():
            total = add_scalars(total, share)
        signature = common.commitment + total
        try:
            verify_raw(public.group_key, package.message, signature)
        except BadSignature:
            pass
        else:
            return signature
    culprits = [i for i in common.factors if not _share_holds(public, common, i, by_signer[i])]
    if not culprits:
        raise Malformed("all shares are right and the signature is not: the public key package is wrong; load it anew")
    raise Misbehaved(f"the signature shares of {named(culprits)} are wrong; sign again without them", culprits)


def verify_share(
    public: PublicKeyPackage, package: SigningPackage, share: SignatureShare, common: Derived | None = None
) -> None:
    """z_i·B = R_i + c λ_i Y_i, also before all shares are there (§5.4).

    Parameters
    ----------
    common
        What `derive` makes of this package, where more than one share of it is looked at.

    Raises
    ------
    Misbehaved
        The share is wrong; `culprits` names its sender.
    Malformed, Unauthorised
        The package is not one to sign, or the share is of no signer in it.
    """
    common = common or derive(public, package)
    if share.identifier not in common.factors:
        raise Unauthorised("the share is of no signer in this package; drop it")
    if not _share_holds(public, common, share.identifier, share.share):
        culprits = [share.identifier]
        raise Misbehaved(f"the signature share of {named(culprits)} is wrong; sign again without it", culprits)


class Derived(NamedTuple):
    """What every party to a signature computes alike from its package."""

    factors: dict[Identifier, Scalar]
    """ρ_i, in the order of the package."""
    commitment_shares: dict[Identifier, Point]
    """R_i = D_i + ρ_i E_i"""
    commitment: Point
    """R = Σ R_i"""
    challenge: Scalar
    """c = SHA-512(R ‖ group key ‖ message) mod L"""


def derive(public: PublicKeyPackage, package: SigningPackage) -> Derived:
    """Check a package and compute what follows from it (§4.4 to §4.6).

    Raises
    ------
    Misdirected
        The package is for another key.
    Malformed, Unauthorised
        Too few signers or too many, one twice or out of order, a stranger, or commitments that are no points.
    """
    _check_signers(public, package)
    factors = binding_factors(package)
    commitment_shares: dict[Identifier, Point] = {}
    total = IDENTITY
    for each in package.commitments:
        try:
            # `multiply` takes no point that `point` refuses, so E_i passes the same gate as D_i.
            hiding, bound = point(each.hiding, "D"), multiply(factors[each.identifier], each.binding)
        except Malformed:
            culprit = named([each.identifier])
            raise Malformed(f"the commitments of {culprit} are no points of the group; sign without it") from None
        commitment_shares[each.identifier] = share = add_points(hiding, bound)
        total = add_points(total, share)
    if total == IDENTITY:
        raise Malformed("the commitments cancel out; begin the round again")
    return Derived(factors, commitment_shares, total, hash_to_scalar(total, public.group_key, package.message))


def binding_factors(package: SigningPackage) -> dict[Identifier, Scalar]:
    """ρ_i = H1(group key ‖ H4(message) ‖ H5(all commitments) ‖ i): over everything that is signed and by whom (§4.4).

    So a share is worth nothing in another session, however many run at once.
    """
    return {i: hash_to_scalar(CONTEXT, b"rho", data) for i, data in binding_factor_inputs(package).items()}


def binding_factor_inputs(package: SigningPackage) -> dict[Identifier, bytes]:
    """What is hashed to each binding factor, as the vectors of RFC 9591 (appendix E) print it."""
    commitments = b"".join(c.identifier + c.hiding + c.binding for c in package.commitments)
    begin = package.group_key + _hash(b"msg", package.message) + _hash(b"com", commitments)
    return {i: begin + i for i in package.identifiers()}


def _hash(name: bytes, data: bytes) -> bytes:
    return hashlib.sha512(CONTEXT + name + data).digest()


def _check_signers(public: PublicKeyPackage, package: SigningPackage) -> None:
    if package.group_key != public.group_key:
        raise Misdirected("the package is to be signed with another key; choose the right one")
    signers, members = package.identifiers(), public.shares()
    ascending(signers, "a signing package")
    if not public.threshold <= len(signers) <= len(members):
        raise Malformed(f"{len(signers)} signers where {public.threshold} to {len(members)} sign; ask others too")
    if strangers := [i for i in signers if i not in members]:
        raise Unauthorised(f"the key has no {named(strangers)}; ask its keyholders only")


def _share_holds(public: PublicKeyPackage, common: Derived, i: Identifier, share: Scalar) -> bool:
    if not is_scalar(share) or share == ZERO:
        return False
    weight = multiply_scalars(lagrange(i, list(common.factors)), common.challenge)
    expected = add_points(common.commitment_shares[i], multiply(weight, public.shares()[i]))
    return multiply_base(share) == expected
