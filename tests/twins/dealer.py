"""A trusted dealer, and the whole of a signing round in one call. Only tests have one: it knows the key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from davy.killswitch import frost
from davy.killswitch.group import Identifier, Scalar, identifier, multiply_base, number, reduce
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare
from davy.killswitch.sharing import Polynomial
from davy.protocol.ports import Entropy
from tests.twins import SeededEntropy


class ListedEntropy:
    """Gives what a vector lists, in order, and nothing else."""

    def __init__(self, draws: Iterable[bytes]) -> None:
        self._draws = list(draws)

    def bytes(self, n: int) -> bytes:
        drawn = self._draws.pop(0)
        assert len(drawn) == n
        return drawn


class Group(NamedTuple):
    """All of a group's keys in one place."""

    keys: dict[Identifier, KeyPackage]
    public: PublicKeyPackage

    def some(self, count: int) -> list[KeyPackage]:
        return list(self.keys.values())[:count]


def deal(threshold: int, members: int | Iterable[int], entropy: Entropy | None = None) -> Group:
    """Deal a fresh key to members 1 … n, or to those numbered."""
    source = entropy or SeededEntropy(threshold)
    numbers = range(1, members + 1) if isinstance(members, int) else members
    return deal_polynomial([reduce(source.bytes(64)) for _ in range(threshold)], numbers)


def deal_polynomial(coefficients: Sequence[Scalar], numbers: Iterable[int]) -> Group:
    """Deal f(i) of a given polynomial; its constant is the group's secret."""
    polynomial, group_key, t = Polynomial(coefficients), multiply_base(coefficients[0]), len(coefficients)
    keys: dict[Identifier, KeyPackage] = {}
    for i in map(identifier, sorted(numbers)):
        share = polynomial.at(i)
        keys[i] = KeyPackage(1, i, t, share, multiply_base(share), group_key)
    shares = tuple(VerifyingShare(i, key.verifying_share) for i, key in keys.items())
    return Group(keys, PublicKeyPackage(1, t, group_key, shares))


class Round(NamedTuple):
    """Round one of some signers: their nonces, and the package made of their commitments."""

    nonces: dict[Identifier, frost.Nonces]
    package: frost.SigningPackage


def begin(
    signers: Iterable[KeyPackage], public: PublicKeyPackage, message: bytes, entropy: Entropy | None = None
) -> Round:
    source = entropy or SeededEntropy(number(public.group_key) & 0xFFFF)
    made = {key.identifier: frost.commit(key, source) for key in signers}
    package = frost.signing_package(public, message, [commitments for _, commitments in made.values()])
    return Round({i: nonces for i, (nonces, _) in made.items()}, package)


def shares_of(signers: Iterable[KeyPackage], public: PublicKeyPackage, begun: Round) -> list[frost.SignatureShare]:
    nonces, package = begun
    return [frost.sign(key, public, nonces[key.identifier], package, package.message) for key in signers]


def sign_with(signers: Sequence[KeyPackage], public: PublicKeyPackage, message: bytes) -> bytes:
    """Both rounds and the aggregation, everybody honest."""
    begun = begin(signers, public, message)
    return frost.aggregate(public, begun.package, shares_of(signers, public, begun))
