"""The cases of yuma-simulation: the same inputs, and the same dividends on 1000 tokens, by case and mechanism."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from davy.protocol.errors import Misconfigured
from davy.sims.cases import CASES, U16_BONDS, Case, per_1000
from davy.sims.tracing import trace

VECTORS = Path(__file__).parents[1] / "vectors" / "yuma"
NUMBERS = range(1, len(CASES) + 1)
FREE = replace(U16_BONDS, bond_penalty=0)


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


INPUTS, TOTALS = read("cases_inputs.json"), read("case_dividends.json")["totals"]


def totals(c: Case, mechanism: str) -> np.ndarray:
    name, _, liquid = mechanism.partition(" ")
    # yuma-simulation's Yuma 3 buys bonds with unclipped weights: β = 0.
    p = replace(FREE if name == "yuma3" else U16_BONDS, liquid_alpha=bool(liquid))
    return per_1000(c.trace(name, p)).sum(axis=0)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_case_is_the_one_that_was_published(number: int) -> None:
    c, published = CASES[number - 1], INPUTS[f"Case {number}"]
    assert c.weights() == pytest.approx(np.array(published["weights"]), abs=1e-7)
    assert c.stakes() == pytest.approx(np.array(published["stakes"]), abs=1e-7)
    told = (published["reset_bonds_epoch"], published["reset_bonds_index"]) if published["reset_bonds"] else None
    assert c.forget == told


@pytest.mark.parametrize(("mechanism", "within"), [("yuma3", 1e-4), ("yuma3 liquid", 3e-3)])
@pytest.mark.parametrize("number", NUMBERS)
def test_dividends_on_1000_tokens_are_those_of_yuma_simulation(number: int, mechanism: str, within: float) -> None:
    """Under liquid alpha it takes the fixed α in the first epoch, which subtensor and davy do not."""
    published = TOTALS[mechanism][f"Case {number}"]
    assert totals(CASES[number - 1], mechanism) == pytest.approx(published, rel=within)


@pytest.mark.parametrize("number", NUMBERS)
def test_under_yuma_2_they_are_subtensor_s(number: int) -> None:
    """Compared with subtensor's own order of operations, in which bonds are normalised between epochs."""
    shares = np.array(read("expected_yuma2.bp1.json")["cases"][f"Case {number}"]["validator_reward_normalized"])
    c = CASES[number - 1]
    paid = per_1000(c.trace("yuma2"))
    stake = c.stakes()
    wanted = np.divide(0.41 * 100 * shares, 1000 * stake, out=np.zeros_like(shares), where=stake > 0)
    assert paid == pytest.approx(wanted, abs=2e-5)


def test_yuma_simulation_s_own_yuma_2_differs_by_up_to_a_fifth() -> None:
    """It carries bonds on without normalising a column, so that a first buyer's lead is gone sooner."""
    far = {n: totals(CASES[n - 1], "yuma2") / np.array(TOTALS["yuma2"][f"Case {n}"]) - 1 for n in NUMBERS}
    worst = {n: float(np.abs(d).max()) for n, d in far.items()}
    assert max(worst.values()) == pytest.approx(0.19, abs=0.01)
    assert [n for n, d in worst.items() if d < 1e-3] == [3, 4, 9, 11]


def test_yuma_3_pays_who_moves_first_and_without_the_penalty_most() -> None:
    late = CASES[9]  # the big one moves nine epochs after the eager one
    _, clipped, _ = per_1000(late.trace("yuma3")).sum(axis=0)
    _, eager, lazy = per_1000(late.trace("yuma3", FREE)).sum(axis=0)
    assert eager > 1.2 * lazy
    assert eager > 1.3 * clipped


@pytest.mark.parametrize(
    ("weights", "stake"),
    [
        ([[1.0]], [1.0]),
        ([[[1.0, -1.0]]], [1.0]),
        ([[[1.0]]], [1.0, 1.0]),
        ([[[1.0]]], [-1.0]),
        ([[[float("nan")]]], [1]),
    ],
)
def test_a_trace_of_what_cannot_be_is_refused(weights: Any, stake: Any) -> None:
    with pytest.raises(Misconfigured):
        trace(weights, stake)
