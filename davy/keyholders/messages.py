"""What keyholders ask each other: ``POST /keyholder``, one `Ask` in, one `Answer` out, canonical bytes both.

A request is signed by the asking keyholder's own key, by davy's profile of RFC 9421 with the circle's digest where
nodes name the chain: a circle is there before its chain is. The answer comes over TLS pinned in the circle's line. What
one keyholder passes on for another (hellos, packages, echoes) is signed by its author besides, and shares are encrypted
to their recipient: whoever passes them on can keep them back, and nothing else.

============  ==============================================  ==================================
a signature   `Consider` (held until decided or for a while)  `Waiting`, `Willing`, `Declined`
              or `Rehearse` likewise: nothing stops
              or `Accede` likewise: who is to be installed
              `Commit`                                        `Committed`
              `Sign`                                          `Released`
              `Finished`                                      `Noted`
a roster      `Invite` (held likewise)                        `Waiting`, `Joined`, `Declined`
              `Begin`                                         `Dealt`
              `Packages`                                      `Echoed`
              `Echoes`, of each key                           `Noted`
              `Deal` (held likewise)                          `Waiting`, `Boxed`, `Declined`
              `Boxes`                                         `Founded`
new shares    `Recall`                                        `Recalled`, `Declined`
              `Renew` (held likewise)                         `Waiting`, `Joined`, `Declined`
              `Begin`, `Packages`, `Echoes`                   as for a roster
              `Deal`                                          `Boxed`
              `Boxes`                                         `Holds`
              `Adopt`                                         `Noted`
              or `RehearseMending`; then to `Boxes`           `Noted`
a lost share  `Recall`                                        `Recalled`, `Declined`
              `Mend` (held likewise)                          `Waiting`, `Joined`, `Declined`
              `Begin`, `Packages`, `Echoes`                   as for a roster; the mended: `Noted`
              `Deal`, not to the mended                       `Boxed`
              `Boxes`, not to the mended                      `Parted`
              `Parts`, to the mended                          `Noted`
              or `RehearseMending`; then to `Boxes`           `Noted`, and no `Parts`
============  ==============================================  ==================================
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from davy.keyholders.keys import MAX_HELD, Number
from davy.killswitch.frost import SignatureShare, SigningCommitments, SigningPackage
from davy.killswitch.group import Identifier
from davy.protocol.encoding import Wire, encode
from davy.protocol.limits import (
    MAX_CEREMONY_BYTES,
    MAX_CIRCLE,
    MAX_NAMED_ORDERS,
    MAX_ORDER_BYTES,
    MAX_REASON_BYTES,
    MAX_SHOWN_ORDERS,
    MAX_SIGNED_ORDER_BYTES,
)
from davy.protocol.order import GroupKey, order_id
from davy.protocol.roster import GroupEpoch, Roster, Threshold
from davy.protocol.signing import Domain, digest, prefix
from davy.protocol.words import Digest, PublicKey, Signature

OrderBytes: TypeAlias = Annotated[bytes, Meta(max_length=MAX_ORDER_BYTES)]
SignedOrderBytes: TypeAlias = Annotated[bytes, Meta(max_length=MAX_SIGNED_ORDER_BYTES)]
Nonce16: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
Sentence: TypeAlias = Annotated[str, Meta(max_length=500)]
CeremonyBytes: TypeAlias = Annotated[bytes, Meta(max_length=MAX_CEREMONY_BYTES)]
OfEach: TypeAlias = Annotated[tuple[CeremonyBytes, ...], Meta(max_length=MAX_CIRCLE)]


class Consider(Wire, tag="consider"):
    """Will you sign this? `named` are the orders that it names, so that the screen can show them."""

    order: OrderBytes
    reason: Annotated[str, Meta(max_length=MAX_REASON_BYTES)]
    named: Annotated[tuple[OrderBytes, ...], Meta(max_length=MAX_NAMED_ORDERS)]


class Rehearse(Wire, tag="rehearse"):
    """Will you rehearse the signing of this? The signature is of another domain: no node takes it for an order's."""

    order: OrderBytes
    reason: Annotated[str, Meta(max_length=MAX_REASON_BYTES)]
    named: Annotated[tuple[OrderBytes, ...], Meta(max_length=MAX_NAMED_ORDERS)]


class Accede(Wire, tag="accede"):
    """Will you sign this INSTALL with a key that it puts into office? Once for each of the two.

    The person is asked once for one order, by `Consider` too.
    """

    order: OrderBytes
    reason: Annotated[str, Meta(max_length=MAX_REASON_BYTES)]
    named: Annotated[tuple[OrderBytes, ...], Meta(max_length=MAX_NAMED_ORDERS)]
    key: GroupKey
    rehearsal: bool


Proposal: TypeAlias = Consider | Rehearse | Accede


class Proposed(Wire):
    """What a keyholder keeps of what its person said yes to."""

    proposal: Proposal


class _Accession(Wire):
    version: int
    matter: Digest
    key: GroupKey


def is_rehearsal(p: Proposal) -> bool:
    return isinstance(p, Rehearse) or (isinstance(p, Accede) and p.rehearsal)


def matter_id(p: Proposal) -> Digest:
    """What a person says yes to: the order's id, or another digest where it is only rehearsed."""
    return digest(Domain.REHEARSAL, p.order) if is_rehearsal(p) else order_id(p.order)


def proposal_id(p: Proposal) -> Digest:
    """What `Commit` and `Sign` name: which key signs which matter."""
    i = matter_id(p)
    return digest(Domain.ACCESSION, encode(_Accession(1, i, p.key))) if isinstance(p, Accede) else i


def signed_bytes(p: Proposal) -> bytes:
    """What the group key signs of a proposal."""
    return prefix(Domain.REHEARSAL if is_rehearsal(p) else Domain.ORDER) + p.order


class Commit(Wire, tag="commit"):
    """Round one: commit to fresh nonces for an order that was considered. One attempt ends the one before."""

    order: Digest
    """`proposal_id`."""
    attempt: Nonce16
    generation: Digest
    """Of the shares that sign; all signers use the same."""


class Sign(Wire, tag="sign"):
    """Round two."""

    order: Digest
    attempt: Nonce16
    package: SigningPackage


class Finished(Wire, tag="finished"):
    """The whole order; each keyholder releases it once more."""

    signed: Annotated[bytes, Meta(max_length=MAX_SIGNED_ORDER_BYTES)]


class Invite(Wire, tag="invite"):
    """Shall these make the keys of a roster? `members` by key."""

    ceremony: Nonce16
    epoch: GroupEpoch
    halt_threshold: Threshold
    lift_threshold: Threshold
    members: Annotated[tuple[PublicKey, ...], Meta(min_length=2, max_length=MAX_CIRCLE)]


class Begin(Wire, tag="begin"):
    """Everybody's `SignedHello`."""

    ceremony: Nonce16
    hellos: OfEach


class Packages(Wire, tag="packages"):
    """Everybody's `SignedRound1` for each key."""

    ceremony: Nonce16
    halt: OfEach
    lift: OfEach


class Echoes(Wire, tag="echoes"):
    """The `SignedEcho` of everybody else, for one key."""

    ceremony: Nonce16
    key: GroupKey
    echoes: OfEach


class Deal(Wire, tag="deal"):
    """Everybody has everything: deal the shares, if the fingerprint is the same at all."""

    ceremony: Nonce16


class Sealed(Wire):
    """A `Round2Share`, encrypted by `sender` to `recipient`."""

    sender: PublicKey
    recipient: PublicKey
    box: Annotated[bytes, Meta(max_length=512)]


BoxesOfEach: TypeAlias = Annotated[tuple[Sealed, ...], Meta(max_length=MAX_CIRCLE)]


class Boxes(Wire, tag="boxes"):
    """What everybody else dealt to this keyholder."""

    ceremony: Nonce16
    halt: BoxesOfEach
    lift: BoxesOfEach


class Recall(Wire, tag="recall"):
    """Say which shares of this roster you have, and what proves them."""

    roster: Digest


class Renew(Wire, tag="renew"):
    """Shall these deal the shares anew? Who of the roster is not among `members` is removed."""

    ceremony: Nonce16
    roster: Digest
    base: Digest
    """The generation that is dealt from: the one in office at all of them."""
    number: Number
    members: Annotated[tuple[PublicKey, ...], Meta(min_length=2, max_length=MAX_CIRCLE)]


class Adopt(Wire, tag="adopt"):
    """A `Proof` that all members of a generation have it."""

    proof: CeremonyBytes


class Mend(Wire, tag="mend"):
    """Will you help to give a keyholder its share back? Who helps, of those who said yes, is in `Begin`.

    `proof` is of the generation in office at all helpers.
    """

    ceremony: Nonce16
    roster: Digest
    proof: CeremonyBytes
    mended: PublicKey


class RehearseMending(Wire, tag="rehearse-mending"):
    """Will you rehearse this? All steps but the last: no share is staged, and none is given back."""

    of: Renew | Mend


class Parts(Wire, tag="parts"):
    """What all helpers computed for the one mended."""

    ceremony: Nonce16
    halt: BoxesOfEach
    lift: BoxesOfEach


Step: TypeAlias = Begin | Packages | Echoes | Deal | Boxes | Parts
"""Of a ceremony that has begun."""

Ask: TypeAlias = (
    Consider
    | Rehearse
    | Commit
    | Sign
    | Finished
    | Invite
    | Recall
    | Renew
    | Adopt
    | Mend
    | Step
    | Accede
    | RehearseMending
)


class Waiting(Wire, tag="waiting"):
    """No person has decided yet; ask again."""


class Willing(Wire, tag="willing"):
    """A person said yes. `generations` of shares that this keyholder can sign with, the one in office first."""

    generations: Annotated[tuple[Digest, ...], Meta(min_length=1, max_length=MAX_HELD)]


class Declined(Wire, tag="declined"):
    """No, and why."""

    why: Sentence
    standing: Annotated[tuple[SignedOrderBytes, ...], Meta(max_length=MAX_SHOWN_ORDERS)]
    """Orders that a LIFT or an INSTALL would have to name too: whole ones, or bytes that a share was released for."""


class Committed(Wire, tag="committed"):
    commitments: SigningCommitments


class Released(Wire, tag="released"):
    share: SignatureShare


class Noted(Wire, tag="noted"):
    """Taken in; nothing to say."""


class Joined(Wire, tag="joined"):
    """A person said yes. A `SignedHello`; of a `Hello`, or of a `MendingHello`."""

    hello: CeremonyBytes


class Dealt(Wire, tag="dealt"):
    """A `SignedRound1` for each key."""

    halt: CeremonyBytes
    lift: CeremonyBytes


class Echoed(Wire, tag="echoed"):
    """A `SignedEcho` for each key."""

    halt: CeremonyBytes
    lift: CeremonyBytes


class Boxed(Wire, tag="boxed"):
    """The fingerprint was confirmed. A share for everybody else."""

    halt: BoxesOfEach
    lift: BoxesOfEach


class Founded(Wire, tag="founded"):
    """The keys are made and kept. All must say the same roster."""

    roster: Roster


class Recalled(Wire, tag="recalled"):
    """The `Proof` of the generation in office here, and the number of the newest that is held."""

    proof: CeremonyBytes
    newest: Number


class Holds(Wire, tag="holds"):
    """The new share is on the disk: the member's word for the generation's proof."""

    proof: CeremonyBytes
    """A `Proof` with one word, this member's."""


class Blamed(Wire, tag="blamed"):
    """A step failed here because of what others sent; `culprits` by identifier. Whoever says so may lie as well."""

    why: Sentence
    culprits: Annotated[tuple[Identifier, ...], Meta(max_length=MAX_CIRCLE)]


class Parted(Wire, tag="parted"):
    """What a helper computed for the one mended, of each key."""

    halt: Sealed
    lift: Sealed


Answer: TypeAlias = (
    Waiting
    | Willing
    | Declined
    | Committed
    | Released
    | Noted
    | Joined
    | Dealt
    | Echoed
    | Boxed
    | Founded
    | Recalled
    | Holds
    | Parted
    | Blamed
)


class Hello(Wire):
    """What a keyholder brings to one ceremony alone: fresh salts for both sessions, and a fresh key to encrypt to."""

    version: Annotated[int, Meta(ge=1, le=1)]
    ceremony: Nonce16
    epoch: GroupEpoch
    halt_threshold: Threshold
    lift_threshold: Threshold
    member: PublicKey
    halt_salt: Digest
    lift_salt: Digest
    box: PublicKey
    """X25519."""


class SignedHello(Wire):
    """A hello's exact bytes and its member's signature in the domain DKG_HELLO."""

    version: Annotated[int, Meta(ge=1, le=1)]
    hello: Annotated[bytes, Meta(max_length=512)]
    signature: Signature


class MendingHello(Wire):
    """The same where keys are there already. `terms` is the digest of the `Renew` or `Mend` that was agreed to."""

    version: Annotated[int, Meta(ge=1, le=1)]
    terms: Digest
    member: PublicKey
    halt_salt: Digest
    lift_salt: Digest
    box: PublicKey
    """X25519."""
