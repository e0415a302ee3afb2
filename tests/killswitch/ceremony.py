"""A whole making of a key among members that stand in one place, each step of it open to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nacl import bindings

from davy.killswitch import dkg, echo
from davy.killswitch.dkg import Confirmed, Round1Package, Round1Secret, Round2Secret, Round2Share, Terms, check_round1
from davy.killswitch.echo import Echo, Member, Received, Session, SignedEcho, SignedRound1
from davy.killswitch.group import Identifier, identifier
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.protocol.encoding import encode
from davy.protocol.signing import Domain, sign
from tests.twins import SeededEntropy


class Parts(NamedTuple):
    """What the members hold after part two, in the plain form without a session."""

    secrets: dict[Identifier, Round2Secret]
    shares: list[Round2Share]

    def received(self, member: Identifier) -> list[Round2Share]:
        return [each for each in self.shares if each.recipient == member]

    def finish(self) -> dict[Identifier, tuple[KeyPackage, PublicKeyPackage]]:
        return {i: dkg.part3(secret, self.received(i)) for i, secret in self.secrets.items()}


def first(terms: Terms, seed: int = 0) -> dict[Identifier, tuple[Round1Secret, Round1Package]]:
    entropy = SeededEntropy(seed)
    return {i: dkg.part1(terms, i, entropy) for i in terms.members}


def deal_out(secrets: Sequence[Round1Secret], confirmed: Confirmed) -> Parts:
    dealt = {secret.package.identifier: dkg.part2(secret, confirmed) for secret in secrets}
    return Parts({i: kept for i, (kept, _) in dealt.items()}, [s for _, shares in dealt.values() for s in shares])


def plain(terms: Terms, seed: int = 0) -> Parts:
    """Parts one and two, everybody honest, in the crate's form."""
    begun = first(terms, seed)
    confirmed = Confirmed(check_round1(terms, [package for _, package in begun.values()]))
    return deal_out([secret for secret, _ in begun.values()], confirmed)


class Circle:
    """The members of one session, with the keys under which they sign what they send."""

    def __init__(self, threshold: int = 3, count: int = 5, seed: int = 0) -> None:
        entropy = SeededEntropy(seed)
        pairs = [bindings.crypto_sign_seed_keypair(entropy.bytes(32)) for _ in range(count)]
        self.members = tuple(
            Member(identifier(n), public, entropy.bytes(32)) for n, (public, _) in enumerate(pairs, start=1)
        )
        self.signing_keys = {m.identifier: secret for m, (_, secret) in zip(self.members, pairs, strict=True)}
        self.session = Session(1, "halt", threshold, self.members)
        self.terms = echo.terms(self.session, self.members[0])
        self.begun = first(self.terms, seed)

    def member(self, i: Identifier) -> Member:
        return next(m for m in self.members if m.identifier == i)

    def signed(self, package: Round1Package, by: Identifier | None = None) -> bytes:
        secret = self.signing_keys[by or package.identifier]
        return encode(SignedRound1(1, encode(package), sign(secret, Domain.DKG_ROUND1, echo.statement(package))))

    def round1(self) -> list[Received[Round1Package]]:
        return [echo.open_round1(self.session, self.signed(package)) for _, package in self.begun.values()]

    def sign_echo(self, said: Echo, by: Identifier | None = None) -> bytes:
        secret = self.signing_keys[by or said.member]
        return encode(SignedEcho(1, encode(said), sign(secret, Domain.DKG_ECHO, encode(said))))

    def echoes(self, without: Identifier, heard: Sequence[Received[Round1Package]] | None = None) -> list[bytes]:
        received = heard or self.round1()
        return [
            self.sign_echo(echo.echo(self.session, m.identifier, received))
            for m in self.members
            if m.identifier != without
        ]

    def confirm(self, i: Identifier, received: Sequence[Received[Round1Package]], echoes: Sequence[bytes]) -> Confirmed:
        return echo.confirm(self.session, self.member(i), received, echoes)
