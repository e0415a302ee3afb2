"""Giving a keyholder back the share it lost: t or more others compute it together, and only who lost it sees it.

::

    each helper      secret, package = part1(terms, key, entropy)      package goes to everybody, the one repaired too
    each helper      confirmed = confirm(…)                            everybody got the same packages
    each helper      deltas = part2(secret, confirmed)                 a delta goes to one helper, encrypted
    each helper      sigma = part3(secret, confirmed, deltas)          goes to the one who lost its share, encrypted
    the repaired     key = part4(confirmed, sigmas)

A share is f(x) = Σ λ_i(x) s_i over the helpers. Each splits its summand at random into one δ for each helper, and
each helper hands on only the sum σ of the δ it got (Laing and Stinson, 2017/1155, and the crate frost-ed25519). There
the one repaired sees that its share is wrong, and not who is to blame; here each helper commits to its δ·B, which must
add up to λ_i(x) Y_i, and whoever sends another δ or σ than those is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple, final

from msgspec import Meta

from davy.killswitch import echo
from davy.killswitch.dkg import Package, SessionContext, Terms, check_terms, in_order, one_of_each, right_ones
from davy.killswitch.echo import Member, Received, Session
from davy.killswitch.group import (
    IDENTITY,
    Identifier,
    Point,
    Scalar,
    Secret,
    add_points,
    add_scalars,
    draw,
    is_point,
    multiply,
    multiply_base,
    multiply_scalars,
    named,
    nonzero,
    reduce,
    subtract_scalars,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, Version, belongs, check_key
from davy.killswitch.sharing import lagrange
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import Malformed, Misbehaved, Misdirected, Unauthorised
from davy.protocol.limits import MAX_KEYHOLDERS
from davy.protocol.ports import Entropy
from davy.protocol.signing import Domain, digest
from davy.protocol.words import Digest


class Work(Wire):
    """What a session of a repair names: whose share is computed, of which shares."""

    version: Version
    lost: Identifier
    public: PublicKeyPackage


class RepairTerms(NamedTuple):
    """What all helpers and the one who lost its share know before they begin."""

    public: PublicKeyPackage
    lost: Identifier
    helpers: tuple[Identifier, ...]
    """In ascending order."""
    context: SessionContext = b""


class RepairPackage(Package):
    """A helper's commitment δ·B to what it sends each helper, in the order of the helpers."""

    commitment: Annotated[tuple[Point, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]


class Delta(Secret, Wire):
    """δ of a sender for a recipient. Secret: it is sent only after it was encrypted to its recipient."""

    version: Version
    context: SessionContext
    sender: Identifier
    recipient: Identifier
    delta: Scalar


class Sigma(Secret, Wire):
    """σ of a helper. Secret: it is sent only after it was encrypted to the one who lost its share."""

    version: Version
    context: SessionContext
    sender: Identifier
    sigma: Scalar


@final
class RepairSecret(Secret):
    """What a helper keeps from part one on: its δ for each helper."""

    __slots__ = ("deltas", "package", "terms")

    def __init__(self, terms: RepairTerms, package: RepairPackage, deltas: dict[Identifier, Scalar]) -> None:
        self.terms, self.package, self.deltas = terms, package, deltas


class RepairConfirmed(NamedTuple):
    """Packages that everybody has alike, in the order of the helpers: `confirm` says so. By hand only for vectors."""

    terms: RepairTerms
    packages: tuple[RepairPackage, ...]


def work(public: PublicKeyPackage, lost: Identifier) -> Digest:
    return digest(Domain.REPAIR, encode(Work(1, lost, public)))


def terms(session: Session, own: Member | None, public: PublicKeyPackage, lost: Identifier) -> RepairTerms:
    """The terms of a session that a coordinator proposed, as its helpers and the one who lost its share take them.

    Parameters
    ----------
    own
        None for the one who lost its share: it is no member, and what an old session gives it is the same share.

    Raises
    ------
    Misdirected, Malformed, Unauthorised
        See `davy.killswitch.echo.terms` and `check_repair`.
    """
    about = work(public, lost)
    agreed = echo.agree(session, about) if own is None else echo.terms(session, own, about)
    repair = RepairTerms(public, lost, agreed.members, agreed.context)
    check_repair(repair)
    return repair


def check_repair(terms: RepairTerms) -> None:
    """Check that t or more other keyholders help one of the key's own.

    Raises
    ------
    Malformed, Unauthorised
    """
    public, lost, helpers, context = terms
    check_terms(Terms(public.threshold, helpers, context))
    if strangers := [i for i in (lost, *helpers) if i not in public.shares()]:
        raise Unauthorised(f"the key has no {named(strangers)}; a repair is among its keyholders only")
    if lost in helpers:
        raise Malformed(f"{named([lost])} cannot help to repair its own share; ask {public.threshold} others")


def part1(terms: RepairTerms, key: KeyPackage, entropy: Entropy) -> tuple[RepairSecret, RepairPackage]:
    """Split λ_i(x) s_i at random into a δ for each helper, and commit to all of them.

    Raises
    ------
    Malformed, Unauthorised
        Terms that cannot be kept, that do not name this helper, or that are of another key.
    Misconfigured
        The source of randomness repeats itself or gives too little.
    """
    check_repair(terms)
    belongs(key, terms.public)
    if key.identifier not in terms.helpers:
        raise Unauthorised(f"{named([key.identifier])} is not a helper of this repair; have it named in the terms")
    *others, last = terms.helpers
    deltas = dict(zip(others, map(reduce, draw(entropy, 64, len(others))), strict=True))
    rest = multiply_scalars(lagrange(key.identifier, terms.helpers, terms.lost), key.signing_share)
    for delta in deltas.values():
        rest = subtract_scalars(rest, delta)
    deltas[last] = rest
    commitment = tuple(multiply_base(deltas[i]) for i in terms.helpers)
    package = RepairPackage(1, terms.context, key.identifier, commitment)
    return RepairSecret(terms, package, deltas), package


def check_packages(terms: RepairTerms, packages: Sequence[RepairPackage]) -> tuple[RepairPackage, ...]:
    """Check that every helper's commitments add up to its part of the share, Σ_j δ_ij·B = λ_i(x) Y_i.

    Raises
    ------
    Misbehaved
        `culprits` sent packages of another session, not one commitment for each helper, what is no point, or what adds
        up to something else.
    Malformed, Unauthorised
        A package is missing or doubled, or of a stranger; or the terms cannot be kept.
    """
    check_repair(terms)
    return right_ones(terms.helpers, packages, lambda p: _fault(terms, p))


def confirm(
    session: Session,
    own: Identifier,
    agreed: RepairTerms,
    received: Sequence[Received[RepairPackage]],
    echoes: Sequence[bytes],
) -> RepairConfirmed:
    """Check the packages, and that every other helper echoes the same ones.

    Parameters
    ----------
    own
        A helper, or the one who lost its share: it has no package and sends no echo, and needs one of each helper.

    Raises
    ------
    Misbehaved, TooLarge, Malformed, BadSignature, Misdirected, Unauthorised
        See `check_packages` and `davy.killswitch.echo.compare`.
    """
    helpers = tuple(m.identifier for m in session.members)
    if (helpers, echo.context(session)) != (agreed.helpers, agreed.context):
        raise Misdirected("the session is not the one that was agreed to; have it proposed anew")
    packages = check_packages(agreed, [each.package for each in received])
    echo.compare(session, received, echoes, own)
    return RepairConfirmed(agreed, packages)


def part2(secret: RepairSecret, confirmed: RepairConfirmed) -> tuple[Delta, ...]:
    """Give every other helper its δ.

    Raises
    ------
    Misdirected
        The confirmed packages are of another repair, or hold another package than this helper sent.
    """
    _same(secret, confirmed)
    own = secret.package
    return tuple(
        Delta(1, own.context, own.identifier, i, delta) for i, delta in secret.deltas.items() if i != own.identifier
    )


def part3(secret: RepairSecret, confirmed: RepairConfirmed, deltas: Sequence[Delta]) -> Sigma:
    """Check the δ that others sent this helper, and add them up.

    Raises
    ------
    Misbehaved
        `culprits` sent a δ that their commitments do not give.
    Misdirected
        A δ is of another session or for another helper, or the confirmed packages are of another repair.
    Malformed, Unauthorised
        One is missing or doubled, or of a stranger.
    """
    _same(secret, confirmed)
    own, helpers = secret.package.identifier, confirmed.terms.helpers
    if any((each.context, each.recipient) != (confirmed.terms.context, own) for each in deltas):
        raise Misdirected("a part of the share is of another session or for another helper; drop it")
    one_of_each([each.sender for each in deltas], [i for i in helpers if i != own], "part")
    place = helpers.index(own)
    promised = {p.identifier: p.commitment[place] for p in confirmed.packages}
    if culprits := [d.sender for d in deltas if not _gives(d.delta, promised[d.sender])]:
        raise Misbehaved(f"what {named(culprits)} sent is wrong; begin again without them", in_order(culprits))
    total = secret.deltas[own]
    for each in deltas:
        total = add_scalars(total, each.delta)
    return Sigma(1, confirmed.terms.context, own, total)


def part4(confirmed: RepairConfirmed, sigmas: Sequence[Sigma]) -> KeyPackage:
    """Check the σ of all helpers, and add them up to the share that was lost.

    Raises
    ------
    Misbehaved
        `culprits` sent a σ other than the sum of what all helpers committed to for them.
    Misdirected
        A σ is of another session.
    Malformed, Unauthorised
        One is missing or doubled, or of a stranger.
    """
    public, lost, helpers, context = confirmed.terms
    if any(each.context != context for each in sigmas):
        raise Misdirected("a part of the share is of another session; drop it")
    one_of_each([each.sender for each in sigmas], helpers, "part")
    promised = dict.fromkeys(helpers, IDENTITY)
    for package in confirmed.packages:
        for i, each in zip(helpers, package.commitment, strict=True):
            promised[i] = add_points(promised[i], each)
    if culprits := [s.sender for s in sigmas if not _gives(s.sigma, promised[s.sender])]:
        raise Misbehaved(f"what {named(culprits)} sent is wrong; begin again without them", in_order(culprits))
    share = bytes(32)
    for each in sigmas:
        share = add_scalars(share, each.sigma)
    key = KeyPackage(1, lost, public.threshold, share, public.shares()[lost], public.group_key)
    check_key(key, public)
    return key


def _fault(terms: RepairTerms, package: RepairPackage) -> str | None:
    if package.context != terms.context:
        return "a package of another session"
    if len(package.commitment) != len(terms.helpers):
        return f"{len(package.commitment)} commitments for {len(terms.helpers)} helpers"
    if not all(map(is_point, package.commitment)):
        return "a commitment that is not a point of the group"
    total = IDENTITY
    for each in package.commitment:
        total = add_points(total, each)
    i = package.identifier
    part = multiply(lagrange(i, terms.helpers, terms.lost), terms.public.shares()[i])
    return None if total == part else "commitments that do not add up to its part of the share"


def _gives(scalar: Scalar, promised: Point) -> bool:
    """Whether the scalar is the one committed to; zero is none, as the identity is no point."""
    try:
        return multiply_base(nonzero(scalar, "a part")) == promised
    except Malformed:
        return False


def _same(secret: RepairSecret, confirmed: RepairConfirmed) -> None:
    if confirmed.terms != secret.terms or secret.package not in confirmed.packages:
        raise Misdirected("the packages do not hold the one that was sent from here; begin again")
