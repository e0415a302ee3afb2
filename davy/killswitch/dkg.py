"""Making a key that nobody ever holds: Pedersen's DKG with proofs of knowledge, as FROST (2020/852, figure 1) has it.

::

    each member      secret, package = part1(terms, identifier, entropy)       package goes to everybody
    each member      confirmed = echo.confirm(…)                               everybody got the same packages
    each member      secret, shares = part2(secret, confirmed)                 a share goes to one member, encrypted
    each member      key, public = part3(secret, shares)

Every member deals a polynomial; the key is the sum of their constants. A proof of knowledge keeps a member from
choosing its constant as a function of the others', which would make the key its own. Whoever cheats is named: in part
three only to the one it cheated, for the share that would prove it is secret. A ceremony in which anybody was named is
begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, NamedTuple, TypeVar, final

from msgspec import Meta

from davy.killswitch.group import (
    CONTEXT,
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
    number,
    point,
    reduce,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare, Version
from davy.killswitch.sharing import Polynomial, committed, is_share, sum_of_commitments
from davy.protocol.encoding import Wire
from davy.protocol.errors import Malformed, Misbehaved, Misdirected, Unauthorised
from davy.protocol.limits import MAX_KEYHOLDERS
from davy.protocol.ports import Entropy
from davy.protocol.words import Signature

SessionContext = Annotated[bytes, Meta(max_length=32)]
"""Digest of the session; empty for the plain form, which is that of the crate frost-ed25519 and its vectors."""


class Terms(NamedTuple):
    """What all members know before they begin."""

    threshold: int
    members: tuple[Identifier, ...]
    """In ascending order."""
    context: SessionContext = b""


class Package(Wire):
    """What every package has that a member of a ceremony sends to all others."""

    version: Version
    context: SessionContext
    identifier: Identifier


class Round1Package(Package):
    """A member's commitment to its polynomial, and the proof R ‖ z that it knows the constant."""

    commitment: Annotated[tuple[Point, ...], Meta(min_length=1, max_length=MAX_KEYHOLDERS)]
    proof: Signature


P = TypeVar("P", bound=Package)


class Round2Share(Secret, Wire):
    """f_sender(recipient). Secret: it is sent only after it was encrypted to its recipient."""

    version: Version
    context: SessionContext
    sender: Identifier
    recipient: Identifier
    share: Scalar


@final
class Round1Secret(Secret):
    """What a member keeps between parts one and two."""

    __slots__ = ("package", "polynomial", "terms")

    def __init__(self, terms: Terms, package: Round1Package, polynomial: Polynomial) -> None:
        self.terms, self.package, self.polynomial = terms, package, polynomial


@final
class Round2Secret(Secret):
    """What a member keeps between parts two and three: the share it dealt itself."""

    __slots__ = ("confirmed", "identifier", "share")

    def __init__(self, confirmed: Confirmed, identifier: Identifier, share: Scalar) -> None:
        self.confirmed, self.identifier, self.share = confirmed, identifier, share


class Checked(NamedTuple):
    """One right package of every member, in ascending order."""

    terms: Terms
    packages: tuple[Round1Package, ...]


class Confirmed(NamedTuple):
    """Packages that every member has alike: `davy.killswitch.echo.confirm` says so. By hand only for vectors."""

    checked: Checked


def part1(terms: Terms, identifier: Identifier, entropy: Entropy) -> tuple[Round1Secret, Round1Package]:
    """Deal a polynomial and commit to it.

    Raises
    ------
    Malformed, Unauthorised
        Terms that cannot be kept, or that do not name this member.
    Misconfigured
        The source of randomness repeats itself or gives too little.
    """
    check_terms(terms)
    if identifier not in terms.members:
        raise Unauthorised(f"{named([identifier])} is not a member of this ceremony; have it named in the terms")
    # 64 bytes mod L: the bias is below 2^−250.
    *coefficients, k = map(reduce, draw(entropy, 64, terms.threshold + 1))
    polynomial = Polynomial(coefficients)
    commitment, r = polynomial.commitment(), multiply_base(k)
    c = proof_challenge(identifier, commitment[0], r, terms.context)
    z = add_scalars(k, multiply_scalars(polynomial.constant, c))
    package = Round1Package(1, terms.context, identifier, commitment, r + z)
    return Round1Secret(terms, package, polynomial), package


def check_round1(terms: Terms, packages: Sequence[Round1Package]) -> Checked:
    """Check every member's package, one's own too.

    Raises
    ------
    Misbehaved
        `culprits` sent packages of another session, commitments of a length other than t, what is no point, or no
        valid proof; the sentence says which.
    Malformed, Unauthorised
        A package is missing or doubled, or of a stranger; or the terms cannot be kept.
    """
    check_terms(terms)
    return Checked(terms, right_ones(terms.members, packages, lambda p: _fault(terms, p)))


def part2(secret: Round1Secret, confirmed: Confirmed) -> tuple[Round2Secret, tuple[Round2Share, ...]]:
    """Give every other member its share.

    Raises
    ------
    Misdirected
        The confirmed packages are of another session, or hold another package than this member sent.
    """
    checked, own = confirmed.checked, secret.package
    if checked.terms != secret.terms or own not in checked.packages:
        raise Misdirected("the packages do not hold the one that was sent from here; begin again")
    shares = tuple(
        Round2Share(1, own.context, own.identifier, i, secret.polynomial.at(i))
        for i in checked.terms.members
        if i != own.identifier
    )
    return Round2Secret(confirmed, own.identifier, secret.polynomial.at(own.identifier)), shares


def part3(secret: Round2Secret, shares: Sequence[Round2Share]) -> tuple[KeyPackage, PublicKeyPackage]:
    """Check the shares that others dealt this member, and add them up.

    Raises
    ------
    Misbehaved
        `culprits` sent shares that their commitments do not give.
    Misdirected
        A share is of another session or for another member.
    Malformed, Unauthorised
        A share is missing or doubled, or of a stranger.
    """
    terms, packages = secret.confirmed.checked
    total = sum_of_shares(secret, shares, is_share)
    group = sum_of_commitments([each.commitment for each in packages])
    group_key = point(group[0], "the group key")
    public = PublicKeyPackage(
        1, terms.threshold, group_key, tuple(VerifyingShare(i, committed(group, i)) for i in terms.members)
    )
    return KeyPackage(1, secret.identifier, terms.threshold, total, multiply_base(total), group_key), public


def sum_of_shares(
    secret: Round2Secret, shares: Sequence[Round2Share], holds: Callable[[Scalar, Sequence[Point], Identifier], bool]
) -> Scalar:
    """Add up what was dealt to one member, itself included, once every share `holds` for its sender's commitment.

    Raises
    ------
    Misbehaved, Misdirected, Malformed, Unauthorised
        See `part3`.
    """
    terms, packages = secret.confirmed.checked
    if any((each.context, each.recipient) != (terms.context, secret.identifier) for each in shares):
        raise Misdirected("a share is of another session or for another member; drop it")
    one_of_each([each.sender for each in shares], [i for i in terms.members if i != secret.identifier], "share")
    commitments = {each.identifier: each.commitment for each in packages}
    culprits = [s.sender for s in shares if not holds(s.share, commitments[s.sender], secret.identifier)]
    if culprits:
        raise Misbehaved(f"the shares of {named(culprits)} are wrong; begin again without them", in_order(culprits))
    total = secret.share
    for each in shares:
        total = add_scalars(total, each.share)
    return total


def right_ones(members: Sequence[Identifier], packages: Sequence[P], fault: Callable[[P], str | None]) -> tuple[P, ...]:
    """Return one package of every member, in the order of the members, if `fault` finds nothing in any.

    Raises
    ------
    Misbehaved
        `culprits` sent what has a fault.
    Malformed, Unauthorised
        A package is missing or doubled, or of a stranger.
    """
    one_of_each([each.identifier for each in packages], members, "package")
    by_member = {each.identifier: each for each in packages}
    ordered = tuple(by_member[i] for i in members)
    if faults := {p.identifier: why for p in ordered if (why := fault(p))}:
        told = "; ".join(f"{named([i])} sent {why}" for i, why in faults.items())
        raise Misbehaved(f"{told}: begin again without them", list(faults))
    return ordered


def check_terms(terms: Terms) -> None:
    """2 ≤ t ≤ n ≤ MAX_KEYHOLDERS, and members named once each in ascending order.

    Raises
    ------
    Malformed
    """
    ascending(terms.members, "a ceremony")
    if not 2 <= terms.threshold <= len(terms.members) <= MAX_KEYHOLDERS:
        raise Malformed(f"{terms.threshold} of {len(terms.members)} is no threshold; at least 2, at most all can sign")
    if len(terms.context) not in (0, 32):
        raise Malformed("the context of a session is the digest of 32 bytes; compute it from the session")


def proof_challenge(identifier: Identifier, key: Point, r: Point, context: SessionContext) -> Scalar:
    """Return c of a proof of knowledge: SHA-512(context ‖ "dkg" ‖ i ‖ A_i0 ‖ R ‖ session) mod L.

    It is bound to the member, its constant and the session, so that no proof can be replayed.
    """
    return hash_to_scalar(CONTEXT, b"dkg", identifier, key, r, context)


def _fault(terms: Terms, package: Round1Package) -> str | None:
    if package.context != terms.context:
        return "a package of another session"
    if len(package.commitment) != terms.threshold:
        return f"a commitment of {len(package.commitment)} coefficients for {terms.threshold}"
    if not all(map(is_point, package.commitment)):
        return "a commitment that is not a point of the group"
    key, r, z = package.commitment[0], package.proof[:32], package.proof[32:]
    if not is_point(r) or not is_scalar(z):
        return "a proof of knowledge that is not a point and scalar"
    expected = add_points(r, multiply(proof_challenge(package.identifier, key, r, terms.context), key))
    return None if any(z) and multiply_base(z) == expected else "a wrong proof of knowledge"


def one_of_each(senders: Sequence[Identifier], members: Iterable[Identifier], what: str) -> None:
    """Check that exactly one of what every member sends is there.

    Raises
    ------
    Malformed, Unauthorised
        One is missing or doubled, or of a stranger.
    """
    if strangers := set(senders).difference(members):
        raise Unauthorised(f"a {what} is of {named(in_order(strangers))}, no member of the ceremony; drop it")
    if missing := set(members).difference(senders):
        raise Malformed(f"the {what} of {named(in_order(missing))} is missing; wait for it")
    if len(set(senders)) != len(senders):
        raise Malformed(f"a member's {what} is there twice; hand in one of each")


def in_order(identifiers: Iterable[Identifier]) -> list[Identifier]:
    return sorted(identifiers, key=number)
