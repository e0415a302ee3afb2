"""What every adversary in a signing gets: a row hands in one wrong thing, and says how it is refused and who is named.

Each wrong point and scalar is handed in wherever one is received. That every row is refused for its own reason shows in
the last test: the same calls without an attack succeed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from davy.killswitch import frost
from davy.killswitch.frost import SignatureShare, SigningPackage
from davy.killswitch.group import (
    ZERO,
    L,
    Scalar,
    add_points,
    add_scalars,
    identifier,
    multiply_base,
    reduce,
    subtract_scalars,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, check_key, open_key, open_public
from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, Misbehaved, Misdirected, TooLarge, Unauthorised
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS
from davy.protocol.signing import Domain, prefix, verify
from tests.killswitch import wrong
from tests.killswitch.attack import Attack
from tests.twins import SeededEntropy
from tests.twins.dealer import begin, deal, shares_of

MESSAGE = prefix(Domain.ORDER) + b"stop the model"
GROUP = deal(3, 5)
ONE, TWO, THREE, FOUR, FIVE = GROUP.keys
STRANGER = identifier(6)


def attacks() -> Iterator[Attack]:
    yield from wrong_commitments()
    yield from swapped_packages()
    yield from wrong_sets_of_signers()
    yield from wrong_shares()
    yield from shares_of_another_place()
    yield from wrong_public_packages()
    yield from wrong_key_packages()


def _sign(change: Callable[[SigningPackage], SigningPackage], message: bytes = MESSAGE) -> Callable[[], object]:
    """A coordinator changes the package for signer 1."""

    def run() -> object:
        begun = begin(GROUP.some(3), GROUP.public, MESSAGE)
        return frost.sign(GROUP.keys[ONE], GROUP.public, begun.nonces[ONE], change(begun.package), message)

    return run


def _with(package: SigningPackage, place: int, **changes: bytes) -> SigningPackage:
    rows = list(package.commitments)
    rows[place] = replace(rows[place], **changes)
    return replace(package, commitments=tuple(rows))


def wrong_commitments() -> Iterator[Attack]:
    for field in ("hiding", "binding"):
        for name, bad in wrong.POINTS.items():

            def collect(field: str = field, bad: bytes = bad) -> object:
                rows = _with(begin(GROUP.some(3), GROUP.public, MESSAGE).package, 1, **{field: bad}).commitments
                return frost.signing_package(GROUP.public, MESSAGE, rows)

            def signer(package: SigningPackage, field: str = field, bad: bytes = bad) -> SigningPackage:
                return _with(package, 2, **{field: bad})

            def check(field: str = field, bad: bytes = bad) -> object:
                begun = begin(GROUP.some(3), GROUP.public, MESSAGE)
                shares = shares_of(GROUP.some(3), GROUP.public, begun)
                return frost.aggregate(GROUP.public, _with(begun.package, 2, **{field: bad}), shares)

            yield Attack(f"{field} {name}, collected", collect, Misbehaved, (TWO,))
            yield Attack(f"{field} {name}, to a signer", _sign(signer), Malformed)
            yield Attack(f"{field} {name}, aggregated", check, Malformed)


def swapped_packages() -> Iterator[Attack]:
    other = deal(3, 5, SeededEntropy(77))
    fresh = begin(GROUP.some(5), GROUP.public, MESSAGE, SeededEntropy(5)).package.commitments

    def only(*places: int) -> Callable[[SigningPackage], SigningPackage]:
        return lambda p: replace(p, commitments=tuple(p.commitments[i] for i in places))

    def renamed(place: int, to: bytes) -> Callable[[SigningPackage], SigningPackage]:
        return lambda p: _with(p, place, identifier=to)

    yield Attack("message swapped by the coordinator", _sign(lambda p: replace(p, message=b"lift")), Misdirected)
    yield Attack("message lengthened", _sign(lambda p: replace(p, message=MESSAGE + b"\0")), Misdirected)
    yield Attack("message emptied", _sign(lambda p: replace(p, message=b"")), Misdirected)
    yield Attack("message not the one agreed to", _sign(lambda p: p, b"drill"), Misdirected)
    yield Attack(
        "to be signed with another group's key",
        _sign(lambda p: replace(p, group_key=other.public.group_key)),
        Misdirected,
    )
    yield Attack("own hiding commitment swapped", _sign(lambda p: _with(p, 0, hiding=fresh[0].hiding)), Misdirected)
    yield Attack("own binding commitment swapped", _sign(lambda p: _with(p, 0, binding=fresh[0].binding)), Misdirected)
    yield Attack(
        "own commitments in the wrong order",
        _sign(lambda p: _with(p, 0, hiding=p.commitments[0].binding, binding=p.commitments[0].hiding)),
        Misdirected,
    )
    yield Attack("own commitments under another name", _sign(renamed(0, FOUR)), Misdirected)
    yield Attack("signer left out", _sign(only(1, 2)), Misdirected)
    yield Attack(
        "signer left out, another in its place",
        _sign(lambda p: replace(p, commitments=(*p.commitments[1:], fresh[3]))),
        Misdirected,
    )
    yield Attack("t − 1 signers", _sign(only(0, 1)), Malformed)
    yield Attack("one signer", _sign(only(0)), Malformed)
    yield Attack("no signers", _sign(only()), Misdirected)
    yield Attack("a signer twice", _sign(only(0, 1, 1)), Malformed)
    yield Attack("itself twice", _sign(only(0, 0, 1)), Malformed)
    yield Attack("more signers than keyholders", _sign(only(0, 1, 1, 1, 2, 2)), Malformed)
    yield Attack("out of order", _sign(only(0, 2, 1)), Malformed)
    yield Attack("a stranger", _sign(renamed(2, STRANGER)), Unauthorised)
    yield Attack("identifier 256 for 1", _sign(renamed(2, identifier(256))), Unauthorised)
    yield Attack("identifier 257 for 1", _sign(renamed(2, identifier(257))), Unauthorised)
    yield Attack("identifier of 31 bytes", _sign(renamed(2, THREE[:31])), Malformed)
    for name, bad in {"0": ZERO, **wrong.scalars(THREE)}.items():
        yield Attack(f"identifier {name}", _sign(renamed(2, bad)), Malformed)
    yield Attack(
        "identifier 0 in front",
        _sign(lambda p: replace(p, commitments=(replace(p.commitments[1], identifier=ZERO), *p.commitments))),
        Malformed,
    )


def wrong_sets_of_signers() -> Iterator[Attack]:
    other = deal(3, 5, SeededEntropy(77))
    fresh = begin(GROUP.some(5), GROUP.public, MESSAGE, SeededEntropy(5)).package.commitments

    def collected(*rows: frost.SigningCommitments) -> Callable[[], object]:
        return lambda: frost.signing_package(GROUP.public, MESSAGE, rows)

    yield Attack("commitments of t − 1", collected(*fresh[:2]), Malformed)
    yield Attack("commitments twice", collected(fresh[0], *fresh[:3]), Malformed)
    yield Attack("two commitments of one signer", collected(*fresh[:3], replace(fresh[3], identifier=ONE)), Malformed)
    yield Attack(
        "commitments of a stranger", collected(*fresh[:3], replace(fresh[3], identifier=STRANGER)), Unauthorised
    )

    def with_keys(key: KeyPackage, public: PublicKeyPackage) -> Callable[[], object]:
        def run() -> object:
            begun = begin(GROUP.some(3), GROUP.public, MESSAGE)
            return frost.sign(key, public, begun.nonces[ONE], begun.package, MESSAGE)

        return run

    yield Attack("key of another group", with_keys(other.keys[ONE], GROUP.public), Malformed)
    yield Attack("public package of another group", with_keys(GROUP.keys[ONE], other.public), Malformed)
    yield Attack("another threshold", with_keys(GROUP.keys[ONE], replace(GROUP.public, threshold=2)), Malformed)
    yield Attack("nonces of another keyholder", with_keys(GROUP.keys[TWO], GROUP.public), Misdirected)


def _aggregate(
    change: Callable[[list[SignatureShare]], list[SignatureShare]], signers: int = 4
) -> Callable[[], object]:
    def run() -> object:
        keys = GROUP.some(signers)
        begun = begin(keys, GROUP.public, MESSAGE)
        return frost.aggregate(GROUP.public, begun.package, change(shares_of(keys, GROUP.public, begun)))

    return run


def _spoilt(shares: list[SignatureShare], **by_place: Scalar) -> list[SignatureShare]:
    at = {int(place[1:]): value for place, value in by_place.items()}
    return [replace(s, share=at.get(n, s.share)) for n, s in enumerate(shares)]


def wrong_shares() -> Iterator[Attack]:
    one = identifier(1)
    zs = shares_of(GROUP.some(4), GROUP.public, begin(GROUP.some(4), GROUP.public, MESSAGE))
    for place, culprit in enumerate((ONE, TWO, THREE, FOUR)):
        bad = add_scalars(zs[place].share, one)
        yield Attack(
            f"share {place} wrong",
            _aggregate(lambda s, p=place, b=bad: _spoilt(s, **{f"_{p}": b})),
            Misbehaved,
            (culprit,),
        )
    for name, bad in {"0": ZERO, "random": reduce(b"x" * 64), **wrong.scalars(zs[1].share)}.items():
        yield Attack(f"share {name}", _aggregate(lambda s, b=bad: _spoilt(s, _1=b)), Misbehaved, (TWO,))
    yield Attack("share of 31 bytes", _aggregate(lambda s: _spoilt(s, _1=zs[1].share[:31])), Misbehaved, (TWO,))
    yield Attack(
        "three wrong shares are all named",
        _aggregate(lambda s: _spoilt(s, _0=one, _2=ZERO, _3=b"\xff" * 32)),
        Misbehaved,
        (ONE, THREE, FOUR),
    )
    yield Attack(
        "all shares wrong",
        _aggregate(lambda s: _spoilt(s, _0=one, _1=one, _2=one, _3=one)),
        Misbehaved,
        (ONE, TWO, THREE, FOUR),
    )
    yield Attack(
        "negated", _aggregate(lambda s: _spoilt(s, _2=subtract_scalars(ZERO, s[2].share))), Misbehaved, (THREE,)
    )
    yield Attack("a share missing", _aggregate(lambda s: s[:-1]), Malformed)
    yield Attack("no shares", _aggregate(lambda s: []), Malformed)
    yield Attack("a share twice", _aggregate(lambda s: [*s, s[0]]), Malformed)
    yield Attack("two shares of one", _aggregate(lambda s: [*s, replace(s[0], share=one)]), Malformed)
    yield Attack("one share for another", _aggregate(lambda s: [*s[:-1], s[0]]), Malformed)
    yield Attack("a share of no signer", _aggregate(lambda s: [*s, replace(s[0], identifier=FIVE)]), Malformed)
    yield Attack("a stranger's share", _aggregate(lambda s: [*s[:-1], replace(s[3], identifier=STRANGER)]), Malformed)
    yield Attack(
        "a share under another name", _aggregate(lambda s: [*s[:-1], replace(s[3], identifier=FIVE)]), Malformed
    )


def shares_of_another_place() -> Iterator[Attack]:
    def of_another(message: bytes = MESSAGE, signers: int = 3) -> Callable[[], object]:
        def run() -> object:
            now = begin(GROUP.some(3), GROUP.public, MESSAGE)
            keys = GROUP.some(signers)
            then = begin(keys, GROUP.public, message, SeededEntropy(8))
            shares = shares_of(GROUP.some(3), GROUP.public, now)
            return frost.aggregate(GROUP.public, now.package, [shares_of(keys, GROUP.public, then)[0], *shares[1:]])

        return run

    yield Attack("a share of another session", of_another(), Misbehaved, (ONE,))
    yield Attack("a share of another message", of_another(b"lift"), Misbehaved, (ONE,))
    yield Attack("a share of another signer set", of_another(signers=4), Misbehaved, (ONE,))

    def one_by_one(change: Callable[[SignatureShare], SignatureShare]) -> Callable[[], object]:
        def run() -> object:
            begun = begin(GROUP.some(3), GROUP.public, MESSAGE)
            share = shares_of(GROUP.some(3), GROUP.public, begun)[1]
            frost.verify_share(GROUP.public, begun.package, share)
            return frost.verify_share(GROUP.public, begun.package, change(share))

        return run

    yield Attack(
        "verify_share, another share",
        one_by_one(lambda s: replace(s, share=add_scalars(s.share, ONE))),
        Misbehaved,
        (TWO,),
    )
    yield Attack("verify_share, another name", one_by_one(lambda s: replace(s, identifier=ONE)), Misbehaved, (ONE,))
    yield Attack("verify_share, no signer", one_by_one(lambda s: replace(s, identifier=FIVE)), Unauthorised)
    for name in wrong.scalars(ZERO):
        yield Attack(
            f"verify_share, {name}",
            one_by_one(lambda s, n=name: replace(s, share=wrong.scalars(s.share)[n])),
            Misbehaved,
            (TWO,),
        )


def wrong_public_packages() -> Iterator[Attack]:
    public = GROUP.public
    rows = public.verifying_shares

    def checked(value: PublicKeyPackage) -> Callable[[], object]:
        return lambda: open_public(encode(value))

    def shares(*changed: object) -> PublicKeyPackage:
        return replace(public, verifying_shares=changed)

    for name, bad in wrong.POINTS.items():
        spoilt = shares(*rows[:4], replace(rows[4], point=bad))
        yield Attack(
            f"group key {name}", checked(replace(public, group_key=bad)), Malformed, says="the group key is no"
        )
        yield Attack(f"verifying share {name}", checked(spoilt), Malformed, says="share of keyholder 5 is not a point")
    moved = [replace(r, point=add_points(r.point, wrong.BASE)) for r in rows]
    for place in range(5):
        mixed = [*rows[:place], moved[place], *rows[place + 1 :]]
        yield Attack(f"verifying share {place} moved", checked(shares(*mixed)), Malformed)
    yield Attack(
        "group key moved", checked(replace(public, group_key=add_points(public.group_key, wrong.BASE))), Malformed
    )
    yield Attack("all shares moved", checked(shares(*moved)), Malformed)
    yield Attack(
        "verifying shares swapped",
        checked(shares(replace(rows[0], point=rows[1].point), replace(rows[1], point=rows[0].point), *rows[2:])),
        Malformed,
    )
    yield Attack("a share twice in a package", checked(shares(rows[0], *rows)), Malformed)
    yield Attack("package out of order", checked(shares(*rows[::-1])), Malformed)
    yield Attack("package with identifier 0", checked(shares(replace(rows[0], identifier=ZERO), *rows[1:])), Malformed)
    yield Attack(
        "package with identifier L",
        checked(shares(*rows[:4], replace(rows[4], identifier=L.to_bytes(32, "little")))),
        Malformed,
    )
    for t in (0, 1, 2, 4, 6, 255, 256):
        yield Attack(f"threshold {t}", checked(replace(public, threshold=t)), Malformed)
    yield Attack("fewer members than the threshold", checked(shares(*rows[:2])), Malformed)
    yield Attack("no members", checked(shares()), Malformed)
    too_many = tuple(replace(rows[0], identifier=identifier(n)) for n in range(1, MAX_KEYHOLDERS + 2))
    yield Attack("more members than are allowed", checked(shares(*too_many)), Malformed)
    yield Attack(
        "more bytes than are allowed", lambda: open_public(encode(public) + bytes(MAX_CEREMONY_BYTES)), TooLarge
    )
    yield Attack("another version", checked(replace(public, version=2)), Malformed)


def wrong_key_packages() -> Iterator[Attack]:
    key = GROUP.keys[ONE]

    def checked(**changes: Any) -> Callable[[], object]:
        row = {name: getattr(key, name) for name in key.__struct_fields__} | changes
        return lambda: open_key(encode(KeyPackage(**row)), GROUP.public)

    for name, bad in {"0": ZERO, **wrong.scalars(key.signing_share)}.items():
        yield Attack(f"signing share {name}", checked(signing_share=bad), Malformed)
    yield Attack("signing share of another", checked(signing_share=GROUP.keys[TWO].signing_share), Malformed)
    yield Attack("verifying share of another", checked(verifying_share=GROUP.keys[TWO].verifying_share), Malformed)
    yield Attack("identifier of another", checked(identifier=TWO), Malformed)
    yield Attack("identifier of a stranger", checked(identifier=STRANGER), Malformed)
    yield Attack("group key of another", checked(group_key=deal(2, 2).public.group_key), Malformed)
    yield Attack("threshold lowered in the key", checked(threshold=2), Malformed)
    yield Attack(
        "another share that fits itself",
        checked(signing_share=identifier(5), verifying_share=multiply_base(identifier(5))),
        Malformed,
    )


ATTACKS = list(attacks())


def test_the_table_is_long_and_names_each_row_once() -> None:
    assert len({a.name for a in ATTACKS}) == len(ATTACKS) >= 200


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_an_attack_is_refused(attack: Attack) -> None:
    attack.is_refused()


def test_the_same_calls_without_an_attack_succeed() -> None:
    """So that no row above is refused for another reason than its own."""
    share = _sign(lambda p: p)()
    assert isinstance(share, SignatureShare)
    signature = _aggregate(lambda s: s)()
    assert isinstance(signature, bytes)
    verify(GROUP.public.group_key, Domain.ORDER, b"stop the model", signature)
    assert _aggregate(lambda s: s[::-1])() == signature
    assert open_public(encode(GROUP.public)) == GROUP.public
    for key in GROUP.keys.values():
        assert open_key(encode(key), GROUP.public) == key
        check_key(key, GROUP.public)
