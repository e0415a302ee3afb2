"""Repair: the very share that was lost comes back, to its holder only, and who sends a wrong part of it is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.killswitch import echo, repair
from davy.killswitch.group import L, add_scalars, identifier
from davy.killswitch.repair import RepairPackage, RepairTerms
from davy.killswitch.sharing import lagrange
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misbehaved
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS
from davy.protocol.signing import Domain, prefix, verify
from tests.killswitch.mending import Table, begun, mended
from tests.twins import SeededEntropy
from tests.twins.dealer import deal, sign_with

GROUP = deal(3, 5)
ONE, TWO, THREE, FOUR, FIVE = GROUP.keys


@settings(max_examples=15)
@given(st.data())
def test_any_t_others_give_the_share_back(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 6))
    t = data.draw(st.integers(2, n - 1))
    numbers = data.draw(st.lists(st.integers(1, 300) | st.integers(1, L - 1), min_size=n, max_size=n, unique=True))
    group = deal(t, numbers, SeededEntropy(data.draw(st.integers(0, 2**32))))
    lost = data.draw(st.sampled_from(list(group.keys)))
    others = [i for i in group.keys if i != lost]
    helpers = sorted(data.draw(st.sets(st.sampled_from(others), min_size=t)), key=others.index)
    assert mended(group, lost, helpers, data.draw(st.sampled_from([b"", bytes(32)]))).finish() == group.keys[lost]


def test_seven_of_ten_repair_an_eighth_before_and_after_a_refresh() -> None:
    group = deal(7, 10)
    lost = list(group.keys)[9]
    assert mended(group, lost, list(group.keys)[:7]).finish() == group.keys[lost]
    new = begun(group).finish()
    key = mended(new, lost, list(group.keys)[2:9]).finish()
    assert key == new.keys[lost] != group.keys[lost]
    body = prefix(Domain.ORDER) + b"x"
    verify(group.public.group_key, Domain.ORDER, b"x", sign_with([*new.some(6), key], new.public, body))


def test_a_session_of_three_repairs_a_fourth() -> None:
    table = Table(GROUP, [ONE, THREE, FIVE], repair.work(GROUP.public, FOUR), "repair")
    terms = {m.identifier: repair.terms(table.session, m, GROUP.public, FOUR) for m in table.members}
    entropy = SeededEntropy(4)
    made = {i: repair.part1(t, GROUP.keys[i], entropy) for i, t in terms.items()}
    received = [echo.open_package(table.session, table.signed(package), RepairPackage) for _, package in made.values()]
    terms[FOUR] = repair.terms(table.session, None, GROUP.public, FOUR)
    confirmed = {
        i: repair.confirm(table.session, i, agreed, received, table.echoes(received, i)) for i, agreed in terms.items()
    }
    deltas = [d for i, (secret, _) in made.items() for d in repair.part2(secret, confirmed[i])]
    sigmas = [
        repair.part3(secret, confirmed[i], [d for d in deltas if d.recipient == i]) for i, (secret, _) in made.items()
    ]
    assert repair.part4(confirmed[FOUR], sigmas) == GROUP.keys[FOUR]


def test_what_a_helper_sends_is_random_and_says_nothing_of_its_share() -> None:
    """Two repairs of the same share by the same helpers have no part in common; only the sums agree."""
    runs = [mended(GROUP, FIVE, [ONE, TWO, THREE], seed=seed) for seed in (1, 2)]
    parts = [
        {d.delta for d in run.deltas} | {d for s in run.secrets.values() for d in s.deltas.values()} for run in runs
    ]
    assert [len(p) for p in parts] == [9, 9]
    assert not parts[0] & parts[1]
    assert not {s.sigma for s in runs[0].sigmas()} & {s.sigma for s in runs[1].sigmas()}
    assert runs[0].finish() == runs[1].finish()


def test_lagrange_at_a_place_is_of_the_polynomial_there() -> None:
    """λ of 1 and 3 at 2 are both a half; at 0 as ever."""
    half = pow(2, -1, L).to_bytes(32, "little")
    assert lagrange(ONE, [ONE, THREE], TWO) == lagrange(THREE, [ONE, THREE], TWO) == half
    assert lagrange(ONE, [ONE, THREE], bytes(32)) == lagrange(ONE, [ONE, THREE])
    assert lagrange(ONE, [ONE, THREE], ONE) == identifier(1)
    assert lagrange(THREE, [ONE, THREE], ONE) == bytes(32)


def test_a_culprit_is_named_and_the_others_repair_without_it() -> None:
    run = mended(GROUP, FIVE, [ONE, TWO, THREE, FOUR])
    sigmas = run.sigmas()
    wrong = repair.Sigma(1, b"", TWO, add_scalars(sigmas[1].sigma, identifier(1)))
    with pytest.raises(Misbehaved, match="keyholder 2") as named:
        repair.part4(run.confirmed, [sigmas[0], wrong, *sigmas[2:]])
    assert named.value.culprits == (TWO,)
    honest = [i for i in run.terms.helpers if i not in named.value.culprits]
    assert mended(GROUP, FIVE, honest).finish() == GROUP.keys[FIVE]


def test_a_helper_who_tells_two_stories_is_named_by_all() -> None:
    """It shows the one repaired other commitments than the helpers: without echoes an honest one would be blamed."""
    table = Table(GROUP, [ONE, THREE, FIVE], repair.work(GROUP.public, FOUR), "repair")
    terms = repair.terms(table.session, table.members[0], GROUP.public, FOUR)
    made = {i: repair.part1(terms, GROUP.keys[i], SeededEntropy(4)) for i in terms.helpers}
    told = [echo.open_package(table.session, table.signed(p), RepairPackage) for _, p in made.values()]
    _, second = repair.part1(terms, GROUP.keys[THREE], SeededEntropy(5))
    elsewhere = [told[0], echo.open_package(table.session, table.signed(second), RepairPackage), told[2]]
    for i in (FOUR, ONE):
        with pytest.raises(Misbehaved, match="keyholder 3 sent two packages") as named:
            repair.confirm(table.session, i, terms, elsewhere, table.echoes(told, i))
        assert named.value.culprits == (THREE,)


def test_the_largest_of_each_fits_into_the_bounds() -> None:
    most = deal(2, MAX_KEYHOLDERS)
    *helpers, lost = most.keys
    _, package = repair.part1(
        RepairTerms(most.public, lost, tuple(helpers), bytes(32)), most.keys[ONE], SeededEntropy()
    )
    assert decode(encode(package), RepairPackage, limit=MAX_CEREMONY_BYTES) == package
    assert decode(encode(replace(package, commitment=package.commitment[:2])), RepairPackage, limit=256).commitment
