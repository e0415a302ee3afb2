"""Formats, rounding and the integer sigmoid, against exact rationals and hand-worked numbers."""

from fractions import Fraction
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive import fixed_point as fp
from davy.incentive.fixed_point import MAX_AMOUNT, MAX_N, MAX_TOTAL_STAKE, ONE, Int64
from tests.incentive import unbounded
from tests.incentive.epochs import Stream, ints

claims = st.lists(st.integers(0, MAX_TOTAL_STAKE // 40), min_size=1, max_size=40)


@given(st.lists(st.integers(0, 2**54), min_size=1, max_size=5), st.integers(0, 2**61), st.integers(1, 2**54))
def test_multiply_divide_is_exact(parts: list[int], factor: int, divisor: int) -> None:
    divisor = max(divisor, *parts)
    quotient, remainder = fp.multiply_divide(ints(*parts), factor, ints(divisor))
    assert [divmod(part * factor, divisor) for part in parts] == list(
        zip(quotient.tolist(), remainder.tolist(), strict=True)
    )


def test_multiply_divide_by_nothing_is_nothing() -> None:
    quotient, remainder = fp.multiply_divide(ints(0, 0), 5, ints(0))
    assert quotient.tolist() == remainder.tolist() == [0, 0]


@given(st.integers(0, MAX_AMOUNT), claims)
def test_apportion_gives_each_its_floor_or_one_more_and_everything_away(total: int, asked: list[int]) -> None:
    parts = fp.apportion(total, ints(*asked)).tolist()
    assert sum(parts) == (total if any(asked) else 0)
    for part, claim in zip(parts, asked, strict=True):
        fair = Fraction(total * claim, sum(asked) or 1)
        assert fair - 1 < part < fair + 1


@pytest.mark.parametrize(
    ("total", "asked", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (11, [1, 1, 1], [4, 4, 3]),
        (100, [1, 2, 3], [17, 33, 50]),
        (7, [0, 5, 0], [0, 7, 0]),
        (1, [3, 4, 3], [0, 1, 0]),
        (5, [0, 0], [0, 0]),
        (0, [1, 2], [0, 0]),
    ],
)
def test_apportion_by_largest_remainder_ties_by_index(total: int, asked: list[int], parts: list[int]) -> None:
    assert fp.apportion(total, ints(*asked)).tolist() == parts


@given(
    st.integers(0, MAX_AMOUNT),
    st.lists(st.sampled_from([0, 1, 2, 3, 5, 2**20, 2**49 - 1]), min_size=1, max_size=9),
    st.sampled_from([1, 3, 7]),
)
def test_apportion_ranks_by_one_sort_as_it_does_by_two(total: int, asked: list[int], scale: int) -> None:
    """Below 2^50 remainders are packed with their index; here sums lie on both sides, and many remainders are alike."""
    asked = [scale * claim for claim in asked]
    assert fp.apportion(total, ints(*asked)).tolist() == unbounded.apportion(total, asked)
    together = fp.apportion(ints(total, total // 3), np.stack([ints(*asked), ints(*asked[::-1])]))
    assert together[1].tolist() == unbounded.apportion(total // 3, asked[::-1])


def test_apportion_of_a_batch_is_that_of_each() -> None:
    rng = Stream(0)
    asked = rng.integers(0, 10**12, (6, 9))
    asked[3] = 0
    totals = rng.integers(0, MAX_AMOUNT, 6)
    together = fp.apportion(totals, asked)
    for i in range(6):
        assert (together[i] == fp.apportion(int(totals[i]), asked[i])).all()


@given(claims)
def test_normalise_is_within_its_stated_error(asked: list[int]) -> None:
    shares = fp.normalise(ints(*asked)).tolist()
    assert sum(shares) == (ONE if any(asked) else 0)
    for got, claim in zip(shares, asked, strict=True):
        share = Fraction(claim, sum(asked) or 1)
        error = Fraction(1, 2**30) + (1 + len(asked) * share) * Fraction(1, 2**32)
        assert abs(Fraction(got, ONE) - share) <= error


@given(st.lists(st.integers(0, 2**32 // 30), min_size=1, max_size=30))
def test_row_normalise_is_the_floor_or_one_above_and_never_more_than_one(row: list[int]) -> None:
    shares = fp.row_normalise(ints(*row)[None])[0].tolist()
    assert sum(shares) <= ONE
    for got, w in zip(shares, row, strict=True):
        assert got - (w * ONE // (sum(row) or 1)) in (0, 1)
        if w == sum(row) > 0:
            assert got == ONE


@given(st.lists(st.integers(0, ONE), min_size=1, max_size=30))
def test_column_normalise_is_the_floor_or_one_above(column: list[int]) -> None:
    shares = fp.column_normalise(ints(*column)[:, None])[:, 0].tolist()
    for got, b in zip(shares, column, strict=True):
        assert got - (b * ONE // (sum(column) or 1)) in (0, 1)


@pytest.mark.parametrize("largest", [1, 2**30, 2**60 // MAX_N])
def test_column_normalise_of_products_is_within_its_stated_error(largest: int) -> None:
    rng = Stream(largest)
    products: Int64 = rng.integers(0, largest + 1, (MAX_N, 2))
    products[:, 1] = 0
    shares = fp.column_normalise_products(products)
    total = int(products[:, 0].sum())
    assert not shares[:, 1].any()
    for got, product in zip(shares[:, 0].tolist(), products[:, 0].tolist(), strict=True):
        share = Fraction(product, total or 1)
        error = Fraction(1, 2**30) + (1 + MAX_N * share) * Fraction(1, 2**32)
        assert abs(Fraction(got, ONE) - share) <= error


@pytest.mark.parametrize("bits", [0, 32, 33, 34, 55, 60])
def test_narrow_keeps_what_fits_and_no_more(bits: int) -> None:
    total = ints(2**bits)
    narrowed = int(fp.narrow(total, total)[0])
    assert narrowed == 2 ** min(bits, 32)
    assert int(fp.narrow(total - 1, total - 1)[0]).bit_length() <= 33


def test_proportions_meet_their_ends() -> None:
    assert (fp.from_u16(0), fp.from_u16(65_535)) == (0, ONE)
    assert (fp.from_ppm(0), fp.from_ppm(1_000_000)) == (0, ONE)
    assert fp.from_u16(32_767) == round(32_767 / 65_535 * ONE)
    assert fp.from_ppm(900_000) == round(0.9 * ONE)


@pytest.mark.parametrize("steepness", [1, 10, 37, 100])
def test_sigmoid_is_within_its_stated_error(steepness: int) -> None:
    cell = 2**18
    at = np.concatenate(
        (
            np.linspace(0, ONE, 5001).astype(np.int64),
            np.arange(0, ONE + 1, 64 * cell),
            np.arange(64 * cell, ONE + 1, 64 * cell) - 1,
        )
    )
    got = fp.sigmoid(at, steepness)
    true = np.array([1 / (1 + exp(-steepness * (x / ONE - 0.5))) for x in at.tolist()])
    assert np.abs(got / ONE - true).max() <= 3 * 2.0**-30 + steepness**3 * 4e-14
    if steepness <= 10:
        assert (np.diff(got[:5001]) >= 0).all()


def test_the_bounds_that_the_header_states() -> None:
    """Largest products and sums at 4096 UIDs and all stake there is, in Python's unbounded integers."""
    assert MAX_TOTAL_STAKE < 2**55
    assert ONE * ONE <= 2**60
    assert MAX_N * ONE == 2**42
    assert 2**62 + 2**32 < 2**63  # share_of
    assert (2**33 - 1) * ONE < 2**63  # apportion of what narrow left
    assert MAX_AMOUNT < 2**62  # multiply_divide
    assert ONE * 2**32 * 2 <= 2**63  # moving_average: |W − B| · α
    assert ((2**30 - 1) << 12 | (MAX_N - 1)) < 2**63  # weighted_median
