"""Dealing the shares of a key anew: the key stays, every share changes, and shares from before and after do not mix.

::

    each member      secret, package = part1(terms, key, public, entropy)      package goes to everybody
    each member      confirmed = confirm(…)                                    everybody got the same packages
    each member      secret, shares = dkg.part2(secret, confirmed)             a share goes to one member, encrypted
    each member      key, public = part3(secret, shares, key, public)

Every member deals a polynomial that is zero at 0, and all add what they get to the share they have (Herzberg and
others, Proactive Secret Sharing, 1995). Whoever is not among the members is removed: its share fits
none of the new ones. The same holds for shares that a thief took before. But t old ones still make the key: if t may be
stolen, make a new key.

The commitment leaves out the constant, which is zero, as in the crate frost-ed25519: t − 1 points. The crate's proof,
which the plain form keeps, proves nothing (z·B = R). In a session a member proves that it knows every coefficient:
else the last to speak could commit to the negative of another's polynomial, compute its shares from those dealt to
t − 1 members who are with it, and nothing would have been refreshed.
"""

from __future__ import annotations

from collections.abc import Sequence

from davy.killswitch import echo
from davy.killswitch.dkg import (
    Checked,
    Confirmed,
    Round1Package,
    Round1Secret,
    Round2Secret,
    Round2Share,
    SessionContext,
    Terms,
    check_terms,
    right_ones,
    sum_of_shares,
)
from davy.killswitch.echo import Member, Received, Session
from davy.killswitch.group import (
    CONTEXT,
    Identifier,
    Point,
    Scalar,
    add_points,
    add_scalars,
    draw,
    hash_to_scalar,
    is_point,
    is_scalar,
    multiply,
    multiply_base,
    multiply_scalars,
    named,
    reduce,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare, belongs
from davy.killswitch.sharing import Vanishing, committed, is_vanishing_share, sum_of_commitments
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, Unauthorised
from davy.protocol.ports import Entropy
from davy.protocol.signing import Domain, digest
from davy.protocol.words import Digest


def work(public: PublicKeyPackage) -> Digest:
    """What a session of a refresh names: the shares that it replaces, so that none of others take part."""
    return digest(Domain.REFRESH, encode(public))


def terms(session: Session, own: Member, public: PublicKeyPackage) -> Terms:
    """The terms of a session that a coordinator proposed, as one of its members takes them.

    Raises
    ------
    Misdirected, Malformed, Unauthorised
        See `davy.killswitch.echo.terms` and `check_members`.
    """
    agreed = echo.terms(session, own, work(public))
    check_members(agreed, public)
    return agreed


def check_members(terms: Terms, public: PublicKeyPackage) -> None:
    """Check that the members are keyholders, at least t, and that t stays as it is.

    With a smaller t the old shares would stay good for more than they were made for, and fewer could sign.

    Raises
    ------
    Malformed, Unauthorised
    """
    check_terms(terms)
    if terms.threshold != public.threshold:
        raise Malformed(
            f"a refresh keeps the threshold of {public.threshold}, and {terms.threshold} was proposed; make a new key"
        )
    if strangers := [i for i in terms.members if i not in public.shares()]:
        raise Unauthorised(f"the key has no {named(strangers)}; a refresh is among its keyholders only")


def part1(
    terms: Terms, key: KeyPackage, public: PublicKeyPackage, entropy: Entropy
) -> tuple[Round1Secret, Round1Package]:
    """Deal a polynomial that is zero at 0, and commit to it.

    Raises
    ------
    Malformed, Unauthorised
        Terms that are not those of this key (`check_members`), or do not name this keyholder; or keys that are no pair.
    Misconfigured
        The source of randomness repeats itself or gives too little.
    """
    belongs(key, public)
    check_members(terms, public)
    if key.identifier not in terms.members:
        raise Unauthorised(f"{named([key.identifier])} is not a member of this refresh; have it named in the terms")
    *coefficients, k = map(reduce, draw(entropy, 64, terms.threshold))
    polynomial = Vanishing(coefficients)
    commitment, r = polynomial.commitment(), multiply_base(k)
    weights = _weights(key.identifier, commitment, r, terms.context)
    z = k
    for weight, a in zip(weights, coefficients, strict=True):
        z = add_scalars(z, multiply_scalars(weight, a))
    package = Round1Package(1, terms.context, key.identifier, commitment, r + z)
    return Round1Secret(terms, package, polynomial), package


def check_round1(terms: Terms, public: PublicKeyPackage, packages: Sequence[Round1Package]) -> Checked:
    """Check every member's package, one's own too.

    Raises
    ------
    Misbehaved
        `culprits` sent packages of another session, commitments of a length other than t − 1, what is no point, or no
        valid proof; the sentence says which.
    Malformed, Unauthorised
        A package is missing or doubled, or of a stranger; or the terms are not those of this key.
    """
    check_members(terms, public)
    return Checked(terms, right_ones(terms.members, packages, lambda p: _fault(terms, p)))


def confirm(
    session: Session,
    own: Member,
    public: PublicKeyPackage,
    received: Sequence[Received[Round1Package]],
    echoes: Sequence[bytes],
) -> Confirmed:
    """Check the packages, and that every other member echoes the same ones; see `davy.killswitch.echo.confirm`.

    Raises
    ------
    Misbehaved, TooLarge, Malformed, BadSignature, Misdirected, Unauthorised
    """
    checked = check_round1(terms(session, own, public), public, [each.package for each in received])
    echo.compare(session, received, echoes, own.identifier)
    return Confirmed(checked)


def part3(
    secret: Round2Secret, shares: Sequence[Round2Share], key: KeyPackage, public: PublicKeyPackage
) -> tuple[KeyPackage, PublicKeyPackage]:
    """Check the shares that others dealt this member, and add them to the one it has. The old one is then destroyed.

    Raises
    ------
    Misbehaved
        `culprits` sent shares that their commitments do not give.
    Misdirected
        A share is of another session or for another member.
    Malformed, Unauthorised
        A share is missing or doubled, or of a stranger; or the keys are not those that the refresh began with.
    """
    agreed, packages = secret.confirmed.checked
    belongs(key, public)
    check_members(agreed, public)
    if key.identifier != secret.identifier:
        raise Malformed("the key package is another keyholder's; load the one that the refresh began with")
    share = add_scalars(key.signing_share, sum_of_shares(secret, shares, is_vanishing_share))
    added = sum_of_commitments([each.commitment for each in packages])
    old = public.shares()
    rows = tuple(VerifyingShare(i, add_points(old[i], multiply(i, committed(added, i)))) for i in agreed.members)
    new = PublicKeyPackage(1, public.threshold, public.group_key, rows)
    return KeyPackage(1, key.identifier, key.threshold, share, multiply_base(share), key.group_key), new


def _fault(terms: Terms, package: Round1Package) -> str | None:
    if package.context != terms.context:
        return "a package of another session"
    if len(package.commitment) != terms.threshold - 1:
        return f"a commitment of {len(package.commitment)} coefficients for {terms.threshold - 1}"
    if not all(map(is_point, package.commitment)):
        return "a commitment that is not a point of the group"
    r, z = package.proof[:32], package.proof[32:]
    if not is_point(r) or not is_scalar(z):
        return "a proof of knowledge that is not a point and scalar"
    expected = r
    weights = _weights(package.identifier, package.commitment, r, terms.context)
    for weight, phi in zip(weights, package.commitment, strict=True):
        if any(weight):
            expected = add_points(expected, multiply(weight, phi))
    return None if any(z) and multiply_base(z) == expected else "a wrong proof of knowledge"


def _weights(
    identifier: Identifier, commitment: Sequence[Point], r: Point, context: SessionContext
) -> tuple[Scalar, ...]:
    """Return c, c², … of the proof z = k + Σ c^k a_k; all zero in the plain form.

    c = SHA-512(context ‖ "refresh" ‖ i ‖ φ_1 ‖ … ‖ φ_{t−1} ‖ R ‖ session) mod L; the session says t, so the parts have
    fixed lengths. One proof for all coefficients: Gennaro and others, Batching Schnorr Identification Scheme, 2004.
    """
    c = hash_to_scalar(CONTEXT, b"refresh", identifier, *commitment, r, context) if context else bytes(32)
    weights = [c]
    while len(weights) < len(commitment):
        weights.append(multiply_scalars(weights[-1], c))
    return tuple(weights)
