"""The numbers of docs/incentive.md are those of the code."""

import json
from pathlib import Path

import numpy as np
import pytest

from davy.incentive.agreement import agree
from davy.incentive.conformance.cases import forgetting, inputs
from davy.incentive.emission import emit
from davy.incentive.fixed_point import ONE, BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive.epochs import ints, replace, share
from tests.incentive.pictures import FOLDER, PICTURES, WALK, later
from tests.incentive.test_yuma import epoch_of_the_docs

PAGE = (Path(__file__).parents[2] / "docs" / "incentive.md").read_text()


def decimals(shares: list[int], places: int) -> str:
    """As the page writes shares: without the zero in front, and without zeros behind."""
    return " ".join(f"{s / ONE:.{places}f}".lstrip("0").rstrip("0") for s in shares)


@pytest.fixture(scope="module")
def table() -> dict[str, str]:
    """The cells of the walk, by the number of the step."""
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    return {cells[1].strip(): cells[3].strip() for cells in rows if cells[1].strip().isdigit()}


def test_the_steps_are_all_there(table: dict[str, str]) -> None:
    assert list(table) == [str(step) for step in range(1, 14)]


def test_the_walk(table: dict[str, str]) -> None:
    x = epoch_of_the_docs()
    a = agree(x, Params())
    chosen = mechanism("yuma3")
    state, result = chosen.epoch(chosen.initial((3, 2)), x, Params())
    assert table["4"] == decimals(a.S.tolist(), 4)
    assert table["5"] == f"{decimals(a.W[0].tolist(), 4)} …"
    assert table["6"] == decimals(a.C.tolist(), 4)
    assert [share(float(t)) for t in table["7"].split(", ")] == result.validator_trust.tolist()
    assert table["8"] == f"R {decimals(result.rank.tolist(), 4)}, I {decimals(result.incentive.tolist(), 4)}"
    assert table["11"] == " / ".join(decimals(row, 4) for row in state.bonds.tolist())
    assert table["12"] == decimals(result.dividends.tolist(), 4)


def test_the_emission() -> None:
    chosen, x = mechanism("yuma3"), epoch_of_the_docs()
    e = emit(10**9, chosen.epoch(chosen.initial((3, 2)), x, Params())[1], 11_796)

    def spaced(amounts: list[int]) -> str:
        return "   ".join(f"{amount:,}".replace(",", " ") for amount in amounts)

    assert f"owner {spaced([int(e.owner)])}\n" in PAGE
    assert f"miners   {spaced(e.incentive.tolist())}\n" in PAGE
    assert f"validators   {spaced(e.dividends.tolist())}      together 1 000 000 000\n" in PAGE


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_the_pictures_are_what_the_script_draws(name: str) -> None:
    assert (FOLDER / name).read_text() == PICTURES[name]()
    assert f"](pictures/{name})" in PAGE
    assert {path.name for path in FOLDER.glob("*.svg")} == set(PICTURES)


def test_the_pictures_are_of_the_same_epoch() -> None:
    x = epoch_of_the_docs()
    assert (x.weights.tolist(), x.stake.tolist()) == (WALK.weights.tolist(), WALK.stake.tolist())


@pytest.mark.parametrize("miners", [256, 1024, 2048])
def test_who_comes_later_stays_behind_in_u16(miners: int) -> None:
    bond, dividends = later(BondFormat.U16, miners)
    fine = later(BondFormat.U32, miners)[1]
    cells = [
        f"{miners} miners",
        f"{65_535 / miners:.1f}",
        str(bond),
        f"{dividends / ONE:.3f}"[1:],
        f"{fine / ONE:.3f}"[1:],
    ]
    assert f"| {' | '.join(cells)} |" in PAGE


def crowded(name: str, split: int, added: int, threshold: int) -> list[int]:
    """Dividends after 200 epochs of three validators, of which the first has `split` hotkeys, with `added` rows."""
    weights = [[4, 1]] * split + [[1, 4], [1, 1]] + [[1, 0]] * added
    stake = [300_000 // split] * split + [300_000, 400_000] + [1] * added
    x = EpochInputs.unmasked(np.array(weights, dtype=np.int64), ints(*stake))
    chosen, p = mechanism(name), Params(stake_threshold=threshold)
    state, result = chosen.epoch(chosen.initial(x.weights.shape), x, p)
    for _ in range(199):
        state, result = chosen.epoch(state, replace(x, permits=result.permits), p)
    earned = result.dividends.tolist()
    assert sum(earned[split + 2 :]) < share(0.0002)
    return [sum(earned[:split]), *earned[split : split + 2]]


@pytest.mark.parametrize(
    ("row", "split", "added", "threshold"),
    [
        ("alone", 1, 0, 0),
        ("the first splits its stake over 4 hotkeys", 4, 0, 0),
        ("1 row is added", 1, 1, 0),
        ("10 rows are added", 1, 10, 0),
        ("50 rows are added", 1, 50, 0),
        ("50 rows are added, below a `stake_threshold`", 1, 50, 2),
    ],
)
def test_what_hotkeys_move(row: str, split: int, added: int, threshold: int) -> None:
    cells = [
        " ".join(f"{part / ONE:.3f}"[1:] for part in crowded(name, split, added, threshold))
        for name in ("yuma3", "yuma2")
    ]
    assert f"| {row} | {' | '.join(cells)} |" in PAGE


def test_what_hangs_on_bonds_that_the_sparse_code_forgets(vectors: Path) -> None:
    case = json.loads((vectors / "cases_inputs.json").read_text())["Case 5"]
    p = Params(liquid_alpha=True, alpha_low=6554, alpha_high=19_660, bond_format=BondFormat.U16, permit_zero_stake=True)
    chosen, most = mechanism("yuma3"), 0
    kept = forgotten = chosen.initial((3, 2))
    for epoch, (weights, stakes) in enumerate(zip(case["weights"], case["stakes"], strict=True)):
        x = inputs(weights, stakes)
        if epoch == case["reset_bonds_epoch"]:
            x = forgetting(x, case["reset_bonds_index"])
        forgotten = BondState(np.where(agree(x, p).W_bonds > 0, forgotten.bonds, 0))
        (kept, sinking), (forgotten, gone) = chosen.epoch(kept, x, p), chosen.epoch(forgotten, x, p)
        most = max(most, int(np.abs(sinking.dividends - gone.dividends).max()))
    assert f'in "Case 5" {most / ONE:.3f}'.replace(" 0.", " .") in PAGE
