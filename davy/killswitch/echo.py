"""Echo broadcast: before a share leaves a member, all have the same round-one packages, or know who sent two.

Each member signs its package for the session and, when it has everybody's, signs and sends an echo of what it heard: a
digest and the sender's signature for each. Members that both confirm have compared with each other directly. Where two
echoes differ, the sender's own signatures under both digests prove that it sent two; an echo with a digest that its
sender did not sign names the one who echoed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Generic, NamedTuple, TypeVar

from msgspec import Meta

from davy.killswitch.dkg import Checked, Confirmed, Package, Round1Package, Terms, check_round1, check_terms
from davy.killswitch.group import Identifier, named, number
from davy.killswitch.keys import Threshold, Version
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import BadSignature, Malformed, Misbehaved, Misdirected, Unauthorised
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS, MAX_NAME_CHARS
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import Digest, PublicKey, Signature

P = TypeVar("P", bound=Package)


class Member(Wire):
    """Who takes part: under which key it signs what it sends, and 32 bytes that it drew for this session alone."""

    identifier: Identifier
    key: PublicKey
    salt: Digest


class Session(Wire):
    """One run of the ceremony. Every member's salt is in it, so no member's packages fit two."""

    version: Version
    purpose: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]*\Z")]
    """What the key is for, as the members' screens show it."""
    threshold: Threshold
    members: Annotated[tuple[Member, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]


class MendingSession(Session):
    """One run of a refresh or a repair."""

    work: Digest
    """Of the shares that are refreshed (`davy.killswitch.refresh.work`) or repaired (`davy.killswitch.repair.work`)."""


class Round1Statement(Wire):
    """What a member signs about its package, in the domain DKG_ROUND1; only once in a session."""

    version: Version
    context: Digest
    sender: Identifier
    package: Digest


class SignedRound1(Wire):
    """A package's exact bytes, and its sender's signature of the statement about them."""

    version: Version
    package: Annotated[bytes, Meta(max_length=MAX_CEREMONY_BYTES)]
    signature: Signature


class Heard(Wire):
    """What somebody heard from a sender."""

    sender: Identifier
    package: Digest
    signature: Signature


class Echo(Wire):
    """Everything that a member heard, in ascending order of the senders, its own package too."""

    version: Version
    context: Digest
    member: Identifier
    heard: Annotated[tuple[Heard, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]


class SignedEcho(Wire):
    """An echo's exact bytes and the member's signature in the domain DKG_ECHO."""

    version: Version
    echo: Annotated[bytes, Meta(max_length=MAX_CEREMONY_BYTES)]
    signature: Signature


class Transcript(Wire):
    """The packages of a session by their digests, in ascending order of their senders."""

    version: Version
    context: Digest
    packages: Annotated[tuple[Digest, ...], Meta(min_length=2, max_length=MAX_KEYHOLDERS)]


class Received(NamedTuple, Generic[P]):
    """A package whose sender is known, and the entry for it in an echo."""

    package: P
    heard: Heard


def context(session: Session) -> Digest:
    return digest(Domain.DKG_SESSION, encode(session))


def terms(session: Session, own: Member, work: Digest | None = None) -> Terms:
    """The terms of a session that a coordinator proposed for this work, as one of its members takes them.

    Raises
    ------
    Misdirected
        The session does not hold this member's identifier, key and salt: it is an old one, or another's. Or it is for
        other work.
    Malformed
        A threshold that cannot be kept; members zero, doubled or out of order, or two with one key.
    """
    agreed = agree(session, work)
    if own not in session.members:
        raise Misdirected("the session does not hold the key and the salt of this member; have it proposed anew")
    return agreed


def agree(session: Session, work: Digest | None) -> Terms:
    """The same, as one takes them who only looks on: it has no salt in it, and cannot tell an old session by that.

    Raises
    ------
    Misdirected, Malformed
        See `terms`.
    """
    agreed = Terms(session.threshold, tuple(m.identifier for m in session.members), context(session))
    check_terms(agreed)
    if len({m.key for m in session.members}) != len(session.members):
        raise Malformed("two members of the session have the same key; each must hold its own")
    if (session.work if isinstance(session, MendingSession) else None) != work:
        raise Misdirected("the session is for another key, or for other work; have it proposed anew")
    return agreed


def statement(package: Package) -> bytes:
    """What the sender of a package signs in the domain DKG_ROUND1."""
    return encode(Round1Statement(1, package.context, package.identifier, _digest(encode(package))))


def open_round1(session: Session, raw: bytes) -> Received[Round1Package]:
    """Decode a member's signed package of a dkg or a refresh; see `open_package`."""
    return open_package(session, raw, Round1Package)


def open_package(session: Session, raw: bytes, kind: type[P]) -> Received[P]:
    """Decode a signed package and check who sent it. Whether it is right is checked by `confirm`.

    Raises
    ------
    TooLarge, Malformed, BadSignature
    Misdirected
        It is of another session.
    Unauthorised
        It is of no member.
    """
    signed = decode(raw, SignedRound1, limit=MAX_CEREMONY_BYTES)
    package = decode(signed.package, kind, limit=MAX_CEREMONY_BYTES)
    if package.context != context(session):
        raise Misdirected("the package is of another session; drop it")
    key = _key(session, package.identifier)
    verify(key, Domain.DKG_ROUND1, statement(package), signed.signature)
    return Received(package, Heard(package.identifier, _digest(signed.package), signed.signature))


def authored(raw: bytes, kind: type[Package], member: Identifier, key: PublicKey) -> Digest:
    """Check that a signed package is this member's, and return which session it says it is of; nothing else is checked.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Unauthorised
    """
    signed = decode(raw, SignedRound1, limit=MAX_CEREMONY_BYTES)
    package = decode(signed.package, kind, limit=MAX_CEREMONY_BYTES)
    if package.identifier != member:
        raise Unauthorised("the package is another member's; leave its sender out")
    verify(key, Domain.DKG_ROUND1, statement(package), signed.signature)
    return package.context


def echo(session: Session, member: Identifier, received: Sequence[Received[P]]) -> Echo:
    """What a member signs in the domain DKG_ECHO and sends to all, when it has a package of everybody."""
    heard = sorted((each.heard for each in received), key=lambda h: number(h.sender))
    return Echo(1, context(session), member, tuple(heard))


def confirm(
    session: Session, own: Member, received: Sequence[Received[Round1Package]], echoes: Sequence[bytes]
) -> Confirmed:
    """Check the packages, and that every other member echoes the same ones.

    Parameters
    ----------
    received
        One package of each member, this one's included.
    echoes
        Every other member's `SignedEcho`.

    Raises
    ------
    Misbehaved
        `culprits` sent two packages, a wrong one, or an echo of what nobody signed or without somebody.
    TooLarge, Malformed, BadSignature, Misdirected, Unauthorised
        An echo or a package is missing, doubled, of a stranger or of another session.
    """
    agreed = terms(session, own)
    checked = check_round1(agreed, [each.package for each in received])
    compare(session, received, echoes, own.identifier)
    return Confirmed(checked)


def compare(session: Session, received: Sequence[Received[P]], echoes: Sequence[bytes], own: Identifier) -> None:
    """Check that all members but `own`, who need be none, echo what was received here, one package of each member.

    Raises
    ------
    Misbehaved
        `culprits` sent two packages, or an echo of what nobody signed or without somebody.
    TooLarge, Malformed, BadSignature, Misdirected, Unauthorised
        An echo is missing, doubled, of a stranger or of another session.
    """
    members = [m.identifier for m in session.members]
    opened = [_open_echo(session, raw) for raw in echoes]
    echoing = [each.member for each in opened]
    if sorted(echoing) != sorted(i for i in members if i != own):
        raise Malformed("one echo of every other member is needed; wait for those missing, drop the others")
    heard = {each.heard.sender: each.heard.package for each in received}
    mine = {i: heard[i] for i in members}
    faults: dict[Identifier, str] = {}
    for each in opened:
        faults |= _faults(session, mine, each)
    if faults:
        told = "; ".join(f"{named([i])} sent {faults[i]}" for i in members if i in faults)
        raise Misbehaved(f"{told}: begin again without them", [i for i in members if i in faults])


def transcript(checked: Checked) -> Digest:
    """One digest of all packages, which members who carry them by hand read to each other before they deal shares."""
    packages = tuple(_digest(encode(each)) for each in checked.packages)
    return digest(Domain.DKG_ECHO, encode(Transcript(1, checked.terms.context, packages)))


def _faults(session: Session, mine: Mapping[Identifier, Digest], echo: Echo) -> dict[Identifier, str]:
    if tuple(each.sender for each in echo.heard) != tuple(mine):
        return {echo.member: "an echo that is not of every member"}
    faults: dict[Identifier, str] = {}
    for each in echo.heard:
        if each.package == mine[each.sender]:
            continue
        try:
            said = encode(Round1Statement(1, echo.context, each.sender, each.package))
            verify(_key(session, each.sender), Domain.DKG_ROUND1, said, each.signature)
        except BadSignature:
            faults[echo.member] = "an echo of what nobody signed"
        else:
            faults[each.sender] = "two packages"
    return faults


def _open_echo(session: Session, raw: bytes) -> Echo:
    signed = decode(raw, SignedEcho, limit=MAX_CEREMONY_BYTES)
    heard = decode(signed.echo, Echo, limit=MAX_CEREMONY_BYTES)
    if heard.context != context(session):
        raise Misdirected("an echo is of another session; drop it")
    verify(_key(session, heard.member), Domain.DKG_ECHO, signed.echo, signed.signature)
    return heard


def _key(session: Session, member: Identifier) -> PublicKey:
    keys = {each.identifier: each.key for each in session.members}
    if member not in keys:
        raise Unauthorised(f"{named([member])} is not a member of this session; drop what it sent")
    return keys[member]


def _digest(package: bytes) -> Digest:
    return digest(Domain.DKG_ROUND1, package)
