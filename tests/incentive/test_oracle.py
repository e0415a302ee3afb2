"""Both Yumas against an oracle in float64, within the error that docs/incentive.md states."""

from dataclasses import replace

import numpy as np
import pytest

from davy.incentive.fixed_point import MAX_TOTAL_STAKE, ONE, U16, BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive import epochs
from tests.incentive.oracle import Oracle, solve, unit_columns

SHARE_ERROR = 2.0**-29
"""Of a share that is one quotient: a weight, a consensus, active stake, a bond."""

SEEN_ERROR = 1e-6
"""No seed below comes near its bound where that is loose; this is what they keep."""


def quotient_error(oracle: Oracle) -> float:
    """Of incentive: ranks are off by up to (V + 1)·2^-30 in relation to their sum."""
    rows = len(oracle.active_stake)
    total = float(oracle.rank.sum())
    return SHARE_ERROR + (2 * rows + 2 * len(oracle.rank)) * 2.0**-30 / total if total > 0 else 0.0


def dividend_error(name: str, oracle: Oracle) -> float:
    """Of dividends: the incentive's error and that of bonds, in relation to the smallest column that has bonds."""
    raw = oracle.bonds.sum(axis=0)
    if not raw.any():
        return 0.0
    rows, columns = oracle.bonds.shape
    shares = unit_columns(oracle.bonds)
    income = (shares @ oracle.incentive) * (oracle.active_stake if name == "yuma3" else 1)
    if income.sum() == 0:
        return 0.0
    of_bonds = float((oracle.incentive * np.where(raw > 0, 2 * rows * 2.0**-29 / np.where(raw > 0, raw, 1), 0)).sum())
    return (quotient_error(oracle) * columns + of_bonds + 2.0**-28) / float(income.sum())


def agrees(name: str, s: BondState, x: EpochInputs, p: Params) -> None:
    state, result = mechanism(name).epoch(s, x, p)
    oracle = solve(name, s, x, p)
    assert result.permits.tolist() == oracle.permits
    incentive = result.incentive / ONE
    np.testing.assert_allclose(result.active_stake / ONE, oracle.active_stake, rtol=0, atol=SHARE_ERROR * 2)
    np.testing.assert_allclose(result.consensus / ONE, oracle.consensus, rtol=0, atol=SHARE_ERROR)
    columns = len(oracle.consensus)
    np.testing.assert_allclose(result.validator_trust / ONE, oracle.validator_trust, rtol=0, atol=columns * SHARE_ERROR)
    expected = np.where(x.halted, 0, oracle.incentive)
    np.testing.assert_allclose(incentive, expected, rtol=0, atol=min(quotient_error(oracle), SEEN_ERROR))
    own = np.where(x.self_column >= 0, x.self_column, 0)
    halted_rows = (x.self_column >= 0) & x.halted[own]
    expected = np.where(halted_rows, 0, oracle.dividends)
    np.testing.assert_allclose(
        result.dividends / ONE, expected, rtol=0, atol=min(dividend_error(name, oracle), SEEN_ERROR)
    )
    if name == "yuma3":
        kept = np.where(np.array(oracle.permits)[:, None], oracle.bonds, 0)
        unit = 1 / p.bond_format.one
        np.testing.assert_allclose(state.bonds * unit, kept, rtol=0, atol=unit + 5 * SHARE_ERROR)


@pytest.mark.parametrize("name", ["yuma3", "yuma2"])
def test_random_epochs(name: str) -> None:
    for seed in range(100):
        agrees(name, *epochs.epoch(seed))


@pytest.mark.parametrize("name", ["yuma3", "yuma2"])
@pytest.mark.parametrize("seed", [1, 4])
def test_64_validators_and_192_miners(name: str, seed: int) -> None:
    agrees(name, *epochs.epoch(seed, 64, 192))


@pytest.mark.parametrize("name", ["yuma3", "yuma2"])
@pytest.mark.parametrize("one_hand", [False, True])
def test_64_by_192_with_ties_and_zero_rows_and_columns(name: str, one_hand: bool) -> None:
    """Liquid, β between, bonds in u16; weights of three kinds only, so that ties are everywhere."""
    s, x, p = epochs.epoch(9, 64, 192)
    weights = x.weights % 3
    weights[[0, 13, 63]] = 0
    weights[:, [0, 77, 191]] = 0
    stake = np.where(np.arange(64) == 20, MAX_TOTAL_STAKE, 0) if one_hand else x.stake
    x = replace(EpochInputs.unmasked(weights, stake), halted=x.halted)
    p = replace(p, liquid_alpha=True, bond_penalty=20_000, bond_format=BondFormat.U16)
    agrees(name, BondState(s.bonds % (U16 + 1)), x, p)


@pytest.mark.parametrize("name", ["yuma3", "yuma2"])
@pytest.mark.parametrize(
    ("weights", "stake"),
    [
        ([[3, 1, 0]], [7]),
        ([[0, 0], [0, 0]], [1, 1]),
        ([[1, 0], [0, 0]], [1, 1]),
        ([[1, 0], [1, 0]], [0, 0]),
        ([[1, 2], [2, 1], [1, 1]], [0, 21 * 10**15, 0]),
        ([[5, 5], [5, 5], [5, 5], [5, 5]], [1, 1, 1, 1]),
    ],
    ids=["one validator", "no weights", "a zero row", "no stake", "all in one hand", "ties"],
)
@pytest.mark.parametrize("form", BondFormat)
@pytest.mark.parametrize("liquid", [False, True])
def test_corners(name: str, weights: list[list[int]], stake: list[int], form: BondFormat, liquid: bool) -> None:
    x = EpochInputs.unmasked(np.array(weights, dtype=np.int64), np.array(stake, dtype=np.int64))
    chosen, p = mechanism(name), Params(bond_format=form, liquid_alpha=liquid, bond_penalty=30_000 if liquid else U16)
    s = chosen.initial(x.weights.shape)
    for _ in range(4):
        agrees(name, s, x, p)
        s, _ = chosen.epoch(s, x, p)
