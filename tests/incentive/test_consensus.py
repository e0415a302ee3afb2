"""The median, clipping, penalty and rank, on numbers worked by hand and against the definition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive import consensus
from davy.incentive.fixed_point import MAX_N, MAX_TOTAL_STAKE, ONE, U16
from tests.incentive.epochs import ints


@given(st.integers(0, MAX_TOTAL_STAKE), st.integers(1, U16))
def test_minority_is_the_floor_of_the_rest(total: int, kappa: int) -> None:
    assert int(consensus.minority(np.asarray(total), kappa)) == int((1 - Fraction(kappa, U16)) * total)


@pytest.mark.parametrize(
    ("stake", "column", "kappa", "median"),
    [
        ([1, 1], [3, 9], 32_767, 9),  # half does not strictly exceed 1 − κ, a little above half
        ([1, 1], [3, 9], 32_768, 3),
        ([49, 2, 49], [3, 5, 9], 32_767, 5),
        ([1, 1, 1], [7, 7, 7], 32_767, 7),
        ([0, 0, 1], [7, 8, 2], 32_767, 2),
        ([0, 0, 0], [7, 8, 2], 32_767, 0),
        ([1, 1, 1], [3, 5, 9], U16, 3),
        ([1, 1, 1], [3, 5, 9], 1, 9),
        ([1, 3, 1], [9, 0, 9], 32_767, 0),
    ],
)
def test_weighted_median(stake: list[int], column: list[int], kappa: int, median: int) -> None:
    threshold = consensus.minority(np.asarray(sum(stake)), kappa)
    assert consensus.weighted_median(ints(*column)[:, None], ints(*stake), threshold).tolist() == [median]


@given(
    st.lists(
        st.tuples(st.integers(0, 5) | st.integers(0, ONE), st.integers(0, 9) | st.integers(0, 10**14)), min_size=1
    ),
    st.integers(1, U16),
)
def test_weighted_median_is_what_it_is_defined_as(rows: list[tuple[int, int]], kappa: int) -> None:
    total = sum(stake for _, stake in rows)
    reaches = [w for w, _ in rows if sum(s for v, s in rows if v <= w) > (1 - Fraction(kappa, U16)) * total]
    column, stake = ints(*(w for w, _ in rows))[:, None], ints(*(s for _, s in rows))
    threshold = consensus.minority(np.asarray(total), kappa)
    assert int(consensus.weighted_median(column, stake, threshold)[0]) == min(reaches, default=0)


def test_median_of_4096_rows_with_all_stake_there_is() -> None:
    stake = np.full(MAX_N, MAX_TOTAL_STAKE // MAX_N)
    column = np.arange(MAX_N)[::-1, None] + ONE - MAX_N
    threshold = consensus.minority(np.asarray(stake.sum()), 32_767)
    assert consensus.weighted_median(column, stake, threshold).tolist() == [ONE - MAX_N // 2]


def test_clip_and_penalty() -> None:
    weights = np.array([[6, 1], [2, 8]])
    clipped = consensus.clip(weights, ints(4, 5))
    assert clipped.tolist() == [[4, 1], [2, 5]]
    assert consensus.penalise(weights, clipped, 0).tolist() == weights.tolist()
    assert consensus.penalise(weights, clipped, U16).tolist() == clipped.tolist()
    assert consensus.penalise(np.array([[65_535]]), np.array([[0]]), 1).tolist() == [[65_534]]
    assert consensus.penalise(np.array([[10]]), np.array([[0]]), 32_768).tolist() == [[4]]  # rounded down


def test_rank_is_stake_times_clipped() -> None:
    half = ONE // 2
    assert consensus.rank(ints(half, half), np.array([[ONE, 0], [0, half]])).tolist() == [half * ONE, half * half]
