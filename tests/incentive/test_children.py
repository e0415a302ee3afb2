"""Child keys: what is lent, what comes back, and that nothing is lost on the way."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive.children import MAX_LOANS, Families, family_dividends, lent, voting_stake
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import MAX_AMOUNT, MAX_N, MAX_TOTAL_STAKE, U16
from tests.incentive.epochs import Stream, ints

HALF = U16 // 2
EIGHTEEN_PERCENT = 11_796


def families(n: int, *loans: tuple[int, int, int], related: tuple[bool, ...] = ()) -> Families:
    """Loans as (parent, child, proportion)."""
    parents, children, proportions = (np.array(column, dtype=np.int64) for column in zip(*loans, strict=True))
    flags = np.array(related or (False,) * len(loans))
    return Families(n=n, parents=parents, children=children, proportions=proportions, related=flags)


def test_by_hand() -> None:
    """Key 0 lends all of 600 to 2 and key 1 a third of 300; key 2 has 300 itself, so 300 : 600 : 100 of its 1000."""
    f = families(4, (0, 2, U16), (1, 2, U16 // 3))
    stake = ints(600, 300, 300, 50)
    assert lent(stake, f).tolist() == [600, 100]
    assert voting_stake(stake, f).tolist() == [0, 200, 1000, 50]
    paid, burned = family_dividends(ints(0, 7, 1000, 9), stake, ints(0, 0, 0, 0), f)
    assert (paid.tolist(), int(burned)) == ([600, 107, 300, 9], 0)


def test_the_childs_take_is_of_strangers_only() -> None:
    f = families(4, (0, 2, U16), (1, 2, U16 // 3), related=(False, True))
    stake, takes = ints(600, 300, 300, 50), ints(0, 0, EIGHTEEN_PERCENT, 0)
    paid, burned = family_dividends(ints(0, 0, 1000, 0), stake, takes, f)
    assert 600 * EIGHTEEN_PERCENT // U16 == 107
    assert (paid.tolist(), int(burned)) == ([493, 100, 407, 0], 0)
    paid, burned = family_dividends(ints(0, 0, 1000, 0), stake, takes, f, burn=U16 // 10)
    assert (paid.tolist(), int(burned)) == ([434, 100, 407, 0], 59)


def test_what_rounding_leaves_goes_to_the_largest_remainder_and_among_equals_to_the_child() -> None:
    f = families(3, (0, 2, U16), (1, 2, U16))
    for dividends, expected in ((1, [0, 0, 1]), (2, [1, 0, 1]), (3, [1, 1, 1]), (4, [1, 1, 2])):
        paid, _ = family_dividends(ints(0, 0, dividends), ints(5, 5, 5), ints(0, 0, 0), f)
        assert paid.tolist() == expected


def test_a_child_without_any_stake_behind_it_keeps_its_dividends() -> None:
    f = families(2, (0, 1, HALF))
    assert family_dividends(ints(5, 7), ints(0, 0), ints(0, 0), f)[0].tolist() == [5, 7]


def test_the_largest_numbers_there_are() -> None:
    f = families(2, (0, 1, U16 - 1))
    stake = ints(MAX_TOTAL_STAKE, 0)
    k = MAX_TOTAL_STAKE * (U16 - 1) // U16
    assert lent(stake, f).tolist() == [k]
    assert voting_stake(stake, f).tolist() == [MAX_TOTAL_STAKE - k, k]
    paid, burned = family_dividends(ints(0, MAX_AMOUNT), stake, ints(0, HALF), f, burn=HALF)
    assert paid.tolist() == [MAX_AMOUNT - 2 * (MAX_AMOUNT * HALF // U16), MAX_AMOUNT * HALF // U16]
    assert int(burned) == MAX_AMOUNT * HALF // U16


def random_families(rng: Stream, n: int) -> Families:
    """Keys below n / 2 are parents; what they lend together leaves room for the child that comes next."""
    loans: list[tuple[int, int, int]] = []
    for parent in range(n // 2):
        left = U16
        for child in range(n // 2, n):
            if left and (rng.chance(40) or (parent, child) == (0, n // 2)):
                proportion = 1 + int(rng.integers(0, left))
                loans.append((parent, child, proportion))
                left -= proportion
    return families(n, *loans, related=tuple(bool(r) for r in rng.chance(30, len(loans))))


def by_fractions(dividends: list[int], stake: list[int], takes: list[int], f: Families, burn: int) -> list[list[int]]:
    """[paid, burned] once more, in Python's integers and loan by loan."""
    paid, burned = list(dividends), 0
    loans = [*zip(f.parents.tolist(), f.children.tolist(), f.proportions.tolist(), f.related.tolist(), strict=True)]
    for child in sorted({child for _, child, _, _ in loans}):
        mine = [(p, stake[p] * share // U16, kin) for p, c, share, kin in loans if c == child]
        claims = [stake[child], *(k for _, k, _ in mine)]
        whole = sum(claims) or 1
        parts = [dividends[child] * claim // whole for claim in claims]
        behind = sorted(range(len(claims)), key=lambda i: (-(dividends[child] * claims[i] % whole), i))
        for i in behind[: (dividends[child] - sum(parts)) if sum(claims) else 0]:
            parts[i] += 1
        for (parent, _, kin), part in zip(mine, parts[1:], strict=True):
            take, lost = (0, 0) if kin else (part * takes[child] // U16, part * burn // U16)
            paid[child] -= part - take
            paid[parent] += part - take - lost
            burned += lost
    return [paid, [burned]]


@given(st.integers(0, 10**6))
def test_nothing_is_lost_and_a_batch_is_its_runs(seed: int) -> None:
    rng = Stream(seed)
    n = 2 + int(rng.integers(0, 7))
    f, takes, burn = random_families(rng, n), rng.integers(0, HALF, n), rng.choice([0, 0, 5_000, HALF])
    stake = rng.integers(0, rng.choice([3, 10**6, MAX_TOTAL_STAKE // 8]), (3, n))
    dividends = rng.integers(0, rng.choice([5, 10**9, MAX_AMOUNT]), (3, n))
    votes, (paid, burned) = voting_stake(stake, f), family_dividends(dividends, stake, takes, f, burn=burn)
    assert (votes >= 0).all()
    assert votes.sum(axis=-1).tolist() == stake.sum(axis=-1).tolist()
    for i in range(3):
        assert voting_stake(stake[i], f).tolist() == votes[i].tolist()
        assert sum(paid[i].tolist()) + int(burned[i]) == sum(dividends[i].tolist())
        alone, lost = family_dividends(dividends[i], stake[i], takes, f, burn=burn)
        expected = by_fractions(dividends[i].tolist(), stake[i].tolist(), takes.tolist(), f, burn)
        assert [alone.tolist(), [int(lost)]] == [paid[i].tolist(), [int(burned[i])]] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": MAX_N + 1}, "n is 4097"),
        ({"parents": np.zeros(0, dtype=np.int64)}, "parents is empty"),
        ({"parents": ints(0, 4)}, "parents holds"),
        ({"children": ints(2, 4)}, "children holds"),
        ({"children": ints(2)}, "children has shape"),
        ({"proportions": ints(0, 1)}, "proportions holds"),
        ({"proportions": ints(U16, 1), "parents": ints(0, 0)}, "lends more than its stake"),
        ({"proportions": np.ones(2)}, "proportions is float64"),
        ({"related": ints(0, 1)}, "related is int64"),
        ({"related": np.zeros(3, dtype=np.bool_)}, "related has shape"),
        ({"parents": ints(0, 2)}, "parent and child at once"),
        ({"children": ints(0, 3)}, "parent and child at once"),
        ({"parents": ints(0, 0), "children": ints(2, 2)}, "the same child twice"),
    ],
)
def test_families_that_are_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "n": 4, "parents": ints(0, 1), "children": ints(2, 3), "proportions": ints(1, 2),
        "related": np.zeros(2, dtype=np.bool_),
    }  # fmt: skip
    Families(**good)
    with pytest.raises(BadInput, match=message):
        Families(**(good | change))


def test_more_loans_than_there_may_be_are_refused() -> None:
    pairs = np.arange(MAX_LOANS + 1, dtype=np.int64)
    with pytest.raises(BadInput, match="more than 20480"):
        Families(
            n=MAX_N,
            parents=pairs % 2048,
            children=2048 + pairs // 2048,
            proportions=np.ones(MAX_LOANS + 1, dtype=np.int64),
            related=np.zeros(MAX_LOANS + 1, dtype=np.bool_),
        )


@pytest.mark.parametrize(
    ("stake", "dividends", "takes", "burn", "message"),
    [
        (ints(1, 2, 3), ints(1, 1), ints(0, 0), 0, "stake has shape"),
        (ints(-1, 2), ints(1, 1), ints(0, 0), 0, "stake holds"),
        (ints(MAX_TOTAL_STAKE, 10**10), ints(1, 1), ints(0, 0), 0, "stake sums to more"),
        (ints(1, 2), ints(1, -1), ints(0, 0), 0, "dividends holds"),
        (ints(1, 2), ints(1), ints(0, 0), 0, "dividends have shape"),
        (ints(1, 2), ints(1, 1), ints(0), 0, "takes"),
        (ints(1, 2), ints(1, 1), ints(0, U16), 1, "takes holds"),
        (ints(1, 2), ints(1, 1), ints(0, 0), U16 + 1, "burn is"),
        (ints(1, 2), np.ones(2), ints(0, 0), 0, "dividends is float64"),
    ],
)
def test_numbers_that_are_refused(stake: Any, dividends: Any, takes: Any, burn: int, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        family_dividends(dividends, stake, takes, families(2, (0, 1, 5)), burn=burn)
