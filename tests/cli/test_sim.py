"""`davy sim`: list, run, report; mistakes end with a sentence."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import Say

QUICK = ("--set", "runs=2", "--set", "epochs=3", "--set", "market.miners=12", "--set", "market.validators=6")


def test_the_list_has_every_parameter(say: Say) -> None:
    names = {row["name"]: row for row in say("sim", "list", "--json").json}
    assert names["cartel"]["parameters"]["attack.favour"] == 0.9
    assert "boosts its own miners" in say("sim", "list").out


def test_a_run_is_shown_kept_and_reported(say: Say, tmp_path: Path) -> None:
    kept, table = str(tmp_path / "kept"), tmp_path / "t.parquet"
    command = ("sim", "run", "lazy-random", *QUICK, "--sweep", "attack.stake=0.1,0.3", "--folder", kept)
    said = say(*command, "--table", str(table))
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines() if " relative_pay " in line] == ["0.1", "0.3"]
    assert sorted(pl.read_parquet(table)["attack.stake"].to_list()) == [0.1, 0.1, 0.3, 0.3]
    again, report = say(*command, "--json").json, say("sim", "report", kept, "--json").json
    key = lambda row: (row["metric"], row["parameters"]["attack.stake"])  # noqa: E731
    assert sorted(again, key=key) == sorted(report, key=key)
    assert {row["parameters"]["seed"] for row in report} == {1}
    assert " relative_pay " in say("sim", "report", kept).out


def test_mechanisms_are_compared(say: Say, tmp_path: Path) -> None:
    place = tmp_path / "t.csv"
    command = ("sim", "compare", "lazy-random", "relaying", *QUICK, "--mechanisms", "yuma3,audited")
    said = say(*command, "--table", str(place))
    assert said.code == 0
    assert [line.split()[:2] for line in said.out.splitlines()[2:]] == [
        [name, mechanism] for name in ("lazy-random", "relaying") for mechanism in ("yuma3", "audited")
    ]
    rows = say(*command, "--json").json
    assert [row["validators"] is None for row in rows] == [False, False, True, True], "a relay has no validators"
    assert pl.read_csv(place)["tau"].to_list() == pytest.approx([row["tau"] for row in rows])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("sim", "run", "nothing"), "there is no scenario 'nothing'"),
        (("sim", "run", "cartel", "--set", "attack.stake"), "is no K=V"),
        (("sim", "run", "cartel", "--set", "attack.steak=1"), "there is no parameter 'attack.steak'"),
        (("sim", "run", "cartel", "--set", "stake=1"), "there is no parameter 'stake'; there is mechanism"),
        (("sim", "run", "cartel", "--set", "attack.=1"), "there is no parameter 'attack.'; there is attack.validators"),
        (("sim", "run", "cartel", "--set", "attack.stake=all"), "attack.stake is 'all'"),
        (("sim", "run", "cartel", "--sweep", "mechanism=yuma3,yuma9"), "there is no mechanism 'yuma9'"),
        (("sim", "run", "honest", *QUICK, "--set", "attack.validators=1", "--table", "t.xlsx"), "neither .parquet nor"),
        (("sim", "compare", "cartel", "--mechanisms", "yuma3,yuma9"), "there is no mechanism 'yuma9'"),
        (("sim", "compare", "honest", "nothing"), "there is no scenario 'nothing'"),
        (("sim", "report", "nowhere"), "holds no finished runs"),
        (("sim", "report", "nowhere", "--table", "no/t.csv"), "there is no folder no for t.csv"),
        (("sim", "run", "honest", *QUICK, "--table", "no/t.csv"), "there is no folder no for t.csv"),
        (("sim", "compare", "honest", *QUICK, "--table", "no/t.csv"), "there is no folder no for t.csv"),
        (("sim", "run", "honest", "--set", "seed=1", "--set", "seed=2"), "'seed' is given twice"),
        (("sim", "run", "honest", "--set", "seed=1", "--sweep", "seed=2,3"), "'seed' is given twice"),
        (("sim", "run", "honest", *QUICK, "--jobs", "0"), "jobs is 0"),
        (("sim", "run", "honest", *QUICK, "--set", "mechanism=audited", "--compiled"), "'audited' is not compiled"),
        (("sim", "run", "time-to-stop", "--set", "topology=mesh"), "choose one of live, random"),
        (("sim", "run", "weight-copying", "--set", "attack.source=all"), "choose one of consensus, average"),
    ],
)
def test_a_mistake_is_one_sentence(
    say: Say, words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = say(*words)
    assert said.code == 2
    assert sentence in said.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_several_kinds_is_a_table_each(say: Say, tmp_path: Path) -> None:
    kept = str(tmp_path)
    say("sim", "run", "cartel", *QUICK, "--sweep", "attack.favour=0.5,0.9", "--folder", kept)
    say("sim", "run", "time-to-stop", "--set", "runs=2", "--set", "nodes=10", "--folder", kept)
    said = say("sim", "report", kept).out.splitlines()
    titles = {line.split(":")[0]: said[i + 1].split() for i, line in enumerate(said) if ", davy " in line}
    shown = ["metric", "median", "low", "high", "runs", "unit"]
    assert titles == {"cartel": ["attack.favour", *shown], "time-to-stop": shown}


def test_who_lacks_the_packages_is_told_what_to_install(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "polars" else found(name))
    assert "pip install 'davy[sims]'" in say("sim", "list").err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else found(name))
    assert "pip install 'davy[fast]'" in say("sim", "run", "cartel", "--compiled").err
