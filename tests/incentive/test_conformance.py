"""The conformance command: every vector passes, a changed one is noticed, a bad file is refused in a sentence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from davy.incentive.conformance.__main__ import check, main
from davy.incentive.door import BadInput

CASES = "cases_inputs.json"
EXPECTED = {
    "expected_yuma2.bp1.json": 55,
    "expected_yuma3.bp0.json": 55,
    "expected_yuma3.bp1.json": 55,
    "expected_yuma3_liquid_default.bp1.json": 55,
}
ALONE = {"yuma3_scenarios.json": 8, "yuma2_traces.json": 42, "math.json": 54}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize(("name", "fields"), [*EXPECTED.items(), *ALONE.items()])
def test_every_vector_is_within_tolerance(vectors: Path, name: str, fields: int) -> None:
    files = [CASES, name] if name in EXPECTED else [name]
    (report,) = check([str(vectors / file) for file in files])
    assert report.failures() == []
    assert len(report.errors) == fields


def test_no_vector_is_left_out(vectors: Path) -> None:
    assert {path.name for path in vectors.glob("*.json")} == {CASES, "retention_published.json", *EXPECTED, *ALONE}


def test_u16_bonds_are_within_one_unit(vectors: Path) -> None:
    """The tolerance allows for six units; davy keeps to one on all cases."""
    for name in EXPECTED:
        (report,) = check([str(vectors / CASES), str(vectors / name)])
        assert max(error for (_, field), error in report.errors.items() if field == "bonds") < 1.01 / 65_535


def spoil(path: Path, to: Path, *place: str | int, by: float) -> None:
    content = load(path)
    record = content
    for key in place[:-1]:
        record = record[key]
    record[place[-1]] += by
    to.write_text(json.dumps(content))


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize(
    "field", ["validator_reward_normalized", "server_incentive", "consensus", "validator_trust", "bonds"]
)
def test_one_wrong_number_is_noticed(vectors: Path, tmp_path: Path, name: str, field: str) -> None:
    place: list[str | int] = ["cases", "Case 7", field, 33, 1, *([0] if field == "bonds" else [])]
    spoil(vectors / name, tmp_path / name, *place, by=2e-4)
    (report,) = check([str(vectors / CASES), str(tmp_path / name)])
    assert [(case.split(", ")[1], at) for case, at in report.failures()] == [("Case 7", field)]


@pytest.mark.parametrize(
    ("name", "place", "by"),
    [
        ("yuma3_scenarios.json", ("scenarios", 0, "target_dividends_per_epoch", 3, 1), 2e-3),
        ("yuma3_scenarios.json", ("scenarios", 3, "target_bonds_per_epoch", 5, 0, 1), 2e-3),
        ("yuma2_traces.json", ("test_bonds", "trace", 4, "emaB", 0, 0, 1), 2e-4),
        ("yuma2_traces.json", ("test_bonds", "trace", 1, "C", 4), 2e-4),
        ("yuma2_traces.json", ("test_bonds", "asserted_bonds_u16_in_order", 20, 1), 8),
        ("yuma2_traces.json", ("test_zero_weights", "trace", 2, "E", 1), 10**6),
        ("math.json", ("weighted_median", 5, "expected"), 1e-5),
        ("math.json", ("is_topk", 2, "vector", 0), 100),
        ("math.json", ("mat_ema_alpha", 2, "expected", 3), 3e-6),
        ("math.json", ("check_vec_max_limited", 10, "max_limit"), -1),
    ],
)
def test_one_wrong_number_of_the_other_files_is_noticed(
    vectors: Path, tmp_path: Path, name: str, place: tuple[str | int, ...], by: float
) -> None:
    spoil(vectors / name, tmp_path / name, *place, by=by)
    assert main([str(tmp_path / name)]) == 1


def test_a_case_with_other_parameters_is_another_case(vectors: Path, tmp_path: Path) -> None:
    content = load(vectors / "expected_yuma3.bp1.json")
    content["params"]["bonds_moving_avg"] = 0.89
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert main([str(vectors / CASES), str(tmp_path / "other.json")]) == 1


def test_a_reset_that_is_left_out_is_noticed(vectors: Path, tmp_path: Path) -> None:
    content = load(vectors / CASES)
    content["Case 5"]["reset_bonds"] = False
    (tmp_path / CASES).write_text(json.dumps(content))
    (report,) = check([str(tmp_path / CASES), str(vectors / "expected_yuma3.bp1.json")])
    assert {case for case, _ in report.failures()} == {"yuma3, Case 5"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"a": 1}',
        '{"scenarios": [{}], "params": {}}',
        '{"math": {}, "is_topk": [{"vector": "x", "k": 1, "expected": []}]}',
        '{"t": {"trace": [{"S": [1]}]}}',
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_expected_outputs_need_their_cases(vectors: Path) -> None:
    with pytest.raises(BadInput, match="cases' inputs"):
        check([str(vectors / "expected_yuma3.bp1.json")])
    with pytest.raises(BadInput, match="nothing to compare"):
        check([str(vectors / CASES)])


def test_the_command(vectors: Path) -> None:
    command = [sys.executable, "-m", "davy.incentive.conformance"]
    done = subprocess.run([*command, str(vectors / "math.json")], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "54 of 54 fields within tolerance")
    assert subprocess.run(command, capture_output=True).returncode == 2
    assert subprocess.run([*command, "none.json"], capture_output=True).returncode == 2
