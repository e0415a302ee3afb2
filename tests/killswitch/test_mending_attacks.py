"""What every adversary in a refresh or a repair gets: a row hands in one wrong thing, and says how it is refused.

The last test makes the same calls without an attack, so that no row is refused for another reason than its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from davy.killswitch import dkg, echo, refresh, repair
from davy.killswitch.dkg import Confirmed, Round1Package, Round2Share, Terms
from davy.killswitch.echo import Echo, Session
from davy.killswitch.group import (
    IDENTITY,
    ZERO,
    Identifier,
    add_points,
    add_scalars,
    identifier,
    multiply_base,
    reduce,
    subtract_scalars,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.killswitch.repair import Delta, RepairConfirmed, RepairPackage, RepairTerms, Sigma
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, Misbehaved, Misdirected, TooLarge, Unauthorised
from davy.protocol.limits import MAX_CEREMONY_BYTES
from tests.killswitch import wrong
from tests.killswitch.attack import Attack
from tests.killswitch.mending import Repairing, Table, begun, first, mended
from tests.twins import SeededEntropy
from tests.twins.dealer import deal

GROUP = deal(3, 5)
OTHER = deal(3, 5, SeededEntropy(77))
ONE, TWO, THREE, FOUR, FIVE = GROUP.keys
STRANGER = identifier(6)
SESSION = bytes(31) + b"s"
TERMS = Terms(3, (ONE, TWO, THREE, FOUR), SESSION)
BEGUN = first(GROUP, TERMS)
PACKAGES = tuple(package for _, package in BEGUN.values())
HELPERS = (ONE, TWO, THREE, FOUR)
RUN = mended(GROUP, FIVE, HELPERS, SESSION)


def attacks() -> Iterator[Attack]:
    yield from wrong_refreshes()
    yield from wrong_zero_commitments()
    yield from wrong_zero_proofs()
    yield from wrong_zero_shares()
    yield from wrong_repairs()
    yield from wrong_parts()
    yield from wrong_deltas()
    yield from wrong_sigmas()
    yield from wrong_sessions()


def wrong_refreshes() -> Iterator[Attack]:
    def beginning(terms: Terms, key: KeyPackage = GROUP.keys[ONE], public: PublicKeyPackage = GROUP.public) -> Any:
        return lambda: refresh.part1(terms, key, public, SeededEntropy())

    for t in (0, 1, 2, 4, 5):
        yield Attack(f"refresh to {t} of 5", beginning(Terms(t, tuple(GROUP.keys))), Malformed)
    yield Attack("refresh to a smaller t", beginning(Terms(2, HELPERS)), Malformed, says="keeps the threshold of 3")
    yield Attack("refresh by t − 1", beginning(Terms(3, (ONE, TWO))), Malformed)
    yield Attack("refresh with a stranger", beginning(Terms(3, (ONE, TWO, STRANGER))), Unauthorised)
    yield Attack("refresh without oneself", beginning(Terms(3, (TWO, THREE, FOUR))), Unauthorised)
    yield Attack("refresh with a member twice", beginning(Terms(3, (ONE, TWO, TWO, THREE))), Malformed)
    yield Attack("refresh out of order", beginning(Terms(3, (TWO, ONE, THREE))), Malformed)
    yield Attack("refresh with a context of 16 bytes", beginning(Terms(3, HELPERS, bytes(16))), Malformed)
    for name, bad in {"0": ZERO, **wrong.scalars(THREE)}.items():
        yield Attack(f"refresh with member {name}", beginning(Terms(3, (ONE, TWO, bad))), Malformed)
    yield Attack("refresh with another group's key", beginning(TERMS, OTHER.keys[ONE]), Malformed)
    yield Attack("refresh of another group", beginning(TERMS, public=OTHER.public), Malformed)


def checked(*changed: Round1Package, terms: Terms = TERMS) -> Callable[[], object]:
    """Packages of the honest ones but for those that are handed in."""
    by_member = {p.identifier: p for p in PACKAGES} | {p.identifier: p for p in changed}
    return lambda: refresh.check_round1(terms, GROUP.public, list(by_member.values()))


def wrong_zero_commitments() -> Iterator[Attack]:
    two = PACKAGES[1]
    for length in (1, 3, 4, 255):
        spoilt = replace(two, commitment=(two.commitment * 128)[:length])
        yield Attack(f"refresh, a commitment of {length}", checked(spoilt), Misbehaved, (TWO,), "coefficients for 2")
    for name, bad in wrong.POINTS.items():
        for place in range(2):
            rows = (*two.commitment[:place], bad, *two.commitment[place + 1 :])
            spoilt = replace(two, commitment=rows)
            yield Attack(f"refresh, coefficient {place} {name}", checked(spoilt), Misbehaved, (TWO,), "not a point")
    short = replace(two, commitment=(ONE[:31], two.commitment[1]))
    yield Attack("refresh, a point of 31 bytes", checked(short), Misbehaved, (TWO,))
    for name, packages in {
        "missing": PACKAGES[:3],
        "missing, all": (),
        "twice": (*PACKAGES, PACKAGES[0]),
        "of two stories": (*PACKAGES, replace(PACKAGES[0], proof=bytes(64))),
    }.items():
        yield Attack(
            f"refresh, a package {name}", lambda p=packages: refresh.check_round1(TERMS, GROUP.public, p), Malformed
        )
    stranger = replace(two, identifier=STRANGER)
    yield Attack(
        "refresh, a package of a stranger",
        lambda: refresh.check_round1(TERMS, GROUP.public, [*PACKAGES, stranger]),
        Unauthorised,
    )
    removed = refresh.part1(TERMS._replace(members=(ONE, TWO, FIVE)), GROUP.keys[FIVE], GROUP.public, SeededEntropy(1))
    yield Attack(
        "refresh, a package of who is removed",
        lambda: refresh.check_round1(TERMS, GROUP.public, [*PACKAGES, removed[1]]),
        Unauthorised,
    )
    smaller = checked(terms=TERMS._replace(threshold=2))  # nobody is blamed for a package that does not fit such terms
    yield Attack("refresh, packages for a smaller t", smaller, Malformed, says="keeps the threshold of 3")


def wrong_zero_proofs() -> Iterator[Attack]:
    two = PACKAGES[1]
    r, z = two.proof[:32], two.proof[32:]
    k = reduce(b"k" * 64)
    bad_proofs = {
        "missing": bytes(64),
        "of zero with the identity": IDENTITY + ZERO,
        "with z = 0": r + ZERO,
        "of 32 bytes": r,
        "of 65 bytes": two.proof + b"\0",
        "of another member": PACKAGES[2].proof,
        "with another R": wrong.BASE + z,
        "with z + 1": r + add_scalars(z, ONE),
        "as the crate's, z·B = R": multiply_base(k) + k,
        **{f"with R {name}": bad + z for name, bad in wrong.POINTS.items()},
        **{f"with z {name}": r + bad for name, bad in wrong.scalars(z).items()},
    }
    for name, bad in bad_proofs.items():
        yield Attack(f"refresh, proof {name}", checked(replace(two, proof=bad)), Misbehaved, (TWO,))
    mine = replace(PACKAGES[2], identifier=TWO)
    yield Attack("refresh, another's package under one's own name", checked(mine), Misbehaved, (TWO,))
    other = first(GROUP, TERMS._replace(context=bytes(31) + b"t"))[TWO][1]
    relabelled = replace(other, context=SESSION)
    yield Attack("refresh, package of another session", checked(other), Misbehaved, (TWO,), "of another session")
    yield Attack("refresh, proof replayed from another session", checked(relabelled), Misbehaved, (TWO,))
    made = dkg.part1(Terms(2, HELPERS, SESSION), TWO, SeededEntropy(3))[1]
    yield Attack("refresh, a package made for a new key", checked(made), Misbehaved, (TWO,), "proof of knowledge")
    plain = first(GROUP, TERMS._replace(context=b""))[TWO][1]
    yield Attack("refresh, a plain package", checked(replace(plain, context=SESSION)), Misbehaved, (TWO,))
    yield Attack(
        "refresh, two are both named",
        checked(replace(two, proof=bytes(64)), replace(PACKAGES[3], commitment=(wrong.BASE,))),
        Misbehaved,
        (TWO, FOUR),
    )


def wrong_zero_shares() -> Iterator[Attack]:
    run = begun(GROUP, HELPERS, SESSION)
    right = run.received(ONE)

    def finished(shares: list[Round2Share], key: KeyPackage = GROUP.keys[ONE]) -> Callable[[], object]:
        return lambda: refresh.part3(run.secrets[ONE], shares, key, GROUP.public)

    def changed(place: int, **fields: Any) -> list[Round2Share]:
        row = {name: getattr(right[place], name) for name in right[place].__struct_fields__} | fields
        return [*right[:place], Round2Share(**row), *right[place + 1 :]]

    for place, sender in enumerate((TWO, THREE, FOUR)):
        bad = add_scalars(right[place].share, ONE)
        yield Attack(f"refresh, share {place} wrong", finished(changed(place, share=bad)), Misbehaved, (sender,))
    for name, bad in {"0": ZERO, **wrong.scalars(right[1].share)}.items():
        yield Attack(f"refresh, share {name}", finished(changed(1, share=bad)), Misbehaved, (THREE,))
    cancelling = changed(0, share=add_scalars(right[0].share, ONE))
    cancelling[1] = changed(1, share=subtract_scalars(right[1].share, ONE))[1]
    yield Attack("refresh, wrong shares that cancel out", finished(cancelling), Misbehaved, (TWO, THREE))
    yield Attack("refresh, a share missing", finished(right[:2]), Malformed)
    yield Attack("refresh, no shares", finished([]), Malformed)
    yield Attack("refresh, a share twice", finished([*right, right[0]]), Malformed)
    yield Attack("refresh, a share of its own", finished(changed(0, sender=ONE)), Unauthorised)
    yield Attack("refresh, a share of who is removed", finished(changed(0, sender=FIVE)), Unauthorised)
    yield Attack("refresh, a share for another", finished([*right[:2], run.received(TWO)[2]]), Misdirected)
    yield Attack("refresh, a share of another session", finished(changed(0, context=bytes(32))), Misdirected)
    again = begun(GROUP, HELPERS, SESSION, seed=9).received(ONE)
    yield Attack("refresh, shares of another run", finished(again), Misbehaved, (TWO, THREE, FOUR))
    yield Attack("refresh, another keyholder's key at the end", finished(right, GROUP.keys[TWO]), Malformed)
    yield Attack("refresh, another group's key at the end", finished(right, OTHER.keys[ONE]), Malformed)
    new = begun(GROUP).finish()
    yield Attack("refresh, a key that was refreshed since", finished(right, new.keys[ONE]), Malformed)
    swapped = [first(GROUP, TERMS, SeededEntropy(5))[ONE][1], *PACKAGES[1:]]
    confirmed = Confirmed(refresh.check_round1(TERMS, GROUP.public, swapped))
    yield Attack("refresh, own package swapped", lambda: dkg.part2(BEGUN[ONE][0], confirmed), Misdirected)


def wrong_repairs() -> Iterator[Attack]:
    def beginning(
        helpers: tuple[Identifier, ...] = HELPERS, lost: Identifier = FIVE, key: KeyPackage = GROUP.keys[ONE]
    ) -> Callable[[], object]:
        return lambda: repair.part1(RepairTerms(GROUP.public, lost, helpers), key, SeededEntropy())

    yield Attack("repair by t − 1", beginning((ONE, TWO)), Malformed)
    yield Attack("repair by nobody", beginning(()), Malformed)
    yield Attack(
        "repair by itself", beginning((ONE, TWO, THREE, FIVE)), Malformed, says="cannot help to repair its own"
    )
    yield Attack("repair by a stranger", beginning((ONE, TWO, THREE, STRANGER)), Unauthorised)
    yield Attack("repair of a stranger", beginning(lost=STRANGER), Unauthorised)
    yield Attack("repair of 0", beginning(lost=ZERO), Unauthorised, says="keyholder 0")
    yield Attack("repair without oneself", beginning((TWO, THREE, FOUR)), Unauthorised)
    yield Attack("repair with a helper twice", beginning((ONE, TWO, TWO, THREE)), Malformed)
    yield Attack("repair out of order", beginning((ONE, THREE, TWO)), Malformed)
    for name, bad in {"0": ZERO, **wrong.scalars(FOUR)}.items():
        yield Attack(f"repair with helper {name}", beginning((ONE, TWO, bad)), Malformed)
    yield Attack("repair with another group's key", beginning(key=OTHER.keys[ONE]), Malformed)
    refreshed = begun(GROUP).finish()
    yield Attack("repair with a refreshed share of an old package", beginning(key=refreshed.keys[ONE]), Malformed)


def parts(*changed: RepairPackage) -> Callable[[], object]:
    by_helper = {p.identifier: p for p in RUN.confirmed.packages} | {p.identifier: p for p in changed}
    return lambda: repair.check_packages(RUN.terms, list(by_helper.values()))


def wrong_parts() -> Iterator[Attack]:
    two = RUN.confirmed.packages[1]

    def with_point(place: int, bad: bytes) -> RepairPackage:
        return replace(two, commitment=(*two.commitment[:place], bad, *two.commitment[place + 1 :]))

    for name, bad in wrong.POINTS.items():
        for place in (0, 3):
            yield Attack(
                f"repair, part {place} {name}", parts(with_point(place, bad)), Misbehaved, (TWO,), "not a point"
            )
    for length in (2, 3, 5):
        spoilt = replace(two, commitment=(*two.commitment, wrong.BASE)[:length])
        yield Attack(f"repair, {length} parts for 4", parts(spoilt), Misbehaved, (TWO,), "for 4 helpers")
    moved = with_point(2, add_points(two.commitment[2], wrong.BASE))
    yield Attack("repair, parts of another sum", parts(moved), Misbehaved, (TWO,), "do not add up")
    borrowed = replace(RUN.confirmed.packages[2], identifier=TWO)
    yield Attack("repair, another's parts under one's own name", parts(borrowed), Misbehaved, (TWO,), "do not add up")
    yield Attack(
        "repair, parts of another session", parts(replace(two, context=b"")), Misbehaved, (TWO,), "another session"
    )
    later = mended(begun(GROUP).finish(), FIVE, HELPERS, SESSION).confirmed.packages[1]
    yield Attack("repair, parts of a refreshed share", parts(later), Misbehaved, (TWO,), "do not add up")
    fewer = mended(GROUP, FIVE, HELPERS[:3], SESSION).confirmed.packages[1]
    yield Attack("repair, parts for other helpers", parts(fewer), Misbehaved, (TWO,))
    elsewhere = mended(GROUP, FOUR, (ONE, TWO, THREE, FIVE), SESSION).confirmed.packages[1]
    yield Attack("repair, parts for another's share", parts(elsewhere), Misbehaved, (TWO,), "do not add up")
    yield Attack(
        "repair, two are both named",
        parts(moved, replace(RUN.confirmed.packages[3], context=b"")),
        Misbehaved,
        (TWO, FOUR),
    )
    rows = RUN.confirmed.packages
    for name, packages in {"missing": rows[:3], "twice": (*rows, rows[0])}.items():
        yield Attack(f"repair, a package {name}", lambda p=packages: repair.check_packages(RUN.terms, p), Malformed)
    stranger = replace(two, identifier=FIVE)
    yield Attack(
        "repair, a package of the one repaired",
        lambda: repair.check_packages(RUN.terms, [*rows, stranger]),
        Unauthorised,
    )
    mine = replace(mended(GROUP, FIVE, HELPERS, SESSION, seed=3).confirmed.packages[0])
    swapped = RepairConfirmed(RUN.terms, (mine, *rows[1:]))
    yield Attack("repair, own package swapped", lambda: repair.part2(RUN.secrets[ONE], swapped), Misdirected)
    yield Attack(
        "repair, own package swapped before σ", lambda: repair.part3(RUN.secrets[ONE], swapped, []), Misdirected
    )
    other = mended(GROUP, FIVE, HELPERS[:3], SESSION).confirmed
    relabelled = RepairConfirmed(RUN.terms._replace(public=OTHER.public), rows)
    yield Attack("repair, confirmed for another key", lambda: repair.part2(RUN.secrets[ONE], relabelled), Misdirected)
    yield Attack("repair, confirmed for other helpers", lambda: repair.part2(RUN.secrets[ONE], other), Misdirected)


def wrong_deltas() -> Iterator[Attack]:
    right = RUN.received(ONE)

    def summed(deltas: list[Delta]) -> Callable[[], object]:
        return lambda: repair.part3(RUN.secrets[ONE], RUN.confirmed, deltas)

    def changed(place: int, **fields: Any) -> list[Delta]:
        row = {name: getattr(right[place], name) for name in right[place].__struct_fields__} | fields
        return [*right[:place], Delta(**row), *right[place + 1 :]]

    for place, sender in enumerate((TWO, THREE, FOUR)):
        bad = add_scalars(right[place].delta, ONE)
        yield Attack(f"repair, δ {place} wrong", summed(changed(place, delta=bad)), Misbehaved, (sender,))
    for name, bad in {"0": ZERO, "of 31 bytes": ONE[:31], **wrong.scalars(right[1].delta)}.items():
        yield Attack(f"repair, δ {name}", summed(changed(1, delta=bad)), Misbehaved, (THREE,))
    yield Attack("repair, δ missing", summed(right[:2]), Malformed)
    yield Attack("repair, no δ", summed([]), Malformed)
    yield Attack("repair, δ twice", summed([*right, right[0]]), Malformed)
    yield Attack("repair, δ of its own", summed(changed(0, sender=ONE)), Unauthorised)
    yield Attack("repair, δ of the one repaired", summed(changed(0, sender=FIVE)), Unauthorised)
    yield Attack("repair, δ for another", summed([*right[:2], RUN.received(TWO)[2]]), Misdirected)
    yield Attack("repair, δ of another session", summed(changed(0, context=b"")), Misdirected)
    again = mended(GROUP, FIVE, HELPERS, SESSION, seed=3).received(ONE)
    yield Attack("repair, δ of another run", summed(again), Misbehaved, (TWO, THREE, FOUR))


def wrong_sigmas() -> Iterator[Attack]:
    right = RUN.sigmas()

    def restored(sigmas: list[Sigma], run: Repairing = RUN) -> Callable[[], object]:
        return lambda: repair.part4(run.confirmed, sigmas)

    def changed(place: int, **fields: Any) -> list[Sigma]:
        row = {name: getattr(right[place], name) for name in right[place].__struct_fields__} | fields
        return [*right[:place], Sigma(**row), *right[place + 1 :]]

    for place, sender in enumerate(HELPERS):
        bad = add_scalars(right[place].sigma, ONE)
        yield Attack(f"repair, σ {place} wrong", restored(changed(place, sigma=bad)), Misbehaved, (sender,))
    for name, bad in {"0": ZERO, "of 31 bytes": ONE[:31], **wrong.scalars(right[1].sigma)}.items():
        yield Attack(f"repair, σ {name}", restored(changed(1, sigma=bad)), Misbehaved, (TWO,))
    cancelling = changed(0, sigma=add_scalars(right[0].sigma, ONE))
    cancelling[1] = changed(1, sigma=subtract_scalars(right[1].sigma, ONE))[1]
    yield Attack("repair, wrong σ that cancel out", restored(cancelling), Misbehaved, (ONE, TWO))
    yield Attack("repair, σ missing", restored(right[:3]), Malformed)
    yield Attack("repair, no σ", restored([]), Malformed)
    yield Attack("repair, σ twice", restored([*right, right[0]]), Malformed)
    yield Attack("repair, σ of the one repaired", restored(changed(0, sender=FIVE)), Unauthorised)
    yield Attack("repair, σ of another session", restored(changed(0, context=b"")), Misdirected)
    moved = replace(GROUP.public.verifying_shares[4], point=wrong.BASE)
    spoilt = replace(GROUP.public, verifying_shares=(*GROUP.public.verifying_shares[:4], moved))
    off = RepairConfirmed(RUN.terms._replace(public=spoilt), RUN.confirmed.packages)
    yield Attack("repair, a share that its public package does not have", lambda: repair.part4(off, right), Malformed)
    again = mended(GROUP, FIVE, HELPERS, SESSION, seed=3).sigmas()
    yield Attack("repair, σ of another run", restored(again), Misbehaved, HELPERS)


def wrong_sessions() -> Iterator[Attack]:
    members = list(HELPERS)
    table = Table(GROUP, members, refresh.work(GROUP.public), "refresh")
    me, session = table.members[0], table.session
    plain = Session(1, session.purpose, 3, session.members)
    mending = Table(GROUP, members, repair.work(GROUP.public, FIVE), "repair")
    new = begun(GROUP).finish()

    yield Attack("a session of a new key for a refresh", lambda: refresh.terms(plain, me, GROUP.public), Misdirected)
    yield Attack("a session of a refresh for a new key", lambda: echo.terms(session, me), Misdirected)
    yield Attack("a refresh of refreshed shares", lambda: refresh.terms(session, me, new.public), Misdirected)
    yield Attack(
        "a session of a repair for a refresh",
        lambda: refresh.terms(mending.session, mending.members[0], GROUP.public),
        Misdirected,
    )
    yield Attack(
        "a session of a refresh for a repair", lambda: repair.terms(session, me, GROUP.public, FIVE), Misdirected
    )
    yield Attack(
        "a session for another's share",
        lambda: repair.terms(
            replace(mending.session, members=mending.members[:3]), mending.members[0], GROUP.public, FOUR
        ),
        Misdirected,
    )
    yield Attack(
        "a session for another's share, shown to who lost its own",
        lambda: repair.terms(mending.session, None, GROUP.public, FOUR),
        Misdirected,
    )
    yield Attack(
        "a session of a refresh, shown to who lost its share",
        lambda: repair.terms(session, None, GROUP.public, FIVE),
        Misdirected,
    )
    one_key = replace(mending.members[1], key=mending.members[0].key)
    doubled = replace(mending.session, members=(mending.members[0], one_key, *mending.members[2:]))
    yield Attack(
        "one key for two helpers", lambda: repair.terms(doubled, None, GROUP.public, FIVE), Malformed, says="same key"
    )
    yield Attack(
        "a refresh without this run's salt",
        lambda: refresh.terms(session, replace(me, salt=bytes(32)), GROUP.public),
        Misdirected,
    )
    lowered = replace(session, threshold=2)
    yield Attack("a session that lowers t", lambda: refresh.terms(lowered, me, GROUP.public), Malformed)
    yield from _wrong_messages(mending)


def _wrong_messages(table: Table) -> Iterator[Attack]:
    terms = repair.terms(table.session, table.members[0], GROUP.public, FIVE)
    made = {i: repair.part1(terms, GROUP.keys[i], SeededEntropy(4))[1] for i in terms.helpers}
    right = [echo.open_package(table.session, table.signed(p), RepairPackage) for p in made.values()]

    def opened(raw: bytes) -> Callable[[], object]:
        return lambda: echo.open_package(table.session, raw, RepairPackage)

    signed = table.signed(made[TWO])
    yield Attack("repair, a package of a refresh", opened(table.signed(replace(PACKAGES[1]))), Malformed)
    yield Attack("repair, a package of too many bytes", opened(signed + bytes(MAX_CEREMONY_BYTES)), TooLarge)
    yield Attack("repair, a package with a byte more", opened(signed + b"\0"), Malformed)
    yield Attack("repair, a signature of other bytes", opened(signed[:-1] + bytes([signed[-1] ^ 1])), BadSignature)
    elsewhere = replace(made[TWO], context=bytes(32))
    yield Attack("repair, a signed package of another session", opened(table.signed(elsewhere)), Misdirected)

    def confirmed(echoes: list[bytes], own: Identifier = FIVE, of: RepairTerms = terms) -> Callable[[], object]:
        return lambda: repair.confirm(table.session, own, of, right, echoes)

    echoes = table.echoes(right, FIVE)
    yield Attack("repair, an echo missing", confirmed(echoes[:3]), Malformed)
    yield Attack("repair, no echoes", confirmed([]), Malformed)
    yield Attack("repair, a helper without the one of the first", confirmed(echoes[1:3], ONE), Malformed)
    yield Attack("repair, an echo twice", confirmed([*echoes, echoes[0]]), Malformed)
    forged = tuple(replace(e.heard, package=bytes(32)) if e.heard.sender == THREE else e.heard for e in right)
    said = table.sign_echo(Echo(1, terms.context, FOUR, forged))
    yield Attack("repair, an echo of what nobody signed", confirmed([*echoes[:3], said]), Misbehaved, (FOUR,))
    short = table.sign_echo(Echo(1, terms.context, FOUR, forged[:2]))
    yield Attack("repair, an echo without a helper", confirmed([*echoes[:3], short]), Misbehaved, (FOUR,))
    other = terms._replace(context=bytes(32))
    yield Attack("repair, terms of another session", confirmed(echoes, of=other), Misdirected)
    fewer = terms._replace(helpers=HELPERS[:3])
    yield Attack("repair, terms with other helpers", confirmed(echoes, of=fewer), Misdirected)


ATTACKS = list(attacks())


def test_the_table_is_long_and_names_each_row_once() -> None:
    assert len({a.name for a in ATTACKS}) == len(ATTACKS) >= 200


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_an_attack_is_refused(attack: Attack) -> None:
    attack.is_refused()


def test_the_same_calls_without_an_attack_succeed() -> None:
    assert refresh.check_round1(TERMS, GROUP.public, PACKAGES).packages == PACKAGES
    run = begun(GROUP, HELPERS, SESSION)
    key, public = refresh.part3(run.secrets[ONE], run.received(ONE), GROUP.keys[ONE], GROUP.public)
    assert tuple(public.shares()) == HELPERS
    assert multiply_base(key.signing_share) == public.shares()[ONE]
    assert repair.check_packages(RUN.terms, RUN.confirmed.packages) == RUN.confirmed.packages
    assert repair.part4(RUN.confirmed, RUN.sigmas()) == GROUP.keys[FIVE]
    assert encode(RUN.finish()) == encode(GROUP.keys[FIVE])
