"""Dividends, what halts withhold, and emission to the last unit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.incentive import dividends
from davy.incentive.door import BadInput
from davy.incentive.emission import Emission, EmptyHalf, cut, delegate, emit
from davy.incentive.fixed_point import MAX_AMOUNT, MAX_TOTAL_STAKE, ONE, U16
from davy.incentive.mechanism import EpochInputs, EpochResult, Params
from davy.incentive.registry import mechanism
from tests.incentive import epochs
from tests.incentive.epochs import Stream, ints, replace, share

EIGHTEEN_PERCENT = 11_796


def agreed(weights: list[list[int]], stake: list[int], **changes: object) -> EpochResult:
    """The first epoch of a square subnet whose validators are its first rows."""
    n = len(weights)
    x = EpochInputs.unmasked(np.array(weights, dtype=np.int64), ints(*stake))
    x = replace(x, self_column=np.arange(n, dtype=np.int64), **changes)
    return mechanism("yuma3").epoch(mechanism("yuma3").initial((n, n)), x, Params())[1]


TWO_MINERS = [[0, 0, 3, 1], [0, 0, 3, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def total(e: Emission) -> int:
    return int(e.owner.sum() + e.incentive.sum() + e.dividends.sum() + e.unminted.sum())


def test_dividends_are_stake_times_bond_income() -> None:
    shares = np.array([[ONE, ONE // 4], [0, 3 * ONE // 4]])
    incentive = ints(ONE // 2, ONE // 2)
    assert dividends.bond_income(shares, incentive).tolist() == [5 * ONE // 8, 3 * ONE // 8]
    assert dividends.bond_dividends(shares, incentive).tolist() == [5 * ONE // 8, 3 * ONE // 8]
    paid = dividends.stake_dividends(shares, incentive, ints(ONE // 4, 3 * ONE // 4))  # 5 : 9
    assert paid.tolist() == [round(ONE * 5 / 14), ONE - round(ONE * 5 / 14)]


def test_fallback_is_active_stake_and_else_all_stake() -> None:
    active = np.array([[ONE, 0], [0, 0], [0, 0]])
    stake = np.array([[1, 3], [1, 3], [0, 0]])
    assert dividends.fallback(active, stake).tolist() == [[ONE, 0], [ONE // 4, 3 * ONE // 4], [0, 0]]


def test_halves_and_the_odd_unit() -> None:
    e = emit(1001, agreed(TWO_MINERS, [1, 1, 0, 0]), 0)
    assert e.incentive.tolist() == [0, 0, 375, 125]
    assert e.dividends.tolist() == [251, 250, 0, 0]
    assert (int(e.owner), int(e.unminted)) == (0, 0)
    assert e.per_uid().tolist() == [251, 250, 375, 125]


def test_the_owners_cut_comes_first() -> None:
    e = emit(65_535, agreed(TWO_MINERS, [1, 1, 0, 0]), EIGHTEEN_PERCENT)
    assert int(e.owner) == EIGHTEEN_PERCENT
    assert total(e) == 65_535
    assert int(emit(65_535, agreed(TWO_MINERS, [1, 1, 0, 0]), U16).owner) == 65_535


def test_a_halted_miners_part_is_not_minted_and_nobody_else_gets_more_or_less() -> None:
    free = emit(10_000, agreed(TWO_MINERS, [1, 1, 0, 0]), EIGHTEEN_PERCENT)
    held = emit(10_000, agreed(TWO_MINERS, [1, 1, 0, 0], halted=np.arange(4) == 2), EIGHTEEN_PERCENT)
    assert int(held.incentive[2]) == 0
    assert int(held.unminted) == int(free.incentive[2]) > 0
    assert held.incentive[3] == free.incentive[3]
    assert held.dividends.tolist() == free.dividends.tolist()
    assert held.owner == free.owner


def test_a_halted_validator_earns_nothing_and_its_weights_still_count() -> None:
    free = emit(10_000, agreed(TWO_MINERS, [1, 1, 0, 0]), 0)
    held = emit(10_000, agreed(TWO_MINERS, [1, 1, 0, 0], halted=np.arange(4) == 0), 0)
    assert held.dividends.tolist() == [0, *free.dividends.tolist()[1:]]
    assert held.incentive.tolist() == free.incentive.tolist()
    assert int(held.unminted) == int(free.dividends[0]) > 0


@pytest.mark.parametrize("halted", [False, True])
def test_what_is_withheld_is_one_number_a_run(halted: bool) -> None:
    kept, withheld = dividends.withhold(np.array([[2, 3, 5], [7, 11, 13]]), np.array([False, halted, False]))
    assert withheld.tolist() == ([3, 11] if halted else [0, 0])
    assert kept.sum(axis=-1).tolist() == ([7, 20] if halted else [10, 31])


def test_all_halted_mints_nothing() -> None:
    e = emit(999, agreed(TWO_MINERS, [1, 1, 0, 0], halted=np.ones(4, dtype=np.bool_)), 0)
    assert not e.per_uid().any()
    assert int(e.unminted) == 999


def test_an_epoch_without_weights_pays_by_stake() -> None:
    e = emit(1000, agreed([[0] * 4] * 4, [1, 3, 0, 0]), 0)
    assert e.per_uid().tolist() == [250, 750, 0, 0]
    assert not e.incentive.any()


def test_a_halted_validators_part_of_a_fallback_is_not_minted() -> None:
    e = emit(1000, agreed([[0] * 4] * 4, [1, 3, 0, 0], halted=np.arange(4) == 1), 0)
    assert e.per_uid().tolist() == [250, 0, 0, 0]
    assert int(e.unminted) == 750


def test_incentive_without_dividends_keeps_the_halves() -> None:
    """α = 0 buys no bonds: the validators' half goes by stake, and the miners' half stays theirs."""
    x = EpochInputs.unmasked(np.array([[3, 1], [3, 1]]), ints(1, 3))
    chosen = mechanism("yuma3")
    _, result = chosen.epoch(chosen.initial((2, 2)), x, Params(moving_average=1_000_000))
    assert not result.dividends.any()
    e = emit(1000, result, 0)
    assert e.incentive.tolist() == [375, 125]
    assert e.dividends.tolist() == [125, 375]


def test_subtensors_emission_gives_an_empty_half_to_the_other() -> None:
    """α = 0 buys no bonds, so there are no dividends; without weights there is neither; nobody has only dividends."""
    x = EpochInputs.unmasked(np.array([[3, 1], [3, 1]]), ints(1, 3))
    chosen = mechanism("yuma3")
    _, result = chosen.epoch(chosen.initial((2, 2)), x, Params(moving_average=1_000_000))
    e = emit(1001, result, 0, empty_half=EmptyHalf.OTHER)
    assert e.incentive.tolist() == [751, 250]
    assert not e.dividends.any()
    no_incentive = replace(result, incentive=ints(0, 0), dividends=ints(ONE // 4, 3 * ONE // 4))
    e = emit(1001, no_incentive, 0, empty_half=EmptyHalf.OTHER)
    assert (e.incentive.tolist(), e.dividends.tolist()) == ([0, 0], [250, 751])
    assert emit(1001, no_incentive, 0).dividends.tolist() == [250, 751], "by stake, which is the same here"
    neither = emit(1000, agreed([[0] * 4] * 4, [1, 3, 0, 0]), 0, empty_half=EmptyHalf.OTHER)
    assert neither.per_uid().tolist() == [250, 750, 0, 0]


def test_an_empty_half_is_no_longer_empty_because_all_of_it_is_withheld() -> None:
    """Halted miners have shares: the validators do not get what these would have had."""
    free = emit(1000, agreed(TWO_MINERS, [1, 1, 0, 0]), 0, empty_half=EmptyHalf.OTHER)
    held = agreed(TWO_MINERS, [1, 1, 0, 0], halted=np.array([False, False, True, True]))
    e = emit(1000, held, 0, empty_half=EmptyHalf.OTHER)
    assert e.dividends.tolist() == free.dividends.tolist() == [250, 250, 0, 0]
    assert int(e.unminted) == 500


def test_nor_is_it_empty_because_as_much_is_withheld_as_paid() -> None:
    one_of_two = agreed([[0, 0, 1, 1]] * 2 + [[0] * 4] * 2, [1, 1, 0, 0], halted=np.arange(4) == 3)
    e = emit(1000, one_of_two, 0, empty_half=EmptyHalf.OTHER)
    assert (e.incentive.tolist(), e.dividends.tolist()) == ([0, 0, 250, 0], [250, 250, 0, 0])
    assert int(e.unminted) == 250


def test_subtensors_emission_loses_what_it_rounds_down() -> None:
    result = agreed(TWO_MINERS, [1, 1, 0, 0])
    e = emit(1001, result, 0, whole_units=False)
    assert (e.incentive.tolist(), e.dividends.tolist()) == ([0, 0, 375, 125], [250, 250, 0, 0])
    assert int(e.unminted) == 1
    assert total(e) == 1001
    assert int(emit(1001, result, 0).unminted) == 0
    nobody = emit(1001, agreed(TWO_MINERS, [0, 0, 0, 0]), 0, whole_units=False)
    assert int(nobody.unminted) == 1001


def test_without_any_stake_nothing_but_the_owners_cut_is_minted() -> None:
    e = emit(1000, agreed(TWO_MINERS, [0, 0, 0, 0]), EIGHTEEN_PERCENT)
    assert (int(e.owner), int(e.unminted)) == (179, 821)


@given(st.integers(0, 300), st.integers(0, MAX_AMOUNT), st.integers(0, U16))
def test_conservation(seed: int, amount: int, owner_cut: int) -> None:
    s, x, p = epochs.epoch(seed)
    _, result = mechanism("yuma3").epoch(s, x, p)
    e = emit(amount, result, owner_cut)
    assert total(e) == amount
    assert min(e.incentive.min(), e.dividends.min(), e.owner, e.unminted) >= 0
    assert not e.incentive[x.halted].any()
    if not x.halted.any() and result.fallback.any():
        assert int(e.unminted) == 0


def test_a_batch_of_amounts_is_each_of_them() -> None:
    rng = Stream(5)
    p = Params()
    batch = epochs.stack([epochs.inputs(rng, 5, 7, square=False) for _ in range(6)])
    state = mechanism("yuma3").initial((6, 5, 7))
    _, together = mechanism("yuma3").epoch(state, batch, p)
    amounts = rng.integers(0, 10**12, 6)
    emitted = emit(amounts, together, EIGHTEEN_PERCENT)
    for i in range(6):
        alone = EpochResult(**{name: np.asarray(values[i]) for name, values in epochs.arrays(together).items()})
        one = emit(int(amounts[i]), alone, EIGHTEEN_PERCENT)
        assert one.owner == emitted.owner[i]
        assert one.unminted == emitted.unminted[i]
        assert one.incentive.tolist() == emitted.incentive[i].tolist()
        assert one.dividends.tolist() == emitted.dividends[i].tolist()


@given(st.integers(0, MAX_AMOUNT), st.integers(0, U16))
def test_a_cut_is_rounded_down(amount: int, part: int) -> None:
    assert int(cut(np.asarray(amount), part)) == amount * part // U16


def test_delegates_take() -> None:
    taken, parts = delegate(1000, EIGHTEEN_PERCENT, ints(1, 1, 2))
    assert int(taken) == 179
    assert parts.tolist() == [205, 205, 411]
    taken, parts = delegate(1000, EIGHTEEN_PERCENT, ints(0, 0))
    assert (int(taken), parts.tolist()) == (1000, [0, 0])


@given(
    st.integers(0, MAX_AMOUNT),
    st.integers(0, U16),
    st.lists(st.integers(0, MAX_TOTAL_STAKE // 8), min_size=1, max_size=8),
)
def test_delegation_conserves_and_is_fair(amount: int, take: int, stakes: list[int]) -> None:
    taken, parts = delegate(amount, take, ints(*stakes))
    assert int(taken) + sum(parts.tolist()) == amount
    rest = amount - amount * take // U16
    for part, stake in zip(parts.tolist(), stakes, strict=True):
        assert abs(part - Fraction(rest * stake, sum(stakes) or 1)) < 1


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1, 1.5, np.array([1], dtype=np.uint64), True])
def test_amounts_that_are_refused(amount: object) -> None:
    with pytest.raises(BadInput, match="amount"):
        emit(amount, agreed(TWO_MINERS, [1, 1, 0, 0]), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [-1, U16 + 1, 0.5, True])
def test_cuts_that_are_refused(part: object) -> None:
    result = agreed(TWO_MINERS, [1, 1, 0, 0])
    with pytest.raises(BadInput, match="owner_cut"):
        emit(1, result, part)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="take"):
        delegate(1, part, ints(1))  # type: ignore[arg-type]


def test_stakes_that_are_more_than_there_is_are_refused() -> None:
    with pytest.raises(BadInput, match="sum to more"):
        delegate(1, 0, np.full(4096, MAX_TOTAL_STAKE))


def test_neurons_that_are_not_both_have_no_sum() -> None:
    x = EpochInputs.unmasked(np.ones((2, 3), dtype=np.int64), ints(1, 1))
    _, result = mechanism("yuma3").epoch(mechanism("yuma3").initial((2, 3)), x, Params())
    with pytest.raises(BadInput, match="different neurons"):
        emit(1, result, 0).per_uid()
    assert result.incentive.sum() == ONE == share(1)
