"""What is refused at the door, and how."""

from typing import Any

import numpy as np
import pytest

from davy.incentive.door import BadInput
from davy.incentive.fixed_point import MAX_N, MAX_TOTAL_STAKE, U16, BondFormat
from davy.incentive.mechanism import MAX_ROW_WEIGHT, EpochInputs, Params
from davy.incentive.registry import MECHANISMS, mechanism
from tests.incentive.epochs import ints, replace


@pytest.fixture
def good() -> EpochInputs:
    return EpochInputs.unmasked(np.ones((2, 3), dtype=np.int64), ints(5, 7))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights", np.ones((2, 3))),
        ("weights", np.ones((2, 3), dtype=np.uint64)),
        ("weights", np.ones((2, 3), dtype=np.int32)),
        ("weights", np.full((2, 3), -1)),
        ("weights", np.full((2, 3), MAX_ROW_WEIGHT // 3 + 1)),
        ("weights", np.ones(3, dtype=np.int64)),
        ("weights", np.ones((0, 3), dtype=np.int64)),
        ("weights", np.ones((1, MAX_N + 1), dtype=np.int64)),
        ("stake", ints(1)),
        ("stake", ints(-1, 1)),
        ("stake", ints(MAX_TOTAL_STAKE, 1)),
        ("stake", np.array([1, 1], dtype=np.uint64)),
        ("stake", np.ones((4, 2), dtype=np.int64)),
        ("permits", ints(1, 1)),
        ("permits", np.array([True])),
        ("last_update", ints(1, 2**53 + 1)),
        ("registered_at", ints(1, 2)),
        ("registered_at", ints(-1, 0, 0)),
        ("earliest_commit", ints(-1, 0)),
        ("self_column", ints(3, 0)),
        ("self_column", ints(-2, 0)),
        ("halted", np.array([True, False])),
        ("now", np.asarray(-1)),
        ("now", ints(1)),
        ("previous_epoch", np.asarray(1.0)),
        ("owner_row", np.asarray(2)),
        ("bonds_at", ints(1, 2, 3)),
    ],
)
def test_inputs_that_are_refused_by_name(good: EpochInputs, field: str, value: Any) -> None:
    with pytest.raises(BadInput, match=field.split("_")[0]):
        replace(good, **{field: value})


def test_stakes_whose_sum_would_overflow_are_refused() -> None:
    with pytest.raises(BadInput, match="sums to more"):
        EpochInputs.unmasked(np.ones((MAX_N, 1), dtype=np.int64), np.full(MAX_N, MAX_TOTAL_STAKE))


def test_the_largest_that_is_taken() -> None:
    x = EpochInputs.unmasked(np.array([[MAX_ROW_WEIGHT, 0]]), ints(MAX_TOTAL_STAKE))
    chosen = mechanism("yuma3")
    _, result = chosen.epoch(chosen.initial((1, 2)), x, Params())
    assert result.incentive.tolist() == [2**30, 0]


def test_lists_of_integers_are_taken(good: EpochInputs) -> None:
    x = replace(good, stake=[1, 2], now=7, halted=[True, False, False])
    assert x.stake.dtype == np.int64
    assert x.now.shape == ()


def test_weights_of_16_bits_are_taken_as_they_are(good: EpochInputs) -> None:
    x = EpochInputs.unmasked(np.full((2, 3), U16, dtype=np.uint16), ints(5, 7))
    assert x.weights.dtype == np.uint16
    with pytest.raises(BadInput, match="weights"):
        replace(good, weights=np.ones((0, 3), dtype=np.uint16))


def test_a_field_may_differ_by_run_or_serve_all(good: EpochInputs) -> None:
    runs = replace(good, weights=np.ones((4, 2, 3), dtype=np.int64))
    assert replace(runs, stake=np.ones((4, 2), dtype=np.int64), now=ints(2, 2, 3, 3)).stake.shape == (4, 2)
    with pytest.raises(BadInput, match=r"stake has shape \(3, 2\); it must be \(4, 2\), or \(2,\)"):
        replace(runs, stake=np.ones((3, 2), dtype=np.int64))


@pytest.mark.parametrize(
    "change",
    [
        {"kappa": 0},
        {"kappa": 65_536},
        {"bond_penalty": -1},
        {"bond_penalty": 65_536},
        {"moving_average": -1},
        {"moving_average": 1_000_001},
        {"alpha_low": -1},
        {"alpha_high": 65_536},
        {"alpha_low": 60_000, "alpha_high": 50_000},
        {"alpha_steepness": 0},
        {"alpha_steepness": 101},
        {"activity_cutoff": -1},
        {"activity_cutoff": 2**53 + 1},
        {"max_validators": 0},
        {"max_validators": MAX_N + 1},
        {"stake_threshold": -1},
        {"stake_threshold": MAX_TOTAL_STAKE + 1},
        {"kappa": 0.5},
        {"kappa": True},
        {"kappa": np.int64(5)},
        {"liquid_alpha": "no"},
        {"liquid_alpha": 1},
        {"permit_zero_stake": None},
        {"permit_tie_to_newer": np.True_},
        {"bond_format": "u16"},
        {"bond_format": 2},
        {"bond_format": True},
    ],
)
def test_parameters_that_are_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="|".join(change)):
        Params(**change)


@pytest.mark.parametrize(
    "ends",
    [
        {"kappa": 1, "bond_penalty": 0, "moving_average": 0, "alpha_low": 0, "alpha_high": 0, "alpha_steepness": 1},
        {"kappa": U16, "bond_penalty": U16, "moving_average": 10**6, "alpha_low": U16, "alpha_high": U16},
        {"alpha_steepness": 100, "activity_cutoff": 0, "max_validators": 1, "stake_threshold": 0},
        {"activity_cutoff": 2**53, "max_validators": MAX_N, "stake_threshold": MAX_TOTAL_STAKE},
    ],
)
def test_parameters_at_the_ends_of_their_ranges_are_taken(ends: dict[str, Any]) -> None:
    p = Params(**ends)
    assert {name: getattr(p, name) for name in ends} == ends


def test_the_defaults_are_subtensors_but_for_the_format_of_bonds() -> None:
    assert Params() == Params(
        kappa=U16 // 2,
        bond_penalty=U16,
        moving_average=900_000,
        liquid_alpha=False,
        alpha_low=round(0.7 * U16 + 0.1),  # the half is rounded up
        alpha_high=round(0.9 * U16 + 0.1),
        alpha_steepness=10,
        activity_cutoff=5_000,
        max_validators=128,
        stake_threshold=0,
        permit_zero_stake=False,
        permit_tie_to_newer=False,
        bond_format=BondFormat.U32,
    )


def test_a_mechanism_is_found_by_name() -> None:
    assert sorted(MECHANISMS) == ["audited", "correlated", "yuma2", "yuma3"]
    with pytest.raises(BadInput, match="'yuma4': choose one of audited, correlated, yuma2, yuma3"):
        mechanism("yuma4")
