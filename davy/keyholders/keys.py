"""What a keyholder has after a ceremony: its shares of both group keys, generation after generation.

A roster's shares are dealt anew by each refresh: the keys stay, and shares of two generations do not mix. Nobody can
make several machines change at one moment, so a holder has the generation in office, and may have later ones that it
staged. It drops a generation only when it knows that every member of a later one has that one on its disk: all their
signatures together are the later one's proof. So at any moment, whatever crashed, and whoever kept a proof back, all
members of the latest generation that is proved anywhere have it, and before the first proof all have the old one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final, NamedTuple, Protocol

from msgspec import Meta

from davy.killswitch.group import Identifier, Secret, identifier, number
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, check_key, check_public
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed, Misconfigured, Misdirected, Refused, TooLarge
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_CIRCLE
from davy.protocol.order import GroupKey
from davy.protocol.roster import Roster, check_roster, roster_digest
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import ChainId, Digest, PublicKey, Signature

MAX_HELD: Final = 32
"""Generations that one keyholder has at once: refreshes that did not come to an end add up."""
MAX_GENERATION: Final = 2**32 - 1
_MAX_HOLDINGS_BYTES: Final = 4 * MAX_CEREMONY_BYTES

Number = Annotated[int, Meta(ge=0, le=MAX_GENERATION)]


class Generation(Wire):
    """The public part of one generation of shares: who holds them, and the verifying shares of both keys."""

    version: Annotated[int, Meta(ge=1, le=1)]
    roster: Digest
    number: Number
    """0 is the one that the keys were made with; each refresh has a greater one than all that its members hold."""
    base: Digest
    """The generation that it was dealt from; zeros for the first."""
    halt: PublicKeyPackage
    lift: PublicKeyPackage

    def of(self, key: GroupKey) -> PublicKeyPackage:
        return self.halt if key is GroupKey.HALT else self.lift

    @property
    def members(self) -> tuple[Identifier, ...]:
        return tuple(self.halt.shares())


class Staging(Wire):
    """What a member signs, in the domain STAGED, once its share of a generation is on its disk."""

    version: Annotated[int, Meta(ge=1, le=1)]
    generation: Digest
    member: PublicKey


class Word(Wire):
    """A member's signature of its `Staging`."""

    member: PublicKey
    signature: Signature


class Proof(Wire):
    """A generation and the words of all its members, by identifier; the first generation needs none."""

    version: Annotated[int, Meta(ge=1, le=1)]
    generation: Generation
    words: Annotated[tuple[Word, ...], Meta(max_length=MAX_CIRCLE)]


class Held(Secret, Wire):
    """One keyholder's shares of one generation. Secret."""

    generation: Generation
    halt: KeyPackage
    lift: KeyPackage

    def of(self, key: GroupKey) -> tuple[KeyPackage, PublicKeyPackage]:
        return (self.halt if key is GroupKey.HALT else self.lift), self.generation.of(key)


class Holdings(Secret, Wire):
    """All of a keyholder's shares of one roster. Secret: its bytes are written only after they were encrypted."""

    version: Annotated[int, Meta(ge=1, le=1)]
    roster: Roster
    held: Annotated[tuple[Held, ...], Meta(min_length=1, max_length=MAX_HELD)]
    """By number; the first is in office, the others are staged."""
    words: Annotated[tuple[Word, ...], Meta(max_length=MAX_CIRCLE)]
    """Those that prove the first."""

    @property
    def office(self) -> Held:
        return self.held[0]

    @property
    def newest(self) -> int:
        return self.held[-1].generation.number

    @property
    def proof(self) -> Proof:
        return Proof(1, self.office.generation, self.words)

    def find(self, generation: Digest) -> Held | None:
        return next((h for h in self.held if generation_id(h.generation) == generation), None)


class FirstShares(Secret, Wire):
    """What share files held before shares could be dealt anew: those that a roster was founded with. Only read."""

    version: Annotated[int, Meta(ge=1, le=1)]
    roster: Roster
    halt: KeyPackage
    halt_public: PublicKeyPackage
    lift: KeyPackage
    lift_public: PublicKeyPackage


class Vault(Protocol):
    """Where shares are kept, encrypted: one entry a roster."""

    async def keep(self, roster: Digest, body: bytes) -> None:
        """Keep the shares of a roster that has none here; durable on return.

        Raises
        ------
        StoreFailed, Misconfigured
        """
        ...

    async def replace(self, roster: Digest, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old`, at once and durably: a crash leaves one of them whole.

        Raises
        ------
        Busy
            Another process put something else there meanwhile.
        StoreFailed, NoSuchKey, WrongPassword, Misconfigured
        """
        ...

    async def open(self, roster: Digest) -> bytes:
        """Return them.

        Raises
        ------
        NoSuchKey, WrongPassword, Misconfigured
        """
        ...


class Office(NamedTuple):
    """In which office a keyholder signs: for which chain, in which roster, with which shares."""

    chain: ChainId
    roster: Roster
    holdings: Holdings

    @property
    def keys(self) -> Held:
        return self.holdings.office

    @property
    def identifier(self) -> Identifier:
        return self.keys.halt.identifier

    def threshold(self, key: GroupKey) -> int:
        return self.roster.halt_threshold if key is GroupKey.HALT else self.roster.lift_threshold


class Offices(Protocol):
    """Where a keyholder reads in which office it stands; each raises Misconfigured where the home has no chain yet."""

    async def in_office(self) -> tuple[ChainId, Roster]:
        """The chain, and the roster that is in office by all INSTALLs known here."""
        ...

    async def office(self) -> Office:
        """This keyholder's own, in that roster.

        Raises
        ------
        Misconfigured, NoSuchKey, WrongPassword
        """
        ...

    async def accession(self, roster: Roster) -> Office:
        """What it would be in a roster that is not in office.

        Raises
        ------
        Misconfigured, NoSuchKey, WrongPassword
        """
        ...


def generation_id(g: Generation) -> Digest:
    return digest(Domain.GENERATION, encode(g))


def members_of(g: Generation, roster: Roster) -> tuple[PublicKey, ...]:
    """The keys of those who hold shares of a generation that `check_generation` passed."""
    return tuple(roster.members[number(i) - 1] for i in g.members)


def staging(generation: Digest, member: PublicKey) -> bytes:
    """The bytes that a member signs when it has staged its share."""
    return encode(Staging(1, generation, member))


def first_holdings(
    roster: Roster, halt: tuple[KeyPackage, PublicKeyPackage], lift: tuple[KeyPackage, PublicKeyPackage]
) -> Holdings:
    """What the making of a roster ends with."""
    generation = Generation(1, roster_digest(roster), 0, bytes(32), halt[1], lift[1])
    return Holdings(1, roster, (Held(generation, halt[0], lift[0]),), ())


def stage(h: Holdings, new: Held) -> Holdings:
    """Add a generation that is to come into office.

    Raises
    ------
    Misdirected
        Its number is not greater than all held here, or it was not dealt from the one in office.
    TooLarge
        `MAX_HELD` are there: too many refreshes came to no end.
    """
    g = new.generation
    if g.number <= h.newest or g.base != generation_id(h.office.generation):
        raise Misdirected("the shares here have changed since this refresh began; begin it anew")
    if len(h.held) >= MAX_HELD:
        raise TooLarge(f"{MAX_HELD} refreshes came to no end here; make new keys with `davy keyholder dkg`")
    return Holdings(1, h.roster, (*h.held, new), h.words)


def adopt(h: Holdings, proof: Proof) -> Holdings:
    """Bring a staged generation into office, and drop all before it; a proof of one that is past changes nothing.

    Raises
    ------
    Misdirected
        It is not held here.
    Malformed, BadSignature
        It proves nothing (`check_proof`).
    """
    check_proof(proof, h.roster)
    if proof.generation.number <= h.office.generation.number:
        return h
    place = next((n for n, held in enumerate(h.held) if held.generation == proof.generation), None)
    if place is None:
        raise Misdirected(
            f"generation {proof.generation.number} of the shares is in office, and this keyholder has no share of it: "
            "have it repaired with `davy keyholder repair`"
        )
    return Holdings(1, h.roster, h.held[place:], proof.words)


def check_proof(proof: Proof, roster: Roster) -> None:
    """Check that every member of a generation says that it has its share.

    Raises
    ------
    Malformed, BadSignature
    """
    check_generation(proof.generation, roster)
    members = members_of(proof.generation, roster)
    if tuple(w.member for w in proof.words) != (members if proof.generation.number else ()):
        raise Malformed("not every member says that it has these shares; ask the others for the whole proof")
    i = generation_id(proof.generation)
    for word in proof.words:
        verify(word.member, Domain.STAGED, staging(i, word.member), word.signature)


@lru_cache(maxsize=64)  # some milliseconds, and it is asked about the same ones again and again
def check_generation(g: Generation, roster: Roster) -> None:
    """Check that these are shares of the roster's keys, and of the same members of it.

    Raises
    ------
    Malformed
    """
    if g.roster != roster_digest(roster):
        raise Malformed("the shares are of another roster; name the genesis of the chain that you hold keys of")
    everybody = tuple(identifier(n) for n in range(1, len(roster.members) + 1))
    expected = (
        (GroupKey.HALT, roster.halt, roster.halt_threshold),
        (GroupKey.LIFT, roster.lift, roster.lift_threshold),
    )
    for which, group_key, threshold in expected:
        public = g.of(which)
        check_public(public)
        if (public.group_key, public.threshold) != (group_key, threshold):
            raise Malformed(f"the {which.value.upper()} key is not the roster's; restore the share from a backup")
        if tuple(public.shares()) != g.members or not set(g.members) <= set(everybody):
            raise Malformed("the shares are not of the same keyholders of this roster; restore them from a backup")
    if g.number == 0 and (g.members != everybody or any(g.base)):
        raise Malformed("the first shares are of all keyholders; restore them from a backup")


def check_holdings(h: Holdings, own: PublicKey) -> None:
    """Check that everything fits together, and the place of this keyholder in the roster.

    Raises
    ------
    Malformed, BadSignature
    """
    check_roster(h.roster)
    if own not in h.roster.members:
        raise Malformed("this keyholder's key does not stand in the roster; use the home that took part in its making")
    place = identifier(h.roster.members.index(own) + 1)
    check_proof(h.proof, h.roster)
    numbers = [held.generation.number for held in h.held]
    if numbers != sorted(set(numbers)):
        raise Malformed("the generations of the shares are out of order; restore them from a backup")
    for held in h.held:
        check_generation(held.generation, h.roster)
        for which in GroupKey:
            key, public = held.of(which)
            check_key(key, public)
            if key.identifier != place:
                raise Malformed("the share is another keyholder's; use your own home")


def open_holdings(raw: bytes, own: PublicKey) -> Holdings:
    """Decode what a vault kept, of this davy or an earlier one, and check it.

    Raises
    ------
    Misconfigured
    """
    try:
        holdings = _holdings(raw)
        check_holdings(holdings, own)
    except Refused as e:
        raise Misconfigured(f"the share cannot be used: {e}") from None
    return holdings


def _holdings(raw: bytes) -> Holdings:
    try:
        return decode(raw, Holdings, limit=_MAX_HOLDINGS_BYTES)
    except Malformed as e:
        try:
            first = decode(raw, FirstShares, limit=_MAX_HOLDINGS_BYTES)
        except Malformed:
            raise e from None
    return first_holdings(first.roster, (first.halt, first.halt_public), (first.lift, first.lift_public))


def open_proof(raw: bytes, roster: Roster) -> Proof:
    """Decode a proof from outside, and check it.

    Raises
    ------
    TooLarge, Malformed, BadSignature
    """
    proof = decode(raw, Proof, limit=MAX_CEREMONY_BYTES)
    check_proof(proof, roster)
    return proof
