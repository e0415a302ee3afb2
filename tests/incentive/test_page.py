"""The numbers of docs/incentive.md are those of the code."""

from pathlib import Path

import pytest

from davy.incentive.agreement import agree
from davy.incentive.emission import emit
from davy.incentive.fixed_point import ONE, BondFormat
from davy.incentive.mechanism import Params
from davy.incentive.registry import mechanism
from tests.incentive.epochs import share
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
