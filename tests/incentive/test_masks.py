"""Masks and permits, on numbers worked by hand."""

import numpy as np
import pytest

from davy.incentive import masks
from davy.incentive.masks import NO_COMMIT
from davy.incentive.permits import permits, top_k
from tests.incentive.epochs import ints


def test_inactive_is_strictly_beyond_the_cutoff() -> None:
    assert masks.inactive(ints(5002, 1, 2), 5000, np.asarray(5002)).tolist() == [False, True, False]


def test_stake_below_the_threshold_counts_nothing() -> None:
    assert masks.above_threshold(ints(9, 10, 11), 10).tolist() == [0, 10, 11]


def test_active_stake_is_of_rows_active_and_permitted() -> None:
    stake = masks.active_stake(ints(1, 2, 4, 8), np.array([0, 1, 0, 1]) > 0, np.array([1, 1, 0, 0]) > 0)
    assert stake.tolist() == [1, 0, 0, 0]


def test_weights_mean_columns_registered_before_them_and_not_after_a_hidden_commit() -> None:
    permitted = np.array([True, True, True, False])
    newest = masks.newest_meant(ints(10, 10, 10, 10), ints(NO_COMMIT, 5, 9, NO_COMMIT), permitted)
    assert newest.tolist() == [9, 5, 9, -1]
    assert masks.newer(ints(0, 5, 6, 9, 10), newest).astype(int).tolist() == [
        [0, 0, 0, 0, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1],
    ]


@pytest.mark.parametrize(("owner", "kept"), [(-1, []), (0, [0]), (2, [2])])
def test_self_weight_is_the_owners_alone(owner: int, kept: list[int]) -> None:
    mask = masks.self_weight(ints(0, 3, 1, -1), np.asarray(owner), 4)
    own = {(0, 0), (1, 3), (2, 1)}
    assert {(i, j) for i in range(4) for j in range(4) if mask[i, j]} == {(i, j) for i, j in own if i not in kept}


def test_own_column_of_a_batch() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]])
    assert masks.own_column(values, ints(2, -1, 0), -7).tolist() == [[3, -7, 1], [6, -7, 4]]
    assert masks.own_column(values[0], np.array([[2, 0], [1, -1]]), -7).tolist() == [[3, 1], [2, -7]]


@pytest.mark.parametrize(
    ("k", "to_older", "to_newer"),
    [
        (0, [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        (1, [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]),
        (2, [0, 1, 0, 0, 1], [0, 0, 0, 1, 1]),
        (3, [0, 1, 1, 0, 1], [0, 0, 1, 1, 1]),
        (5, [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        (9, [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
    ],
)
def test_top_k(k: int, to_older: list[int], to_newer: list[int]) -> None:
    values = ints(0, 5, 5, 5, 6)
    assert top_k(values, k).astype(int).tolist() == to_older
    assert top_k(values, k, tie_to_newer=True).astype(int).tolist() == to_newer


def test_no_permit_without_stake_unless_the_older_rule_is_asked_for() -> None:
    assert permits(ints(0, 3), 2, permit_zero_stake=False).tolist() == [False, True]
    assert permits(ints(0, 3), 2, permit_zero_stake=True).tolist() == [True, True]
