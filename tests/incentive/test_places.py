"""Reports made of weights: a place is a part of the row, whatever the scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive.door import BadInput
from davy.incentive.fixed_point import MAX_N, Int64
from davy.incentive.places import PLACES, places
from tests.incentive.epochs import ints

WEIGHTS = st.lists(st.integers(0, 1 << 32), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([10, 40, 20, 30], [12 - 12, 75, 25, 50]),
        ([1, 2], [0, 50]),
        ([7], [0]),
        ([5, 5, 5, 5], [37] * 4),  # (0 + 3) / 8: the middle of the places 0, 25, 50 and 75
        ([0, 9, 9, 1], [0, 62, 62, 25]),
        ([0, 0, 0], [-1] * 3),
    ],
)
def test_places_by_hand(weights: list[int], expected: list[int]) -> None:
    assert places(ints(*weights)).tolist() == expected
    assert places(ints(*weights)).dtype == np.int8


@given(WEIGHTS)
def test_a_place_counts_who_stands_below(weights: list[int]) -> None:
    count = len(weights)
    expected = [
        (2 * sum(v < w for v in weights) + sum(v == w for v in weights) - 1) * PLACES // (2 * count) for w in weights
    ]
    assert places(ints(*weights)).tolist() == (expected if any(weights) else [-1] * count)
    assert max(expected) < PLACES


@given(WEIGHTS, st.integers(1, 1 << 20))
def test_only_the_order_counts(weights: list[int], factor: int) -> None:
    assert places(ints(*weights)).tolist() == places(ints(*weights) * factor).tolist()


@given(st.lists(st.integers(0, 5), min_size=12, max_size=12), st.permutations(range(6)))
def test_rows_do_not_touch_and_columns_may_be_renumbered(weights: list[int], order: list[int]) -> None:
    rows: Int64 = ints(*weights).reshape(2, 6)
    together = places(rows)
    assert (together == np.stack([places(row) for row in rows])).all()
    assert (places(rows[:, order]) == together[:, order]).all()


def test_the_largest_row_keeps_its_format() -> None:
    found = places(np.arange(MAX_N, dtype=np.int64))
    assert (int(found.min()), int(found.max())) == (0, PLACES - 1)
    with pytest.raises(BadInput, match="4097 columns"):
        places(np.ones(MAX_N + 1, dtype=np.int64))
