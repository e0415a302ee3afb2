"""Whole refreshes and repairs among members that stand in one place, each step of them open to change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from nacl import bindings

from davy.killswitch import dkg, echo, refresh, repair
from davy.killswitch.dkg import Confirmed, Package, Round1Package, Round1Secret, Round2Secret, Round2Share, Terms
from davy.killswitch.echo import Echo, Member, MendingSession, Received, SignedEcho, SignedRound1
from davy.killswitch.group import Identifier
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.killswitch.repair import Delta, RepairConfirmed, RepairSecret, RepairTerms, Sigma
from davy.protocol.encoding import encode
from davy.protocol.ports import Entropy
from davy.protocol.signing import Domain, sign
from tests.twins import SeededEntropy
from tests.twins.dealer import Group

P = TypeVar("P", bound=Package)


class Refreshing(NamedTuple):
    """What the members hold after part two."""

    group: Group
    secrets: dict[Identifier, Round2Secret]
    shares: list[Round2Share]

    def received(self, member: Identifier) -> list[Round2Share]:
        return [each for each in self.shares if each.recipient == member]

    def finish(self) -> Group:
        made = {
            i: refresh.part3(secret, self.received(i), self.group.keys[i], self.group.public)
            for i, secret in self.secrets.items()
        }
        (public,) = {encode(p): p for _, p in made.values()}.values()
        return Group({i: key for i, (key, _) in made.items()}, public)


def first(
    group: Group, terms: Terms, entropy: Entropy | None = None
) -> dict[Identifier, tuple[Round1Secret, Round1Package]]:
    source = entropy or SeededEntropy(41)
    return {i: refresh.part1(terms, group.keys[i], group.public, source) for i in terms.members}


def begun(
    group: Group, members: Iterable[Identifier] | None = None, context: bytes = b"", seed: int = 41
) -> Refreshing:
    """Parts one and two, everybody honest."""
    terms = Terms(group.public.threshold, tuple(members or group.keys), context)
    made = first(group, terms, SeededEntropy(seed))
    confirmed = Confirmed(refresh.check_round1(terms, group.public, [package for _, package in made.values()]))
    return deal_out(group, [secret for secret, _ in made.values()], confirmed)


def deal_out(group: Group, secrets: Sequence[Round1Secret], confirmed: Confirmed) -> Refreshing:
    dealt = {secret.package.identifier: dkg.part2(secret, confirmed) for secret in secrets}
    shares = [share for _, sent in dealt.values() for share in sent]
    return Refreshing(group, {i: kept for i, (kept, _) in dealt.items()}, shares)


class Repairing(NamedTuple):
    """A repair in which everybody was honest, up to the last step."""

    terms: RepairTerms
    secrets: dict[Identifier, RepairSecret]
    confirmed: RepairConfirmed
    deltas: list[Delta]

    def received(self, helper: Identifier) -> list[Delta]:
        return [each for each in self.deltas if each.recipient == helper]

    def sigmas(self) -> list[Sigma]:
        return [repair.part3(secret, self.confirmed, self.received(i)) for i, secret in self.secrets.items()]

    def finish(self) -> KeyPackage:
        return repair.part4(self.confirmed, self.sigmas())


def mended(
    group: Group, lost: Identifier, helpers: Iterable[Identifier], context: bytes = b"", seed: int = 42
) -> Repairing:
    """Parts one and two, everybody honest."""
    terms, entropy = RepairTerms(group.public, lost, tuple(helpers), context), SeededEntropy(seed)
    made = {i: repair.part1(terms, group.keys[i], entropy) for i in terms.helpers}
    packages = repair.check_packages(terms, [package for _, package in made.values()])
    secrets, confirmed = {i: secret for i, (secret, _) in made.items()}, RepairConfirmed(terms, packages)
    deltas = [delta for secret in secrets.values() for delta in repair.part2(secret, confirmed)]
    return Repairing(terms, secrets, confirmed, deltas)


class Table:
    """The members of a session about a group's shares, with the keys under which they sign what they send."""

    def __init__(self, group: Group, members: Sequence[Identifier], work: bytes, purpose: str, seed: int = 7) -> None:
        entropy = SeededEntropy(seed)
        pairs = [bindings.crypto_sign_seed_keypair(entropy.bytes(32)) for _ in members]
        rows = zip(members, pairs, strict=True)
        self.members = tuple(Member(i, public, entropy.bytes(32)) for i, (public, _) in rows)
        self.signing_keys = {i: secret for i, (_, secret) in zip(members, pairs, strict=True)}
        self.session = MendingSession(1, purpose, group.public.threshold, self.members, work)

    def member(self, i: Identifier) -> Member:
        return next(m for m in self.members if m.identifier == i)

    def signed(self, package: Package) -> bytes:
        signature = sign(self.signing_keys[package.identifier], Domain.DKG_ROUND1, echo.statement(package))
        return encode(SignedRound1(1, encode(package), signature))

    def sign_echo(self, said: Echo) -> bytes:
        return encode(SignedEcho(1, encode(said), sign(self.signing_keys[said.member], Domain.DKG_ECHO, encode(said))))

    def echoes(self, received: Sequence[Received[P]], but: Identifier) -> list[bytes]:
        """Everybody's echo of the same, without that of one."""
        others = [m.identifier for m in self.members if m.identifier != but]
        return [self.sign_echo(echo.echo(self.session, i, received)) for i in others]


def public_of(group: Group, members: Iterable[Identifier]) -> PublicKeyPackage:
    """The group's public package with the verifying shares of these members only."""
    chosen = set(members)
    rows = tuple(row for row in group.public.verifying_shares if row.identifier in chosen)
    return PublicKeyPackage(1, group.public.threshold, group.public.group_key, rows)
