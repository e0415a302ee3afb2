"""Members of a ceremony that speak the crate's form on the wire: some are davy, some the crate, and none can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from davy.killswitch import dkg, frost, refresh, repair
from davy.killswitch.conformance import postcard
from davy.killswitch.dkg import Confirmed, Round1Package, Terms
from davy.killswitch.group import Identifier, multiply_base
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, check_key, check_public
from davy.killswitch.repair import Delta, RepairConfirmed, RepairPackage, RepairTerms, Sigma
from tests.partner.crate import Crate
from tests.twins import SeededEntropy

ByMember = Mapping[Identifier, bytes]
Shown = Mapping[Identifier, Mapping[Identifier, bytes]]
"""What each helper of a repair split for each."""


class Party(Protocol):
    """One member. What it returns goes to the others as it is."""

    @property
    def i(self) -> Identifier: ...

    key: bytes
    public: bytes

    def make1(self, members: Sequence[Identifier], t: int) -> bytes: ...
    def make2(self, others: ByMember) -> dict[Identifier, bytes]: ...
    def make3(self, others: ByMember, received: ByMember) -> None: ...
    def refresh1(self, members: Sequence[Identifier]) -> bytes: ...
    def refresh2(self, others: ByMember) -> dict[Identifier, bytes]: ...
    def refresh3(self, others: ByMember, received: ByMember) -> None: ...
    def commit(self) -> bytes: ...
    def share(self, package: bytes, message: bytes) -> bytes: ...
    def package(self, message: bytes, commitments: ByMember) -> bytes: ...
    def aggregate(self, package: bytes, shares: ByMember) -> bytes: ...
    def split(self, lost: Identifier, helpers: Sequence[Identifier]) -> dict[Identifier, bytes]: ...
    def gather(self, shown: Shown) -> bytes: ...
    def restore(self, sigmas: ByMember, shown: Shown, public: bytes) -> None: ...


class OfDavy:
    """A member that runs davy's code."""

    def __init__(self, i: Identifier, seed: int) -> None:
        self.i, self._entropy = i, SeededEntropy(seed)
        self.key, self.public = b"", b""

    def make1(self, members: Sequence[Identifier], t: int) -> bytes:
        self._terms = Terms(t, tuple(members))
        self._secret, self._own = dkg.part1(self._terms, self.i, self._entropy)
        return postcard.from_round1(self._own)

    def _packages(self, others: ByMember) -> list[Round1Package]:
        return [self._own, *(postcard.to_round1(data, i) for i, data in others.items())]

    def make2(self, others: ByMember) -> dict[Identifier, bytes]:
        return self._deal(Confirmed(dkg.check_round1(self._terms, self._packages(others))))

    def _deal(self, confirmed: Confirmed) -> dict[Identifier, bytes]:
        self._kept, shares = dkg.part2(self._secret, confirmed)
        return {s.recipient: postcard.from_round2(s) for s in shares}

    def make3(self, others: ByMember, received: ByMember) -> None:
        shares = [postcard.to_round2(data, i, self.i) for i, data in received.items()]
        self._take(*dkg.part3(self._kept, shares))

    def _take(self, key: KeyPackage, public: PublicKeyPackage) -> None:
        check_public(public)
        check_key(key, public)
        self.key, self.public = postcard.from_key(key), postcard.from_public(public)

    def _keys(self) -> tuple[KeyPackage, PublicKeyPackage]:
        return postcard.to_key(self.key), postcard.to_public(self.public)

    def refresh1(self, members: Sequence[Identifier]) -> bytes:
        key, public = self._keys()
        self._terms = Terms(key.threshold, tuple(members))
        self._secret, self._own = refresh.part1(self._terms, key, public, self._entropy)
        return postcard.from_round1(self._own)

    def refresh2(self, others: ByMember) -> dict[Identifier, bytes]:
        _, public = self._keys()
        return self._deal(Confirmed(refresh.check_round1(self._terms, public, self._packages(others))))

    def refresh3(self, others: ByMember, received: ByMember) -> None:
        shares = [postcard.to_round2(data, i, self.i) for i, data in received.items()]
        self._take(*refresh.part3(self._kept, shares, *self._keys()))

    def commit(self) -> bytes:
        self._nonces, commitments = frost.commit(self._keys()[0], self._entropy)
        return postcard.from_commitments(commitments)

    def share(self, package: bytes, message: bytes) -> bytes:
        key, public = self._keys()
        read = postcard.to_signing_package(package, public.group_key)
        return postcard.from_share(frost.sign(key, public, self._nonces, read, message))

    def package(self, message: bytes, commitments: ByMember) -> bytes:
        rows = [postcard.to_commitments(data, i) for i, data in commitments.items()]
        return postcard.from_signing_package(frost.signing_package(self._keys()[1], message, rows))

    def aggregate(self, package: bytes, shares: ByMember) -> bytes:
        _, public = self._keys()
        read = postcard.to_signing_package(package, public.group_key)
        return frost.aggregate(public, read, [postcard.to_share(data, i) for i, data in shares.items()])

    def split(self, lost: Identifier, helpers: Sequence[Identifier]) -> dict[Identifier, bytes]:
        key, public = self._keys()
        self._repair = RepairTerms(public, lost, tuple(helpers))
        self._parts, package = repair.part1(self._repair, key, self._entropy)
        assert package == _committed(self.i, self._repair, self._parts.deltas)
        return dict(self._parts.deltas)

    def gather(self, shown: Shown) -> bytes:
        deltas = [Delta(1, b"", i, self.i, sent[self.i]) for i, sent in shown.items() if i != self.i]
        return repair.part3(self._parts, _confirmed(self._repair, shown), deltas).sigma

    def restore(self, sigmas: ByMember, shown: Shown, public: bytes) -> None:
        terms = RepairTerms(postcard.to_public(public), self.i, tuple(shown))
        confirmed = _confirmed(terms, shown)
        key = repair.part4(confirmed, [Sigma(1, b"", i, data) for i, data in sigmas.items()])
        self._take(key, terms.public)


def _committed(i: Identifier, terms: RepairTerms, split: ByMember) -> RepairPackage:
    """What davy's helpers publish and the crate's do not: it follows from what they split."""
    return RepairPackage(1, b"", i, tuple(multiply_base(split[j]) for j in terms.helpers))


def _confirmed(terms: RepairTerms, shown: Shown) -> RepairConfirmed:
    packages = [_committed(i, terms, split) for i, split in shown.items()]
    return RepairConfirmed(terms, repair.check_packages(terms, packages))


class OfCrate:
    """A member that runs the crate."""

    def __init__(self, i: Identifier, crate: Crate) -> None:
        self.i, self._crate = i, crate
        self.key, self.public = b"", b""

    def make1(self, members: Sequence[Identifier], t: int) -> bytes:
        self._secret, package = self._crate.ask("make", "1", self.i.hex(), str(len(members)), str(t))
        return bytes.fromhex(package)

    def make2(self, others: ByMember) -> dict[Identifier, bytes]:
        self._secret, *shares = self._crate.ask("make", "2", self._secret, *_words(others))
        return _entries(shares)

    def make3(self, others: ByMember, received: ByMember) -> None:
        words = [self._secret, str(len(others)), *_words(others), *_words(received)]
        self.key, self.public = map(bytes.fromhex, self._crate.ask("make", "3", *words))

    def refresh1(self, members: Sequence[Identifier]) -> bytes:
        t = str(postcard.to_key(self.key).threshold)
        self._secret, package = self._crate.ask("make", "refresh1", self.i.hex(), str(len(members)), t)
        return bytes.fromhex(package)

    def refresh2(self, others: ByMember) -> dict[Identifier, bytes]:
        self._secret, *shares = self._crate.ask("make", "refresh2", self._secret, *_words(others))
        return _entries(shares)

    def refresh3(self, others: ByMember, received: ByMember) -> None:
        keys = [self._secret, self.public.hex(), self.key.hex()]
        words = [*keys, str(len(others)), *_words(others), *_words(received)]
        self.key, self.public = map(bytes.fromhex, self._crate.ask("make", "refresh3", *words))

    def commit(self) -> bytes:
        self._nonces, commitments = self._crate.ask("sign", "commit", self.key.hex())
        return bytes.fromhex(commitments)

    def share(self, package: bytes, message: bytes) -> bytes:
        return bytes.fromhex(self._crate.ask("sign", "share", package.hex(), self._nonces, self.key.hex())[0])

    def package(self, message: bytes, commitments: ByMember) -> bytes:
        return bytes.fromhex(self._crate.ask("sign", "package", message.hex() or "-", *_words(commitments))[0])

    def aggregate(self, package: bytes, shares: ByMember) -> bytes:
        words = [package.hex(), self.public.hex(), *_words(shares)]
        return bytes.fromhex(self._crate.ask("sign", "aggregate", *words)[0])

    def split(self, lost: Identifier, helpers: Sequence[Identifier]) -> dict[Identifier, bytes]:
        return _entries(self._crate.ask("repair", "1", self.key.hex(), lost.hex(), *(i.hex() for i in helpers)))

    def gather(self, shown: Shown) -> bytes:
        return bytes.fromhex(self._crate.ask("repair", "2", *(sent[self.i].hex() for sent in shown.values()))[0])

    def restore(self, sigmas: ByMember, shown: Shown, public: bytes) -> None:
        words = [self.i.hex(), public.hex(), *(each.hex() for each in sigmas.values())]
        self.key, self.public = bytes.fromhex(self._crate.ask("repair", "3", *words)[0]), public


def _words(values: ByMember) -> list[str]:
    return [f"{i.hex()}={data.hex()}" for i, data in values.items()]


def _entries(words: Sequence[str]) -> dict[Identifier, bytes]:
    return {bytes.fromhex(i): bytes.fromhex(data) for i, data in (word.split("=") for word in words)}
