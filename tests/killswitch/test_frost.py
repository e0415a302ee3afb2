"""Signing: any t of n, never fewer, with nonces that sign once; and what follows when somebody cheated."""

from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.killswitch import frost
from davy.killswitch.frost import SignatureShare, SigningPackage
from davy.killswitch.group import ZERO, L, Scalar, add_scalars, identifier, multiply_scalars, reduce
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, check_public
from davy.killswitch.sharing import lagrange
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import BadSignature, Malformed, Misbehaved, Misconfigured, Misdirected, Replayed
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS, MAX_THRESHOLD_MESSAGE_BYTES
from davy.protocol.signing import Domain, prefix, verify
from tests.twins import SeededEntropy
from tests.twins.dealer import Group, ListedEntropy, Round, begin, deal, deal_polynomial, shares_of, sign_with

MESSAGE = prefix(Domain.ORDER) + b"stop the model"
GROUP = deal(3, 5)
"""3 of 5. Keys are values; what is used up are nonces, and every test makes its own."""
ONE, TWO, THREE, FOUR, FIVE = GROUP.keys
STRANGER = identifier(6)


# ── any t of n, never fewer ──────────────────────────────────────────────────────────────────────────────────────────


@given(st.data())
def test_any_t_of_n_sign_plain_ed25519(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 7))
    t = data.draw(st.integers(2, n))
    numbers = data.draw(st.lists(st.integers(1, 300) | st.integers(1, L - 1), min_size=n, max_size=n, unique=True))
    group = deal(t, numbers, SeededEntropy(data.draw(st.integers(0, 2**32))))
    check_public(group.public)
    signers = data.draw(st.lists(st.sampled_from(list(group.keys.values())), min_size=t, unique=True))
    body = data.draw(st.binary(max_size=50))
    signature = sign_with(signers, group.public, prefix(Domain.ORDER) + body)
    verify(group.public.group_key, Domain.ORDER, body, signature)
    for domain in (Domain.TX, Domain.RECEIPT):
        with pytest.raises(BadSignature):
            verify(group.public.group_key, domain, body, signature)


@given(st.integers(2, 6), st.data())
def test_fewer_than_t_never_sign(t: int, data: st.DataObject) -> None:
    """Neither by the rules, nor when they rewrite t in their own packages: the interpolated key is another one."""
    group = deal(t, 6, SeededEntropy(data.draw(st.integers(0, 2**32))))
    few = data.draw(st.integers(2, t - 1)) if t > 2 else 1
    signers = data.draw(st.permutations(list(group.keys.values())))[:few]
    with pytest.raises(Malformed, match=f"{few} signers where {t} to 6 sign"):
        begin(signers, group.public, MESSAGE)
    if few >= 2:
        lowered = replace(group.public, threshold=few)
        lowered_keys = [_lowered(key, few) for key in signers]
        with pytest.raises(Malformed, match="public key package is wrong"):
            sign_with(lowered_keys, lowered, MESSAGE)
        with pytest.raises(Malformed, match="do not belong to the group key"):
            check_public(lowered)


def _lowered(key: KeyPackage, t: int) -> KeyPackage:
    return KeyPackage(1, key.identifier, t, key.signing_share, key.verifying_share, key.group_key)


def test_seven_of_ten_and_three_of_the_most_that_are_allowed() -> None:
    for group, signers in ((deal(7, 10), 7), (deal(3, MAX_KEYHOLDERS), 3)):
        signature = sign_with(group.some(signers), group.public, MESSAGE)
        verify(group.public.group_key, Domain.ORDER, b"stop the model", signature)


def test_the_largest_of_each_fits_into_the_bounds() -> None:
    most = deal(2, MAX_KEYHOLDERS)
    package = begin(most.keys.values(), most.public, bytes(MAX_THRESHOLD_MESSAGE_BYTES)).package
    for value, kind in ((package, SigningPackage), (most.public, PublicKeyPackage)):
        assert decode(encode(value), kind, limit=MAX_CEREMONY_BYTES) == value


def test_identifiers_beyond_a_byte_sign() -> None:
    group = deal(2, [255, 256, 257, 2**64, L - 1])
    for pair in zip(group.keys.values(), list(group.keys.values())[1:], strict=False):
        verify(group.public.group_key, Domain.ORDER, b"x", sign_with(pair, group.public, prefix(Domain.ORDER) + b"x"))


def test_the_order_in_which_commitments_arrive_does_not_matter() -> None:
    package = begin(GROUP.some(4), GROUP.public, MESSAGE).package
    for commitments in (package.commitments[::-1], package.commitments[2:] + package.commitments[:2]):
        assert frost.signing_package(GROUP.public, MESSAGE, commitments) == package


@given(st.sampled_from(["group_key", "message", "hiding", "binding", "signers"]), st.integers(0, 2))
def test_a_binding_factor_depends_on_everything_that_is_signed(what: str, who: int) -> None:
    """Drijvers' attack and ROS need a share that is worth something in another session: none is."""
    package = begin(GROUP.some(3), GROUP.public, MESSAGE).package
    fresh = begin(GROUP.some(4), GROUP.public, MESSAGE, SeededEntropy(99)).package
    rows = list(package.commitments)
    match what:
        case "group_key":
            other = replace(package, group_key=deal(2, 2).public.group_key)
        case "message":
            other = replace(package, message=MESSAGE + b".")
        case "signers":
            other = replace(package, commitments=(*rows, fresh.commitments[3]))
        case _:
            rows[who] = replace(rows[who], **{what: getattr(fresh.commitments[who], what)})
            other = replace(package, commitments=tuple(rows))
    before, after = frost.binding_factors(package), frost.binding_factors(other)
    assert not set(before.values()) & set(after.values())
    assert len(set(before.values())) == 3


# ── nonces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nonces_sign_once() -> None:
    begun = begin(GROUP.some(3), GROUP.public, MESSAGE)
    shares_of(GROUP.some(3), GROUP.public, begun)
    for key in GROUP.some(3):
        with pytest.raises(Replayed, match="commit anew"):
            frost.sign(key, GROUP.public, begun.nonces[key.identifier], begun.package, MESSAGE)


def test_a_round_that_was_refused_has_used_its_nonces() -> None:
    begun, key = begin(GROUP.some(3), GROUP.public, MESSAGE), GROUP.keys[ONE]
    with pytest.raises(Misdirected):
        frost.sign(key, GROUP.public, begun.nonces[ONE], begun.package, b"another message")
    with pytest.raises(Replayed):
        frost.sign(key, GROUP.public, begun.nonces[ONE], begun.package, MESSAGE)


def test_of_many_threads_one_gets_the_nonces() -> None:
    for _ in range(20):
        begun = begin(GROUP.some(3), GROUP.public, MESSAGE)
        gate, outcomes = Barrier(8), list[object]()

        def attempt(begun: Round = begun, gate: Barrier = gate, outcomes: list[object] = outcomes) -> None:
            gate.wait()
            try:
                outcomes.append(frost.sign(GROUP.keys[ONE], GROUP.public, begun.nonces[ONE], begun.package, MESSAGE))
            except Replayed as e:
                outcomes.append(e)

        threads = [Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(o, SignatureShare) for o in outcomes) == 1
        assert sum(isinstance(o, Replayed) for o in outcomes) == 7


def test_nonces_are_hedged_with_the_share() -> None:
    """The same random bytes in two signers' hands (a cloned machine) give different nonces."""
    draws = [b"a" * 32, b"b" * 32]
    made = [frost.commit(key, ListedEntropy(draws))[1] for key in GROUP.some(2)]
    assert made[0].hiding != made[1].hiding
    assert made[0].hiding != made[0].binding
    with pytest.raises(Misconfigured):
        frost.commit(GROUP.keys[ONE], ListedEntropy([b"a" * 32, b"a" * 32]))


def test_two_signatures_under_the_same_nonces_would_give_the_share_away() -> None:
    """What the rule above prevents, shown: without it this is how a share is computed."""
    group, draws = deal(2, 2), [b"a" * 32, b"b" * 32]
    found: list[tuple[Scalar, Scalar, Scalar]] = []
    key, other = group.some(2)
    for seed in (1, 2, 3):
        nonces, mine = frost.commit(key, ListedEntropy(draws))
        _, theirs = frost.commit(other, SeededEntropy(seed))
        package = frost.signing_package(group.public, MESSAGE, [mine, theirs])
        share = frost.sign(key, group.public, nonces, package, MESSAGE)
        common = frost.derive(group.public, package)
        found.append((share.share, common.factors[key.identifier], common.challenge))
    # z = d + e ρ + s λ c: three equations, three unknowns
    rows = [[1, le(rho), 2 * le(c) % L, le(z)] for z, rho, c in found]
    assert solve(rows)[2] == le(key.signing_share)


def le(scalar: Scalar) -> int:
    return int.from_bytes(scalar, "little")


def solve(rows: list[list[int]]) -> list[int]:
    """Gauss, mod L."""
    for i in range(len(rows)):
        pivot = next(r for r in rows[i:] if r[i])
        rows.remove(pivot)
        rows.insert(i, [x * pow(pivot[i], -1, L) % L for x in pivot])
        for j in range(len(rows)):
            if j != i:
                rows[j] = [(a - rows[j][i] * b) % L for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[-1] for row in rows]


# ── what follows an attack ───────────────────────────────────────────────────────────────────────────────────────────


def spoilt_round(signers: int, *by: int) -> tuple[frost.SigningPackage, list[SignatureShare]]:
    """Shares of the first signers, each changed by a number."""
    begun = begin(GROUP.some(signers), GROUP.public, MESSAGE)
    shares = shares_of(GROUP.some(signers), GROUP.public, begun)
    for n, d in enumerate(by):
        shares[n] = replace(shares[n], share=((le(shares[n].share) + d) % L).to_bytes(32, "little"))
    return begun.package, shares


def test_without_the_culprit_the_others_sign() -> None:
    with pytest.raises(Misbehaved) as named:
        frost.aggregate(GROUP.public, *spoilt_round(4, 0, 7))
    assert named.value.culprits == (TWO,)
    honest = [key for key in GROUP.some(4) if key.identifier not in named.value.culprits]
    signature = sign_with(honest, GROUP.public, MESSAGE)
    verify(GROUP.public.group_key, Domain.ORDER, b"stop the model", signature)


def test_errors_that_cancel_out_are_no_error() -> None:
    """Two signers who shift their shares against each other have signed: the signature is right, and that is all."""
    package, shares = spoilt_round(3, 5, -5)
    assert frost.aggregate(GROUP.public, package, shares) == frost.aggregate(GROUP.public, *spoilt_round(3))
    for share in shares[:2]:
        with pytest.raises(Misbehaved):
            frost.verify_share(GROUP.public, package, share)


def refreshed(group: Group, seed: int) -> Group:
    """The same key, dealt anew."""
    t = group.public.threshold
    secret = _secret(group)
    rest = [reduce(SeededEntropy(seed + n).bytes(64)) for n in range(1, t)]
    return deal_polynomial([secret, *rest], range(1, len(group.keys) + 1))


def _secret(group: Group) -> Scalar:
    some = group.some(group.public.threshold)
    total = ZERO
    for key in some:
        weight = lagrange(key.identifier, [k.identifier for k in some])
        total = add_scalars(total, multiply_scalars(weight, key.signing_share))
    return total


def test_old_and_new_shares_do_not_mix() -> None:
    new = refreshed(GROUP, 500)
    assert new.public.group_key == GROUP.public.group_key
    assert new.public != GROUP.public
    mixed = [*new.some(2), GROUP.keys[THREE]]
    with pytest.raises(Malformed, match="different groups or ceremonies"):
        sign_with(mixed, new.public, MESSAGE)
    # a keyholder that lies about its verifying share too is named as soon as it signs
    old = GROUP.keys[THREE]
    lying = KeyPackage(1, THREE, 3, old.signing_share, new.keys[THREE].verifying_share, old.group_key)
    with pytest.raises(Misbehaved, match="keyholder 3") as named:
        sign_with([*new.some(2), lying], new.public, MESSAGE)
    assert named.value.culprits == (THREE,)
    # old shares among themselves still sign: after a theft new keys are needed, not new shares
    for group in (GROUP, new):
        signature = sign_with(group.some(3), group.public, MESSAGE)
        verify(GROUP.public.group_key, Domain.ORDER, b"stop the model", signature)


def test_a_polynomial_of_another_degree_is_noticed_when_the_package_is_loaded() -> None:
    """The keys of a 4-of-5 sold as 3-of-5: with three, nothing would ever be signed."""
    four = deal_polynomial([reduce(SeededEntropy(n).bytes(64)) for n in range(4)], range(1, 6))
    with pytest.raises(Malformed, match="do not belong"):
        check_public(replace(four.public, threshold=3))
    with pytest.raises(Malformed, match="do not belong"):
        check_public(replace(four.public, threshold=5))
