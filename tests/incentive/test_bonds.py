"""Bonds: storage, reset, liquid alpha and the moving average, on numbers worked by hand."""

import numpy as np
import pytest

from davy.incentive import bonds
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, U16, BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive.epochs import ints, replace, share

FORMS = list(BondFormat)


def test_what_was_read_is_stored_as_it_was() -> None:
    every = np.arange(U16 + 1)
    assert (bonds.store(bonds.read(every, BondFormat.U16), BondFormat.U16) == every).all()
    assert int(bonds.read(ints(U16), BondFormat.U16)[0]) == ONE


def test_storing_rounds_down() -> None:
    assert bonds.store(ints(ONE, ONE - 4, ONE - 5, share(0.1)), BondFormat.U16).tolist() == [
        65_535,
        65_535,
        65_534,
        6_553,
    ]
    assert bonds.store(ints(ONE, 1), BondFormat.U32).tolist() == [ONE, 1]


def test_upscale_is_relative_to_the_largest_of_a_column() -> None:
    held = np.array([[ONE // 4, 0], [ONE // 8, 0]])
    assert bonds.upscale(held, BondFormat.U16).tolist() == [[65_535, 0], [32_767, 0]]
    assert bonds.upscale(held, BondFormat.U32).tolist() == [[ONE, 0], [ONE // 2, 0]]


def test_upscale_grants_a_thirty_second_of_a_unit() -> None:
    one = 65_535 << 14
    column = np.array([[one], [(3 << 14) - (1 << 9)], [(3 << 14) - (1 << 9) - 1]])
    assert bonds.upscale(column, BondFormat.U16)[:, 0].tolist() == [65_535, 3, 2]


def test_a_validator_without_permit_loses_its_bonds() -> None:
    assert bonds.clear(np.array([[1, 2], [3, 4]]), np.array([False, True])).tolist() == [[0, 0], [3, 4]]


def test_bonds_of_whoever_changed_hands_are_forgotten() -> None:
    x = EpochInputs.unmasked(np.ones((3, 3), dtype=np.int64), ints(1, 1, 1))
    held = BondState(np.arange(1, 10).reshape(3, 3))
    apart = replace(x, previous_epoch=np.asarray(7), registered_at=ints(6, 7, 0))
    assert bonds.standing(held, apart, BondFormat.U32).tolist() == [[1, 0, 3], [4, 0, 6], [7, 0, 9]]
    same = replace(apart, self_column=ints(0, 1, 2))
    assert bonds.standing(held, same, BondFormat.U32).tolist() == [[1, 0, 3], [0, 0, 0], [7, 0, 9]]
    by_row = replace(apart, bonds_at=ints(8, 7, 6))
    assert bonds.standing(held, by_row, BondFormat.U32).tolist() == [[1, 2, 3], [4, 0, 6], [0, 0, 9]]


def test_bonds_of_another_shape_are_refused() -> None:
    x = EpochInputs.unmasked(np.ones((3, 2), dtype=np.int64), ints(1, 1, 1))
    with pytest.raises(BadInput, match="resized"):
        bonds.standing(BondState(np.zeros((2, 2), dtype=np.int64)), x, BondFormat.U32)
    room = BondState(np.ones((2, 2), dtype=np.int64)).resized(3, 2)
    assert bonds.standing(room, x, BondFormat.U32).tolist() == [[1, 1], [1, 1], [0, 0]]
    with pytest.raises(BadInput, match="do not fit"):
        room.resized(2, 2)


@pytest.mark.parametrize("name", ["yuma2", "yuma3"])
@pytest.mark.parametrize("form", FORMS)
def test_bonds_that_are_none_of_their_format_are_refused(name: str, form: BondFormat) -> None:
    """Not computed with: a state of one format under parameters of the other pays somebody else, without a word."""
    x = EpochInputs.unmasked(np.ones((3, 2), dtype=np.int64), ints(1, 1, 1))
    p = Params(bond_format=form)
    whole = np.full((3, 2), form.one)
    mechanism(name).epoch(BondState(whole), x, p)
    for wrong in (form.one + 1, -1):
        spoiled = whole.copy()
        spoiled[2, 1] = wrong
        with pytest.raises(BadInput, match=f"bonds in {form.name} must lie within 0 to {form.one}"):
            mechanism(name).epoch(BondState(spoiled), x, p)
    with pytest.raises(BadInput, match="bonds are float64; they must be int64"):
        mechanism(name).epoch(BondState(np.ones((3, 2))), x, p)  # pyright: ignore[reportArgumentType]


def test_moving_average() -> None:
    tenth = share(0.1)
    held, target = ints(0, ONE, ONE, share(0.5)), ints(ONE, 0, ONE, share(0.5))
    assert bonds.moving_average(held, target, tenth).tolist() == [tenth, ONE - tenth, ONE, share(0.5)]
    assert bonds.moving_average(ints(ONE), ints(0), 1).tolist() == [ONE - 1]
    assert bonds.moving_average(ints(3), ints(10), ints(2 * ONE), one=10).tolist() == [10]


def test_liquid_alpha_buys_by_distance_to_consensus_and_sells_by_distance_to_itself() -> None:
    low, high = share(0.7), share(0.9)
    weights = np.array([[share(0.8), share(0.1), share(0.2), share(0.8)]])
    held = np.array([[share(0.3), share(0.6), share(0.2), share(0.8)]])
    consensus = ints(share(0.3), share(0.9), share(0.9), share(0.3))
    alpha = bonds.liquid_alpha(weights, held, consensus, low=low, high=high, steepness=10)
    middle = (low + high) // 2
    assert abs(int(alpha[0, 0]) - middle) <= 2  # W − C = .5
    assert abs(int(alpha[0, 1]) - middle) <= 2  # B − W = .5
    assert abs(int(alpha[0, 3]) - middle) <= 2  # W = B counts as buying
    assert abs(int(alpha[0, 2]) - share(0.7 + 0.2 / (1 + np.exp(5)))) <= 4  # W ≥ B and below consensus: no distance


def test_u16_stalls_short_of_its_goal_where_u32_arrives() -> None:
    """At α = .025 a u16 bond stops 39 units below its goal of 1, and one of .0005 never leaves 0."""
    alpha = share(0.025)
    ends: dict[BondFormat, list[int]] = {}
    for form in FORMS:
        held = ints(0, 0)
        for _ in range(2000):
            moved = bonds.moving_average(bonds.read(held, form), ints(ONE, share(0.0005)), alpha)
            held = bonds.store(moved, form)
        ends[form] = held.tolist()
    assert ends[BondFormat.U16] == [U16 - 39, 0]
    assert all(goal - 40 <= end <= goal for end, goal in zip(ends[BondFormat.U32], [ONE, share(0.0005)], strict=True))


@pytest.mark.parametrize("steepness", [42, 43, 50, 100])
def test_liquid_alpha_is_never_below_0(steepness: int) -> None:
    """Where σ is less than a unit, its table may say −1; then no bond may become negative."""
    near = np.arange(0, 1 << 19, 97, dtype=np.int64)[None, :]
    alpha = bonds.liquid_alpha(
        near, np.zeros_like(near), np.zeros(near.shape[-1], dtype=np.int64), low=0, high=ONE, steepness=steepness
    )
    assert alpha.min() == 0
    assert bonds.moving_average(np.zeros_like(near), np.full_like(near, ONE), alpha).min() == 0
