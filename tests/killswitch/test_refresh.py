"""Refresh: the key stays, all shares change, who is left out is out, and nobody's refresh undoes another's."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.killswitch import dkg, echo, frost, refresh
from davy.killswitch.dkg import Confirmed, Round1Package, Terms
from davy.killswitch.group import (
    ZERO,
    L,
    Scalar,
    add_points,
    add_scalars,
    identifier,
    multiply,
    multiply_base,
    multiply_scalars,
    subtract_scalars,
)
from davy.killswitch.keys import KeyPackage, check_key, check_public
from davy.killswitch.sharing import lagrange
from davy.protocol.errors import Malformed, Misbehaved
from davy.protocol.signing import Domain, prefix, verify
from tests.killswitch.mending import Table, begun, deal_out, first
from tests.twins import SeededEntropy
from tests.twins.dealer import Group, begin, deal, shares_of, sign_with

MESSAGE = prefix(Domain.ORDER) + b"stop the model"
GROUP = deal(3, 5)
ONE, TWO, THREE, FOUR, FIVE = GROUP.keys


def signs(group: Group, keys: list[KeyPackage]) -> None:
    verify(group.public.group_key, Domain.ORDER, b"stop the model", sign_with(keys, group.public, MESSAGE))


@settings(max_examples=15)
@given(st.data())
def test_a_refresh_keeps_the_key_and_changes_every_share(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 6))
    t = data.draw(st.integers(2, n))
    numbers = data.draw(st.lists(st.integers(1, 300) | st.integers(1, L - 1), min_size=n, max_size=n, unique=True))
    old = deal(t, numbers, SeededEntropy(data.draw(st.integers(0, 2**32))))
    members = sorted(data.draw(st.sets(st.sampled_from(list(old.keys)), min_size=t)), key=list(old.keys).index)
    context = data.draw(st.sampled_from([b"", bytes(31) + b"s"]))
    new = begun(old, members, context).finish()
    check_public(new.public)
    assert (new.public.group_key, new.public.threshold) == (old.public.group_key, t)
    assert list(new.public.shares()) == members
    for i, key in new.keys.items():
        check_key(key, new.public)
        assert key.signing_share != old.keys[i].signing_share
    signs(new, data.draw(st.permutations(list(new.keys.values())))[:t])


def test_seven_of_ten_are_refreshed_and_three_are_removed() -> None:
    old = deal(7, 10)
    left = list(old.keys)[3:]
    once = begun(old).finish()
    signs(once, once.some(7))
    new = begun(once, left, seed=5).finish()
    check_public(new.public)
    signs(new, new.some(7))
    assert list(new.keys) == left
    assert new.public.group_key == old.public.group_key


def test_a_removed_member_cannot_sign_with_those_who_stay() -> None:
    new = begun(GROUP, [ONE, TWO, THREE]).finish()
    gone = GROUP.keys[FOUR]
    with pytest.raises(Malformed, match="different groups or ceremonies"):
        frost.sign(gone, new.public, *_round(new, gone), MESSAGE)
    # nor does its share fit theirs, whatever packages it writes for itself
    mixed = [new.keys[ONE].signing_share, new.keys[TWO].signing_share, gone.signing_share]
    assert multiply_base(_at_zero(dict(zip((ONE, TWO, FOUR), mixed, strict=True)))) != GROUP.public.group_key


def _round(new: Group, gone: KeyPackage) -> tuple[frost.Nonces, frost.SigningPackage]:
    package = begin(new.some(3), new.public, MESSAGE).package
    nonces, commitments = frost.commit(gone, SeededEntropy(3))
    return nonces, replace(package, commitments=(*package.commitments[:2], commitments))


def _at_zero(shares: dict[bytes, Scalar]) -> Scalar:
    total = ZERO
    for i, share in shares.items():
        total = add_scalars(total, multiply_scalars(lagrange(i, list(shares)), share))
    return total


def test_old_and_new_shares_are_of_different_polynomials() -> None:
    """Every mixture of t old and new shares gives another key; t old ones among themselves the old one."""
    new = begun(GROUP).finish()
    both = {i: (GROUP.keys[i].signing_share, new.keys[i].signing_share) for i in (ONE, TWO, THREE)}
    for mixture in range(8):
        shares = {i: both[i][mixture >> n & 1] for n, i in enumerate(both)}
        whole = multiply_base(_at_zero(shares)) == GROUP.public.group_key
        assert whole == (mixture in (0, 7))


def test_who_signs_with_an_old_share_after_a_refresh_is_named() -> None:
    new = begun(GROUP).finish()
    old = GROUP.keys[TWO]
    lying = KeyPackage(1, TWO, 3, old.signing_share, new.keys[TWO].verifying_share, old.group_key)
    keys = [new.keys[ONE], lying, new.keys[THREE]]
    began = begin(keys, new.public, MESSAGE)
    with pytest.raises(Misbehaved, match="keyholder 2") as named:
        frost.aggregate(new.public, began.package, shares_of(keys, new.public, began))
    assert named.value.culprits == (TWO,)


def test_a_session_of_four_refreshes() -> None:
    table = Table(GROUP, [ONE, TWO, FOUR, FIVE], refresh.work(GROUP.public), "refresh")
    terms = refresh.terms(table.session, table.members[0], GROUP.public)
    made = first(GROUP, terms)
    received = [echo.open_round1(table.session, table.signed(package)) for _, package in made.values()]
    confirmed = {
        m.identifier: refresh.confirm(table.session, m, GROUP.public, received, table.echoes(received, m.identifier))
        for m in table.members
    }
    new = deal_out(GROUP, [secret for secret, _ in made.values()], confirmed[FIVE]).finish()
    signs(new, [new.keys[i] for i in (TWO, FOUR, FIVE)])


def test_who_sends_two_packages_in_a_refresh_is_named() -> None:
    table = Table(GROUP, [ONE, TWO, FOUR, FIVE], refresh.work(GROUP.public), "refresh")
    terms = refresh.terms(table.session, table.members[0], GROUP.public)
    told, second = first(GROUP, terms), first(GROUP, terms, SeededEntropy(8))
    received = [echo.open_round1(table.session, table.signed(package)) for _, package in told.values()]
    other = echo.open_round1(table.session, table.signed(second[FOUR][1]))
    elsewhere = [*received[:2], other, received[3]]
    for mine, echoed in ((received, elsewhere), (elsewhere, received)):
        with pytest.raises(Misbehaved, match="keyholder 4 sent two packages") as named:
            refresh.confirm(table.session, table.members[0], GROUP.public, mine, table.echoes(echoed, ONE))
        assert named.value.culprits == (FOUR,)
    with pytest.raises(Malformed, match="one echo of every other member"):
        refresh.confirm(table.session, table.members[0], GROUP.public, received, table.echoes(received, ONE)[:2])


def test_a_polynomial_with_a_constant_is_refused() -> None:
    """A refresh that moved the key would be a theft of it: commitments have no place for a constant."""
    terms = Terms(3, tuple(GROUP.keys))
    made = first(GROUP, terms)
    with_constant, package = dkg.part1(terms, TWO, SeededEntropy(6))
    packages = {i: p for i, (_, p) in made.items()}
    with pytest.raises(Misbehaved, match="keyholder 2 sent a commitment of 3 coefficients for 2"):
        refresh.check_round1(terms, GROUP.public, list((packages | {TWO: package}).values()))
    # told as one without, its shares are wrong
    short = replace(package, commitment=package.commitment[1:], proof=packages[TWO].proof)
    confirmed = Confirmed(refresh.check_round1(terms, GROUP.public, list((packages | {TWO: short}).values())))
    kept, _ = dkg.part2(made[ONE][0], confirmed)
    sent = [s for i, (secret, _) in made.items() if i not in (ONE, TWO) for s in dkg.part2(secret, confirmed)[1]]
    wrong = dkg.Round2Share(1, b"", TWO, ONE, with_constant.polynomial.at(ONE))
    with pytest.raises(Misbehaved) as named:
        refresh.part3(kept, [wrong, *(s for s in sent if s.recipient == ONE)], GROUP.keys[ONE], GROUP.public)
    assert named.value.culprits == (TWO,)


def test_nobody_undoes_another_s_refresh() -> None:
    """What the proof of every coefficient prevents, shown: in the plain form the last to speak takes a refresh back.

    1 and 2 are with 3, which commits to the negative of 4's polynomial. It has no coefficient of it, but t − 1 = 2 of
    its shares and the zero at 0, and so all that it needs to answer 4.
    """
    terms = Terms(3, (ONE, TWO, THREE, FOUR))
    honest, package = refresh.part1(terms, GROUP.keys[FOUR], GROUP.public, SeededEntropy(9))
    minus = subtract_scalars(ZERO, ONE)
    negated = tuple(multiply(minus, phi) for phi in package.commitment)
    dealt = {i: honest.polynomial.at(i) for i in (ONE, TWO)}
    # f(4) from f(1) and f(2), as f(0) = 0
    at_four = ZERO
    for i, share in dealt.items():
        weight = multiply_scalars(lagrange(i, [ONE, TWO], FOUR), multiply_scalars(FOUR, _inverse(i)))
        at_four = add_scalars(at_four, multiply_scalars(weight, share))
    assert at_four == honest.polynomial.at(FOUR)
    k = identifier(77)
    forged = Round1Package(1, b"", THREE, negated, multiply_base(k) + k)
    others = [refresh.part1(terms, GROUP.keys[i], GROUP.public, SeededEntropy(n)) for n, i in enumerate((ONE, TWO))]
    refresh.check_round1(terms, GROUP.public, [forged, package, *(p for _, p in others)])
    session = terms._replace(context=bytes(31) + b"s")
    bound = [refresh.part1(session, GROUP.keys[i], GROUP.public, SeededEntropy(n)) for n, i in enumerate(terms.members)]
    packages = [p for _, p in bound if p.identifier != THREE]
    copied = replace(
        forged, context=session.context, commitment=tuple(multiply(minus, p) for p in packages[2].commitment)
    )
    for proof in (forged.proof, packages[2].proof, bound[2][1].proof):
        with pytest.raises(Misbehaved, match="keyholder 3 sent a wrong proof of knowledge"):
            refresh.check_round1(session, GROUP.public, [*packages, replace(copied, proof=proof)])


def _inverse(i: Scalar) -> Scalar:
    return pow(le(i), -1, L).to_bytes(32, "little")


def test_a_proof_is_of_every_coefficient_and_of_its_session() -> None:
    session = Terms(3, tuple(GROUP.keys), bytes(31) + b"s")
    packages = [p for _, p in first(GROUP, session).values()]
    refresh.check_round1(session, GROUP.public, packages)
    for place in range(2):
        moved = list(packages[1].commitment)
        moved[place] = packages[0].commitment[place]
        with pytest.raises(Misbehaved, match="keyholder 2 sent a wrong proof") as named:
            refresh.check_round1(
                session, GROUP.public, [packages[0], replace(packages[1], commitment=tuple(moved)), *packages[2:]]
            )
        assert named.value.culprits == (TWO,)
    other = Terms(3, session.members, bytes(31) + b"t")
    relabelled = [replace(p, context=other.context) for p in packages]
    with pytest.raises(Misbehaved, match="wrong proof") as all_named:
        refresh.check_round1(other, GROUP.public, relabelled)
    assert all_named.value.culprits == session.members


def point_times(scalar: int, point: bytes) -> bytes:
    return multiply((scalar % L).to_bytes(32, "little"), point)


def le(scalar: Scalar) -> int:
    return int.from_bytes(scalar, "little")


def challenge(i: bytes, *parts: bytes) -> int:
    """Return c, written out: what is hashed, and in which order."""
    return le(hashlib.sha512(b"FROST-ED25519-SHA512-v1refresh" + i + b"".join(parts)).digest()) % L


def test_the_equation_of_the_proof_is_the_documented_one() -> None:
    """z·B = R + c φ_1 + c² φ_2 + c³ φ_3, for t = 4."""
    group, session = deal(4, 5), bytes(31) + b"s"
    terms = Terms(4, tuple(group.keys), session)
    for _, package in first(group, terms).values():
        r, z = package.proof[:32], package.proof[32:]
        c = challenge(package.identifier, *package.commitment, r, session)
        total = r
        for k, phi in enumerate(package.commitment, start=1):
            total = add_points(total, point_times(pow(c, k, L), phi))
        assert multiply_base(z) == total


def test_who_knows_one_coefficient_and_not_the_other_is_refused() -> None:
    """Both ways to forge: to prove the first alone, and to choose the second after a challenge that leaves it out."""
    session = Terms(3, tuple(GROUP.keys), bytes(31) + b"s")
    packages = {p.identifier: p for _, p in first(GROUP, session).values()}
    unknown = packages[ONE].commitment[1]
    a, k, z = identifier(1234), identifier(5678), 91011
    phi, r = multiply_base(a), multiply_base(k)
    c = challenge(TWO, phi, unknown, r, session.context)
    alone = ((le(k) + c * le(a)) % L).to_bytes(32, "little")
    early = challenge(TWO, phi, r, session.context)
    inverse = pow(early * early, -1, L)
    rest = (z - le(k) - early * le(a)) * inverse % L
    chosen = multiply_base(rest.to_bytes(32, "little"))
    for second, proof in ((unknown, r + alone), (chosen, r + identifier(z))):
        forged = Round1Package(1, session.context, TWO, (phi, second), proof)
        with pytest.raises(Misbehaved, match="keyholder 2 sent a wrong proof of knowledge"):
            refresh.check_round1(session, GROUP.public, list((packages | {TWO: forged}).values()))


def test_the_plain_proof_is_the_crate_s_and_is_checked() -> None:
    terms = Terms(3, tuple(GROUP.keys))
    packages = {p.identifier: p for _, p in first(GROUP, terms).values()}
    proof = packages[TWO].proof
    assert multiply_base(proof[32:]) == proof[:32]
    wrong = replace(packages[TWO], proof=proof[:32] + add_scalars(proof[32:], ONE))
    with pytest.raises(Misbehaved, match="keyholder 2 sent a wrong proof of knowledge"):
        refresh.check_round1(terms, GROUP.public, list((packages | {TWO: wrong}).values()))


def test_the_same_source_of_randomness_twice_is_noticed() -> None:
    class Stuck:
        def bytes(self, n: int) -> bytes:
            return b"\7" * n

    with pytest.raises(Exception, match="source of randomness"):
        refresh.part1(Terms(3, tuple(GROUP.keys)), GROUP.keys[ONE], GROUP.public, Stuck())
