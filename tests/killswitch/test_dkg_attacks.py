"""What every adversary in the making of a key gets: a row hands in one wrong thing, and says how it is refused.

The last test makes the same calls without an attack, so that no row is refused for another reason than its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from davy.killswitch import dkg, echo
from davy.killswitch.dkg import Confirmed, Round1Package, Round2Share, Terms, check_round1, proof_challenge
from davy.killswitch.echo import Echo, Heard, Received, SignedEcho, SignedRound1
from davy.killswitch.group import (
    IDENTITY,
    ZERO,
    Identifier,
    add_points,
    add_scalars,
    identifier,
    multiply,
    multiply_base,
    multiply_scalars,
    reduce,
    subtract_scalars,
)
from davy.killswitch.sharing import Polynomial
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, Misbehaved, Misdirected, Refused, TooLarge, Unauthorised
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS
from tests.killswitch import wrong
from tests.killswitch.attack import Attack
from tests.killswitch.ceremony import Circle, Parts, deal_out, first, plain
from tests.twins import SeededEntropy

ONE, TWO, THREE, FOUR, FIVE = map(identifier, range(1, 6))
STRANGER = identifier(6)
TERMS = Terms(3, (ONE, TWO, THREE, FOUR, FIVE))
PACKAGES = tuple(package for _, package in first(TERMS).values())
CIRCLE = Circle(3, 5)


def proven(polynomial: Polynomial, i: Identifier, context: bytes = b"") -> Round1Package:
    """A package with a right proof, for a polynomial of any length."""
    k = reduce(b"k" * 64)
    commitment, r = polynomial.commitment(), multiply_base(k)
    c = proof_challenge(i, commitment[0], r, context)
    proof = r + add_scalars(k, multiply_scalars(polynomial.constant, c))
    return Round1Package(1, context, i, commitment, proof)


def of_length(terms: int, i: Identifier) -> Round1Package:
    return proven(Polynomial([reduce(bytes([n + 1]) * 64) for n in range(terms)]), i)


def checked(*changed: Round1Package, terms: Terms = TERMS) -> Callable[[], object]:
    """Packages of the honest ones but for those that are handed in."""
    by_member = {p.identifier: p for p in PACKAGES} | {p.identifier: p for p in changed}
    return lambda: check_round1(terms, list(by_member.values()))


def attacks() -> Iterator[Attack]:
    yield from wrong_terms()
    yield from wrong_commitments()
    yield from wrong_proofs()
    yield from wrong_sets_of_packages()
    yield from wrong_shares()
    yield from wrong_sessions()
    yield from equivocation()
    yield from wrong_echoes()


def wrong_terms() -> Iterator[Attack]:
    def beginning(terms: Terms, i: Identifier = ONE) -> Callable[[], object]:
        return lambda: dkg.part1(terms, i, SeededEntropy())

    for t, n in ((1, 3), (0, 3), (-1, 3), (4, 3), (2, 1), (1, 1), (2, 0), (2, MAX_KEYHOLDERS + 1)):
        yield Attack(f"{t} of {n}", beginning(Terms(t, tuple(map(identifier, range(1, n + 1))))), Malformed)
    for name, bad in {"0": ZERO, **wrong.scalars(TWO)}.items():
        yield Attack(f"member {name}", beginning(Terms(2, (ONE, TWO, bad))), Malformed)
    yield Attack("member 0 in front", beginning(Terms(2, (ZERO, ONE, TWO))), Malformed)
    yield Attack("member twice", beginning(Terms(2, (ONE, TWO, TWO))), Malformed)
    yield Attack("members out of order", beginning(Terms(2, (ONE, identifier(256), TWO))), Malformed)
    yield Attack("a context of 16 bytes", beginning(Terms(2, (ONE, TWO), bytes(16))), Malformed)
    yield Attack("no member of its own ceremony", beginning(TERMS, STRANGER), Unauthorised)


def wrong_commitments() -> Iterator[Attack]:
    two = PACKAGES[1]
    for length in (1, 2, 4, 5, MAX_KEYHOLDERS):
        yield Attack(
            f"a commitment of {length} with a right proof", checked(of_length(length, TWO)), Misbehaved, (TWO,)
        )
    for name, bad in wrong.POINTS.items():
        for place in range(3):
            spoilt = (*two.commitment[:place], bad, *two.commitment[place + 1 :])
            yield Attack(f"coefficient {place} {name}", checked(replace(two, commitment=spoilt)), Misbehaved, (TWO,))
    yield Attack(
        "a point of 31 bytes", checked(replace(two, commitment=(*two.commitment[:2], ONE[:31]))), Misbehaved, (TWO,)
    )
    yield Attack(
        "two of wrong lengths are both named", checked(of_length(2, TWO), of_length(4, FIVE)), Misbehaved, (TWO, FIVE)
    )


def wrong_proofs() -> Iterator[Attack]:
    two = PACKAGES[1]
    r, z = two.proof[:32], two.proof[32:]

    def proof(changed: bytes) -> Callable[[], object]:
        return checked(replace(two, proof=changed))

    yield Attack("proof missing", proof(bytes(64)), Misbehaved, (TWO,))
    yield Attack("proof of zero with the identity", proof(IDENTITY + ZERO), Misbehaved, (TWO,))
    yield Attack("proof with z = 0", proof(r + ZERO), Misbehaved, (TWO,))
    yield Attack("proof of 32 bytes", proof(r), Misbehaved, (TWO,))
    yield Attack("proof of 65 bytes", proof(two.proof + b"\0"), Misbehaved, (TWO,))
    yield Attack("proof of another member", proof(PACKAGES[2].proof), Misbehaved, (TWO,))
    yield Attack("proof with another R", proof(wrong.BASE + z), Misbehaved, (TWO,))
    yield Attack("proof with z + 1", proof(r + add_scalars(z, ONE)), Misbehaved, (TWO,))
    for name, bad in wrong.POINTS.items():
        yield Attack(f"R {name}", proof(bad + z), Misbehaved, (TWO,))
    for name, bad in wrong.scalars(z).items():
        yield Attack(f"z {name}", proof(r + bad), Misbehaved, (TWO,))
    yield Attack(
        "package of another member under one's own name",
        checked(replace(PACKAGES[2], identifier=TWO)),
        Misbehaved,
        (TWO,),
    )
    yield Attack(
        "constants swapped",
        checked(replace(two, commitment=(PACKAGES[2].commitment[0], *two.commitment[1:]))),
        Misbehaved,
        (TWO,),
    )

    polynomial = Polynomial([reduce(bytes([n]) * 64) for n in (1, 2, 3)])
    session, other = bytes(31) + b"1", bytes(31) + b"2"
    honest = tuple(p for _, p in first(Terms(3, TERMS.members, session)).values())

    def in_session(package: Round1Package) -> Callable[[], object]:
        packages = [p for p in honest if p.identifier != TWO]
        return lambda: check_round1(Terms(3, TERMS.members, session), [*packages, package])

    yield Attack("package of another session", in_session(proven(polynomial, TWO, other)), Misbehaved, (TWO,))
    mislabelled = replace(proven(polynomial, TWO, session), context=other)
    yield Attack("a right package with another session's label", in_session(mislabelled), Misbehaved, (TWO,))
    yield Attack("package of no session", in_session(proven(polynomial, TWO)), Misbehaved, (TWO,))
    yield Attack(
        "proof replayed from another session",
        in_session(replace(proven(polynomial, TWO, other), context=session)),
        Misbehaved,
        (TWO,),
    )
    yield Attack(
        "proof replayed from the plain form",
        in_session(replace(proven(polynomial, TWO), context=session)),
        Misbehaved,
        (TWO,),
    )
    yield Attack(
        "proof of a session in the plain form",
        checked(replace(proven(polynomial, TWO, session), context=b"")),
        Misbehaved,
        (TWO,),
    )
    yield from rogue_keys()


def rogue_keys() -> Iterator[Attack]:
    """The last one to speak chooses A = X − Σ of the others: the group key would be X, whose secret it knows."""
    x = reduce(b"mine" * 16)
    others = IDENTITY
    for p in PACKAGES[:4]:
        others = add_points(others, p.commitment[0])
    minus_one = subtract_scalars(ZERO, ONE)
    rogue = add_points(multiply_base(x), multiply(minus_one, others))
    k = reduce(b"k" * 64)
    r = multiply_base(k)
    commitment = (rogue, *PACKAGES[4].commitment[1:])
    c = proof_challenge(FIVE, rogue, r, b"")
    for name, z in {
        "with a proof of x": add_scalars(k, multiply_scalars(x, c)),
        "with its old proof": PACKAGES[4].proof[32:],
        "with k alone": k,
    }.items():
        package = Round1Package(1, b"", FIVE, commitment, r + z)
        yield Attack(f"rogue key {name}", checked(package), Misbehaved, (FIVE,))


def wrong_sets_of_packages() -> Iterator[Attack]:
    def given(*packages: Round1Package, terms: Terms = TERMS) -> Callable[[], object]:
        return lambda: check_round1(terms, packages)

    stranger = of_length(3, STRANGER)
    yield Attack("a package missing", given(*PACKAGES[:4]), Malformed)
    yield Attack("no packages", given(), Malformed)
    yield Attack("a package twice", given(*PACKAGES, PACKAGES[0]), Malformed)
    yield Attack("two packages of one", given(*PACKAGES, of_length(3, ONE)), Malformed)
    yield Attack("a package of a stranger", given(*PACKAGES, stranger), Unauthorised)
    yield Attack("a stranger in a member's place", given(*PACKAGES[:4], stranger), Unauthorised)
    yield Attack(
        "identifier 257 for 1", given(replace(PACKAGES[0], identifier=identifier(257)), *PACKAGES[1:]), Unauthorised
    )
    yield Attack(
        "terms of 2 for packages of 3", given(*PACKAGES, terms=Terms(2, TERMS.members)), Misbehaved, TERMS.members
    )

    begun = first(TERMS)
    mine = begun[ONE][0]

    def dealt(packages: list[Round1Package], terms: Terms = TERMS) -> Callable[[], object]:
        return lambda: dkg.part2(mine, Confirmed(check_round1(terms, packages)))

    yield Attack("own package swapped before shares are dealt", dealt([of_length(3, ONE), *PACKAGES[1:]]), Misdirected)
    fewer = Terms(3, TERMS.members[:4])
    yield Attack("confirmed for other members", dealt(list(PACKAGES[:4]), fewer), Misdirected)
    session = Terms(3, TERMS.members, bytes(32))
    yield Attack("confirmed for another session", dealt([p for _, p in first(session).values()], session), Misdirected)


def wrong_shares() -> Iterator[Attack]:
    parts = plain(TERMS)

    def finished(change: Callable[[list[Round2Share]], list[Round2Share]], of: Parts = parts) -> Callable[[], object]:
        return lambda: dkg.part3(of.secrets[ONE], change(of.received(ONE)))

    def changed(place: int, **fields: Any) -> Callable[[list[Round2Share]], list[Round2Share]]:
        def change(shares: list[Round2Share]) -> list[Round2Share]:
            old = shares[place]
            row = {name: getattr(old, name) for name in old.__struct_fields__} | fields
            return [*shares[:place], Round2Share(**row), *shares[place + 1 :]]

        return change

    right = parts.received(ONE)
    for place, sender in enumerate((TWO, THREE, FOUR, FIVE)):
        yield Attack(
            f"share {place} wrong",
            finished(changed(place, share=add_scalars(right[place].share, ONE))),
            Misbehaved,
            (sender,),
        )
    for name, bad in {"0": ZERO, **wrong.scalars(right[1].share)}.items():
        yield Attack(f"share {name}", finished(changed(1, share=bad)), Misbehaved, (THREE,))
    yield Attack(
        "two wrong shares are both named",
        finished(lambda s: changed(3, share=ONE)(changed(0, share=ONE)(s))),
        Misbehaved,
        (TWO, FIVE),
    )
    yield Attack(
        "shares that are wrong and cancel out are named",
        finished(
            lambda s: changed(0, share=add_scalars(s[0].share, ONE))(
                changed(1, share=subtract_scalars(s[1].share, ONE))(s)
            )
        ),
        Misbehaved,
        (TWO, THREE),
    )
    yield Attack(
        "a share meant for another", finished(changed(1, share=parts.received(TWO)[1].share)), Misbehaved, (THREE,)
    )
    yield Attack("a share sent to the wrong member", finished(lambda s: [*s[:3], parts.received(TWO)[3]]), Misdirected)
    yield Attack("a share of another session", finished(changed(0, context=bytes(32))), Misdirected)
    yield Attack("a share missing", finished(lambda s: s[:3]), Malformed)
    yield Attack("no shares", finished(lambda s: []), Malformed)
    yield Attack("a share twice", finished(lambda s: [*s, s[0]]), Malformed)
    yield Attack("a share in another's place", finished(changed(0, sender=THREE)), Malformed)
    yield Attack("a share of its own", finished(changed(0, sender=ONE)), Unauthorised)
    yield Attack("a share of a stranger", finished(changed(0, sender=STRANGER)), Unauthorised)
    yield Attack("a share of 31 bytes", finished(changed(0, share=right[0].share[:31])), Misbehaved, (TWO,))
    yield Attack(
        "shares of another run", finished(lambda s: plain(TERMS, 9).received(ONE)), Misbehaved, (TWO, THREE, FOUR, FIVE)
    )


def wrong_sessions() -> Iterator[Attack]:
    session, me = CIRCLE.session, CIRCLE.members[0]
    later = Circle(3, 5, seed=2)

    def taken(own: echo.Member = me, **changes: Any) -> Callable[[], object]:
        return lambda: echo.terms(replace(session, **changes), own)

    rows = CIRCLE.members
    yield Attack("a session of old, without this run's salt", taken(replace(me, salt=bytes(32))), Misdirected)
    yield Attack("a session with another key for this member", taken(replace(me, key=bytes(32))), Misdirected)
    yield Attack("a session without this member", taken(replace(me, identifier=STRANGER)), Misdirected)
    yield Attack("a session of one's own, others replaced", taken(members=(*later.members[:1], *rows[1:])), Misdirected)
    yield Attack("one key twice in a session", taken(members=(*rows[:4], replace(rows[4], key=rows[0].key))), Malformed)
    yield Attack("a member twice in a session", taken(members=(rows[0], *rows)), Malformed)
    yield Attack("a session out of order", taken(members=rows[::-1]), Malformed)
    yield Attack("a threshold above the members", taken(threshold=6), Malformed)

    package = CIRCLE.begun[TWO][1]
    signed = CIRCLE.signed(package)

    def opened(raw: bytes) -> Callable[[], object]:
        return lambda: echo.open_round1(session, raw)

    bad = SignedRound1(1, encode(package), bytes(64))
    yield Attack("a package without a signature", opened(encode(bad)), BadSignature)
    yield Attack("a package signed by another member", opened(CIRCLE.signed(package, by=THREE)), BadSignature)
    yield Attack(
        "a package changed on the way",
        opened(encode(replace(bad, signature=signed[-64:], package=encode(replace(package, proof=bytes(64)))))),
        BadSignature,
    )
    yield Attack("a package of another session, signed", opened(later.signed(later.begun[TWO][1])), Misdirected)
    yield Attack(
        "a package of a stranger, signed",
        opened(CIRCLE.signed(replace(package, identifier=STRANGER), by=TWO)),
        Unauthorised,
    )
    yield Attack("a signed package of too many bytes", opened(signed + bytes(MAX_CEREMONY_BYTES)), TooLarge)
    yield Attack("a signed package with a byte more", opened(signed + b"\0"), Malformed)
    yield Attack("an echo for a package", opened(CIRCLE.echoes(ONE)[0]), Malformed)


RECEIVED = CIRCLE.round1()
ENTRIES = tuple(r.heard for r in RECEIVED)
RIGHT = CIRCLE.echoes(ONE)


def confirmed(echoes: list[bytes], received: list[Received[Round1Package]] = RECEIVED) -> Callable[[], object]:
    """Member 1 confirms by these echoes."""
    return lambda: CIRCLE.confirm(ONE, received, echoes)


def told(member: Identifier, heard: tuple[Heard, ...], **changes: Any) -> bytes:
    return CIRCLE.sign_echo(replace(Echo(1, CIRCLE.terms.context, member, heard), **changes))


def equivocation() -> Iterator[Attack]:
    second = proven(Polynomial([reduce(bytes([n]) * 64) for n in (7, 8, 9)]), THREE, CIRCLE.terms.context)
    other = echo.open_round1(CIRCLE.session, CIRCLE.signed(second))
    elsewhere = [other if r.heard.sender == THREE else r for r in RECEIVED]
    deceived = echo.echo(CIRCLE.session, FOUR, elsewhere).heard
    forged = tuple(replace(h, package=bytes(32)) if h.sender == THREE else h for h in ENTRIES)
    stale = Circle(3, 5, seed=3)
    yield Attack(
        "two packages, one member deceived",
        confirmed([*RIGHT[:2], told(FOUR, deceived), RIGHT[3]]),
        Misbehaved,
        (THREE,),
    )
    yield Attack("two packages, this member deceived", confirmed(RIGHT, elsewhere), Misbehaved, (THREE,))
    yield Attack(
        "two packages, and it echoes the second itself",
        confirmed([RIGHT[0], told(THREE, deceived), *RIGHT[2:]]),
        Misbehaved,
        (THREE,),
    )
    yield Attack(
        "an echo of what nobody signed", confirmed([*RIGHT[:2], told(FOUR, forged), RIGHT[3]]), Misbehaved, (FOUR,)
    )
    yield Attack(
        "an echo framed with an old signature",
        confirmed(
            [
                *RIGHT[:2],
                told(FOUR, tuple(stale.round1()[2].heard if h.sender == THREE else h for h in ENTRIES)),
                RIGHT[3],
            ]
        ),
        Misbehaved,
        (FOUR,),
    )
    yield Attack(
        "an equivocator and a forger are both named",
        confirmed([RIGHT[0], RIGHT[1], told(FOUR, forged), told(FIVE, deceived)]),
        Misbehaved,
        (THREE, FOUR),
    )


def wrong_echoes() -> Iterator[Attack]:
    yield Attack("an echo without a member", confirmed([*RIGHT[:3], told(FIVE, ENTRIES[:4])]), Misbehaved, (FIVE,))
    yield Attack(
        "an echo with a member twice", confirmed([*RIGHT[:3], told(FIVE, (ENTRIES[0], *ENTRIES))]), Misbehaved, (FIVE,)
    )
    yield Attack("an echo out of order", confirmed([*RIGHT[:3], told(FIVE, ENTRIES[::-1])]), Misbehaved, (FIVE,))
    yield Attack("an echo missing", confirmed(RIGHT[:3]), Malformed)
    yield Attack("no echoes", confirmed([]), Malformed)
    yield Attack("an echo twice", confirmed([*RIGHT[:3], RIGHT[0]]), Malformed)
    yield Attack("its own echo played back", confirmed([*RIGHT[:3], told(ONE, ENTRIES)]), Malformed)
    yield Attack(
        "an echo of another session", confirmed([*RIGHT[:3], told(FIVE, ENTRIES, context=bytes(32))]), Misdirected
    )
    unsigned = SignedEcho(1, encode(Echo(1, CIRCLE.terms.context, FIVE, ENTRIES)), bytes(64))
    yield Attack("an echo without a signature", confirmed([*RIGHT[:3], encode(unsigned)]), BadSignature)
    yield Attack(
        "an echo signed by another",
        confirmed([*RIGHT[:3], CIRCLE.sign_echo(echo.echo(CIRCLE.session, FIVE, RECEIVED), by=FOUR)]),
        BadSignature,
    )
    yield Attack(
        "an echo of a stranger",
        confirmed([*RIGHT[:3], CIRCLE.sign_echo(Echo(1, CIRCLE.terms.context, STRANGER, ENTRIES), by=FIVE)]),
        Unauthorised,
    )
    yield Attack("a package that was not heard", confirmed(RIGHT, RECEIVED[:4]), Malformed)


ATTACKS = list(attacks())


def test_the_table_is_long_and_names_each_row_once() -> None:
    assert len({a.name for a in ATTACKS}) == len(ATTACKS) >= 180


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_an_attack_is_refused(attack: Attack) -> None:
    attack.is_refused()


def test_the_same_calls_without_an_attack_succeed() -> None:
    assert [p.identifier for p in check_round1(TERMS, PACKAGES).packages] == list(TERMS.members)
    check_round1(TERMS, [of_length(3, TWO) if p.identifier == TWO else p for p in PACKAGES])
    parts = plain(TERMS)
    dkg.part3(parts.secrets[ONE], parts.received(ONE))
    assert CIRCLE.confirm(ONE, CIRCLE.round1(), CIRCLE.echoes(ONE)).checked.terms == CIRCLE.terms


def test_a_longer_commitment_would_have_bricked_the_key() -> None:
    """What the check of lengths prevents, shown: 2 of 3, one deals three coefficients, and no two can sign."""
    terms = Terms(2, (ONE, TWO, THREE))
    polynomials = [Polynomial([reduce(bytes([9 * i + n + 1]) * 64) for n in range(t)]) for i, t in enumerate((2, 2, 3))]
    with pytest.raises(Misbehaved, match="keyholder 3 sent a commitment of 3 coefficients for 2"):
        check_round1(terms, [proven(p, i) for p, i in zip(polynomials, terms.members, strict=True)])
    shares = [ZERO, ZERO]
    for p in polynomials:
        shares = [add_scalars(total, p.at(i)) for total, i in zip(shares, (ONE, TWO), strict=True)]
    key = ZERO
    for p in polynomials:
        key = add_scalars(key, p.constant)
    # λ_1 = 2, λ_2 = −1
    two = multiply_scalars(shares[0], identifier(2))
    assert subtract_scalars(two, shares[1]) != key


def test_after_a_culprit_was_named_the_others_make_a_key() -> None:
    with pytest.raises(Refused) as named:
        checked(of_length(4, TWO))()
    assert isinstance(named.value, Misbehaved)
    left = Terms(3, tuple(i for i in TERMS.members if i not in named.value.culprits))
    begun = first(left)
    confirmed = Confirmed(check_round1(left, [package for _, package in begun.values()]))
    made = deal_out([secret for secret, _ in begun.values()], confirmed).finish()
    assert len({encode(public) for _, public in made.values()}) == 1
    assert len(made) == 4
