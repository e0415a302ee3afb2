"""Who goes when a subnet is full: the line, and who never stands in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive.pruning import immune, kept_by_stake, pruning_score
from tests.incentive.epochs import Stream, ints

NOBODY = np.zeros(4, dtype=np.bool_)


def flags(*uids: int, n: int = 4) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isin(np.arange(n), uids)


def test_the_line_is_by_emission_then_registration_then_uid() -> None:
    assert pruning_score(ints(3, 1, 2, 0), ints(1, 1, 1, 1), NOBODY, NOBODY).tolist() == [3, 1, 2, 0]
    assert pruning_score(ints(5, 5, 5, 4), ints(9, 7, 8, 9), NOBODY, NOBODY).tolist() == [3, 1, 2, 0]
    assert pruning_score(ints(5, 5, 5, 5), ints(9, 9, 9, 9), NOBODY, NOBODY).tolist() == [0, 1, 2, 3]


def test_who_is_safe_or_not_yet_judged_never_goes() -> None:
    scored = pruning_score(ints(3, 1, 2, 0), ints(1, 1, 1, 1), flags(3), flags(1))
    assert scored.tolist() == [1, 4, 0, 4]


def test_subtensor_drives_out_a_newcomer_where_nobody_else_is_left() -> None:
    scored = pruning_score(ints(3, 1, 2, 0), ints(1, 1, 1, 1), flags(3), flags(1, 2), immune_too=True)
    assert scored.tolist() == [0, 1, 2, 4]


def test_immunity_ends_with_its_last_block() -> None:
    assert immune(ints(0, 99, 100, 101), 100).tolist() == [True, True, False, False]
    assert not immune(ints(0), 0).any()


@pytest.mark.parametrize(
    ("stake", "most", "kept"),
    [
        ([1, 2, 3, 4], 64, [3]),
        ([1, 1, 1, 1, 1, 1, 1, 1], 64, [0, 1]),
        ([0, 0, 0, 0, 0, 0, 0, 9], 64, [7]),
        ([9, 8, 7, 6, 5, 4, 3, 2], 1, [0]),
        ([5], 64, [0]),
        ([0, 0], 64, []),
    ],
)
def test_a_quarter_is_kept_by_stake(stake: list[int], most: int, kept: list[int]) -> None:
    assert np.flatnonzero(kept_by_stake(ints(*stake), most)).tolist() == kept


@given(st.integers(0, 10**6))
def test_it_is_subtensors_single_pass(seed: int) -> None:
    """`get_neuron_to_prune` picks the best non-immune, else the best immune, of all that are not the owner's."""
    rng = Stream(seed)
    n = 1 + int(rng.integers(0, 9))
    emission, registered_at = rng.integers(0, 3, (2, n)), rng.integers(0, 3, (2, n))
    safe, new = rng.chance(30, (2, n)), rng.chance(50, (2, n))
    scored = pruning_score(emission, registered_at, safe, new, immune_too=True)
    strict = pruning_score(emission, registered_at, safe, new)
    for run in range(2):
        line = sorted(
            (bool(new[run, u]), int(emission[run, u]), int(registered_at[run, u]), u)
            for u in range(n)
            if not safe[run, u]
        )
        assert [u for *_, u in line] == [int(u) for u in np.argsort(scored[run]) if scored[run, u] < n]
        assert (scored[run] == n).tolist() == safe[run].tolist()
        judged = [u for unjudged, *_, u in line if not unjudged]
        assert judged == [int(u) for u in np.argsort(strict[run], kind="stable") if strict[run, u] < n]
