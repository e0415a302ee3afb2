"""What holds of every epoch: batch = loop, renumbering, no overflow, no float, nothing written to."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.incentive import chunks
from davy.incentive.fixed_point import MAX_N, MAX_TOTAL_STAKE, ONE, U16
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive import epochs, unbounded
from tests.incentive.epochs import Stream, arrays, replace

BOTH = pytest.mark.parametrize("name", ["yuma2", "yuma3"])


@BOTH
@given(seed=st.integers(0, 10**6))
def test_a_batch_is_its_runs_one_by_one(name: str, seed: int) -> None:
    rng = Stream(seed)
    rows, columns, p = 7, 7, epochs.params(rng)
    runs = [epochs.inputs(rng, rows, columns, square=True) for _ in range(4)]
    held = [epochs.bonds(rng, rows, columns, p) for _ in range(4)]
    chosen = mechanism(name)
    state, result = chosen.epoch(BondState(np.stack([s.bonds for s in held])), epochs.stack(runs), p)
    for i in range(4):
        alone, expected = chosen.epoch(held[i], runs[i], p)
        assert (state.bonds[i] == alone.bonds).all()
        for field, values in arrays(result).items():
            assert (values[i] == arrays(expected)[field]).all(), field


@BOTH
@pytest.mark.parametrize("shared", ["stake", "permits", "registered_at", "halted", "now", "self_column"])
def test_what_all_runs_share_need_not_be_repeated(name: str, shared: str) -> None:
    rng = Stream(3)
    p = Params(liquid_alpha=True)
    runs = [epochs.inputs(rng, 6, 9, square=False) for _ in range(6)]
    common = getattr(runs[0], shared)
    runs = [replace(x, **{shared: common}) for x in runs]
    repeated = epochs.stack(runs)
    chosen, shape = mechanism(name), (6, 6, 9)
    state, result = chosen.epoch(chosen.initial(shape), repeated, p)
    once, other = chosen.epoch(chosen.initial(shape), replace(repeated, **{shared: common}), p)
    assert (state.bonds == once.bonds).all()
    for field, values in arrays(result).items():
        assert (np.broadcast_to(arrays(other)[field], values.shape) == values).all(), field


def folded(x: EpochInputs, axes: tuple[int, ...]) -> EpochInputs:
    """The runs along one batch axis, along other axes."""
    changes: dict[str, Any] = {}
    for name in epochs.ARRAYS:
        values = getattr(x, name)
        own = {"weights": 2, "now": 0, "previous_epoch": 0, "owner_row": 0}.get(name, 1)
        if values.ndim > own:
            changes[name] = values.reshape(*axes, *values.shape[1:])
    return replace(x, **changes)


@BOTH
def test_two_batch_axes(name: str) -> None:
    rng = Stream(4)
    flat = epochs.stack([epochs.inputs(rng, 5, 8, square=False) for _ in range(6)])
    chosen, p = mechanism(name), Params(liquid_alpha=True)
    state, result = chosen.epoch(chosen.initial((6, 5, 8)), flat, p)
    moved, other = chosen.epoch(chosen.initial((2, 3, 5, 8)), folded(flat, (2, 3)), p)
    assert (moved.bonds.reshape(6, 5, 8) == state.bonds).all()
    for field, values in arrays(result).items():
        assert (arrays(other)[field].reshape(values.shape) == values).all(), field


@BOTH
@pytest.mark.parametrize("elements", [1, 2 * 40, 5 * 40, 6 * 40])
@pytest.mark.parametrize("axes", [(6,), (2, 3)])
def test_chunks_of_any_size_give_the_same(
    name: str, elements: int, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Stream(8)
    p = Params(liquid_alpha=True)
    runs = epochs.stack([epochs.inputs(rng, 5, 8, square=False) for _ in range(6)])
    x = folded(replace(runs, halted=runs.halted[0], stake=runs.stake[0]), axes)
    held = BondState(rng.integers(0, ONE + 1, (*axes, 5, 8)))
    state, result = mechanism(name).epoch(held, x, p)
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
    again, other = mechanism(name).epoch(held, x, p)
    assert (again.bonds == state.bonds).all()
    assert again.bonds.shape == (*axes, 5, 8)
    for field, values in arrays(result).items():
        assert values.shape[: len(axes)] == axes, field
        assert arrays(other)[field].shape == values.shape, field
        assert (arrays(other)[field] == values).all(), field


@BOTH
@given(seed=st.integers(0, 10**6), order=st.permutations(range(9)))
def test_renumbering_the_neurons_renumbers_the_result(name: str, seed: int, order: list[int]) -> None:
    """To the bit where no two stakes are equal and no two columns alike; a tie goes to the lower UID."""
    rng = Stream(seed)
    p = epochs.params(rng)
    x = epochs.inputs(rng, 9, 9, square=True)
    x = replace(x, weights=rng.integers(0, U16 + 1, (9, 9)), stake=rng.integers(2**40, 2**50, 9))
    s = epochs.bonds(rng, 9, 9, p)
    chosen = mechanism(name)
    state, result = chosen.epoch(s, x, p)
    new_of = np.argsort(order)
    owner = int(x.owner_row)
    renumbered = replace(
        x,
        weights=x.weights[order][:, order],
        owner_row=np.asarray(new_of[owner] if owner >= 0 else -1),
        **{
            f: getattr(x, f)[order]
            for f in ("stake", "permits", "last_update", "registered_at", "earliest_commit", "halted")
        },
    )
    moved, other = chosen.epoch(BondState(s.bonds[order][:, order]), renumbered, p)
    assert (moved.bonds == state.bonds[order][:, order]).all()
    for field, values in arrays(result).items():
        assert (arrays(other)[field] == (values[order] if values.ndim else values)).all(), field


@BOTH
@given(seed=st.integers(0, 10**6))
def test_shares_sum_to_one_and_every_number_keeps_its_format(name: str, seed: int) -> None:
    s, x, p = epochs.epoch(seed)
    for array in [s.bonds, *(getattr(x, name) for name in epochs.ARRAYS)]:
        array.flags.writeable = False
    state, result = mechanism(name).epoch(s, x, p)
    for field, values in arrays(result).items():
        assert values.dtype == (np.bool_ if field == "permits" else np.int64), field
        if values.dtype == np.int64 and field != "validator_trust":
            assert 0 <= values.min() <= values.max() <= ONE, field
    assert state.bonds.dtype == np.int64
    assert 0 <= state.bonds.min() <= state.bonds.max() <= p.bond_format.one
    for shares, withheld in (
        (result.incentive, result.incentive_withheld),
        (result.dividends, result.dividends_withheld),
        (result.fallback, result.fallback_withheld),
    ):
        assert int(shares.sum() + withheld) in (0, ONE)
    assert result.permits.sum() <= p.max_validators


@pytest.mark.parametrize(("rows", "columns"), [(MAX_N, 2), (2, MAX_N), (64, 192), (1, 1)])
@pytest.mark.parametrize("kind", ["largest", "equal", "random"])
def test_no_overflow_at_the_bounds(rows: int, columns: int, kind: str) -> None:
    """Bit for bit what unbounded integers give, with all stake there is, full weights and full bonds."""
    rng = Stream(rows)
    p = Params(max_validators=MAX_N, bond_penalty=U16 - 1 if kind == "random" else U16)
    stake = rng.integers(0, 2 * (MAX_TOTAL_STAKE // rows), rows) // 2
    if kind == "largest":
        stake = np.where(np.arange(rows) == 0, MAX_TOTAL_STAKE, 0)
    elif kind == "equal":
        stake = np.full(rows, MAX_TOTAL_STAKE // rows)
    largest = ((1 << 32) - 1) // columns
    weights = rng.integers(0, largest + 1, (rows, columns)) if kind == "random" else np.full((rows, columns), largest)
    held = rng.integers(0, ONE + 1, (rows, columns)) if kind == "random" else np.full((rows, columns), ONE)
    state, result = mechanism("yuma3").epoch(BondState(held), EpochInputs.unmasked(weights, stake), p)
    bonds, consensus, incentive, dividends = unbounded.yuma3(weights.tolist(), stake.tolist(), held.tolist(), p)
    assert result.consensus.tolist() == consensus
    assert result.incentive.tolist() == incentive
    assert result.dividends.tolist() == dividends
    kept = result.permits.tolist()
    assert state.bonds.tolist() == [row if keep else [0] * columns for row, keep in zip(bonds, kept, strict=True)]


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_random_epochs_are_what_unbounded_integers_give(seed: int) -> None:
    rng = Stream(seed)
    rows, columns = int(rng.integers(1, 12)), int(rng.integers(1, 12))
    p = Params(kappa=int(rng.integers(1, U16)), bond_penalty=int(rng.integers(0, U16)), permit_zero_stake=True)
    weights, stake = epochs.weights(rng, rows, columns), epochs.stakes(rng, rows)
    held = rng.integers(0, ONE + 1, (rows, columns))
    state, result = mechanism("yuma3").epoch(BondState(held), EpochInputs.unmasked(weights, stake), p)
    bonds, consensus, incentive, dividends = unbounded.yuma3(weights.tolist(), stake.tolist(), held.tolist(), p)
    assert (state.bonds.tolist(), result.consensus.tolist()) == (bonds, consensus)
    assert (result.incentive.tolist(), result.dividends.tolist()) == (incentive, dividends)
