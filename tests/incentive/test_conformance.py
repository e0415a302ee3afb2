"""The conformance command: every vector passes, a changed one is noticed, a bad file is refused in a sentence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from davy.incentive.conformance.__main__ import check, main
from davy.incentive.conformance.cases import parameters
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import BondFormat
from davy.incentive.mechanism import Params
from tests.incentive.epochs import Stream
from tests.incentive.functions import functions
from tests.incentive.vectors import expected, mixed

CASES = "cases_inputs.json"
SCENARIOS = "yuma3_scenarios.json"
EXPECTED = {
    "expected_yuma2.bp1.json": 55,
    "expected_yuma3.bp0.json": 55,
    "expected_yuma3.bp1.json": 55,
    "expected_yuma3_liquid_default.bp1.json": 55,
}
SIMULATED = {"retention_published.json", "case_dividends.json"}  # tests/sims compares these
ALONE = {"yuma3_scenarios.json": 8, "yuma2_traces.json": 59, "math.json": 54}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize(("name", "fields"), [*EXPECTED.items(), *ALONE.items()])
def test_every_vector_is_within_tolerance(vectors: Path, name: str, fields: int) -> None:
    files = [CASES, name] if name in EXPECTED else [name]
    (report,) = check([str(vectors / file) for file in files])
    assert report.failures() == []
    assert len(report.errors) == fields


def test_a_trace_prints_the_moving_average_before_a_lost_permit_clears_it(tmp_path: Path) -> None:
    """Of two equal stakes the newer gets the only permit. Both rows' averages are printed; one row is stored."""
    both: list[Any] = [[[2, 1]], [[2, 1]], []]
    first: dict[str, Any] = {
        "current_block": 10, "activity_cutoff": 5000, "Last update": [5, 5, 5], "Block at registration": [0, 0, 0],
        "S": [0.5, 0.5, 0], "W": both, "validator_permits": [True, True, True], "max_allowed_validators": 1,
        "new_validator_permits": [False, True, False], "B": [[], [], []], "emaB#2": both, "D": [0.5, 0.5, 0],
        "emaB": [[[2, 0.5]], [[2, 0.5]], []],
    }  # fmt: skip
    second = {"validator_permits": [False, True, False], "B": [[], [[2, 1]], []], "D": [0, 1, 0]}
    (tmp_path / "trace.json").write_text(json.dumps({"permit": {"trace": [first, second]}}))
    (report,) = check([str(tmp_path / "trace.json")])
    assert report.failures() == []
    assert len(report.errors) == 5


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ({}, 0),
        ({"kappa": 0.49999237, "bonds_penalty": 65_535, "bonds_moving_average": 900_000, "yuma3": False}, 0),
        ({"bonds_moving_avg": 0.975}, 1),
        ({"bonds_penalty": 0}, 1),
        ({"kappa": 0.9}, 1),
        ({"yuma3": True}, 2),
        ({"bonds_penalty": "1"}, 2),
    ],
)
@pytest.mark.parametrize("of_all", [True, False])
def test_a_trace_may_state_its_parameters(tmp_path: Path, stated: dict[str, Any], code: int, of_all: bool) -> None:
    """Stakes 5, 3, 2; the smallest is clipped to a third of its weight on UID 4. The first holds all the bonds."""
    epoch: dict[str, Any] = {
        "current_block": 10, "activity_cutoff": 5000, "Last update": [5] * 5, "Block at registration": [0] * 5,
        "S": [0.5, 0.3, 0.2, 0, 0], "W": [[[3, 3], [4, 1]], [[3, 3], [4, 1]], [[3, 1], [4, 3]], [], []],
        "B": [[[3, 1], [4, 1]], [], [], [], []],
        "emaB": [[[3, 0.957692], [4, 0.95]], [[3, 0.034615], [4, 0.03]], [[3, 0.007692], [4, 0.02]], [], []],
    }  # fmt: skip
    trace = {"trace": [epoch]} | ({} if of_all else {"params": stated})
    content = {"a_trace": trace} | ({"params": stated} if of_all else {})
    (tmp_path / "traces.json").write_text(json.dumps(content))
    assert main([str(tmp_path / "traces.json")]) == code


def test_no_vector_is_left_out(vectors: Path) -> None:
    assert {path.name for path in vectors.glob("*.json")} == {CASES, *SIMULATED, *EXPECTED, *ALONE}


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
        ("yuma2_traces.json", ("test_bonds", "trace", 3, "T", 4), 2e-4),
        ("yuma2_traces.json", ("test_bonds", "trace", 3, "B (mask+norm)", 0, 0, 1), 2e-4),
        ("yuma2_traces.json", ("test_bonds", "trace", 1, "dB (norm)", 2, 0, 1), 2e-4),
        ("yuma2_traces.json", ("test_active_stake", "trace", 1, "dB", 1, 0, 1), 2e-4),
        ("yuma2_traces.json", ("test_outdated_weights", "trace", 1, "R (before)", 2), 2e-4),
        ("yuma2_traces.json", ("test_active_stake", "trace", 1, "Inactive", 1), 1),
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


def given(**changes: Any) -> dict[str, Any]:
    """Parameters in the words of the format."""
    usual = {
        "kappa": 0.49999237, "bonds_penalty": 1.0, "bonds_moving_avg": 0.9, "alpha_low": 0.7, "alpha_high": 0.9,
        "liquid_alpha": False, "yuma3": True, "sigmoid_steepness": 10, "bond_storage": "floor(x*65535) between epochs",
    }  # fmt: skip
    return usual | changes


VARIANTS = [
    *(("yuma2", given(yuma3=False, bonds_penalty=b, bonds_moving_avg=m)) for b in (0, 1.0) for m in (0.9, 0.975)),
    *(("yuma3", given(bonds_penalty=b, bonds_moving_avg=m)) for b in (0.0, 0.5, 1) for m in (0.9, 0.975)),
    *(
        ("yuma3_liquid", given(liquid_alpha=True, bonds_penalty=b, bonds_moving_avg=m, alpha_low=lo, alpha_high=hi))
        for b in (0.0, 1.0)
        for m in (0.9, 0.975)
        for lo, hi in ((0.1, 0.3), (0.7, 0.9))
    ),
    ("yuma3", given(kappa=0.6)),
    ("yuma3_liquid", given(liquid_alpha=True, sigmoid_steepness=4)),
]


@pytest.mark.parametrize(("name", "stated"), VARIANTS)
def test_other_parameters_are_read_from_the_file(
    vectors: Path, tmp_path: Path, name: str, stated: dict[str, Any]
) -> None:
    """Outputs of an oracle that shares nothing with davy; with any parameter changed they are another file's."""
    cases = {"mixed": mixed(Stream(7)), **{label: load(vectors / CASES)[label] for label in ("Case 5", "Case 9")}}
    (tmp_path / CASES).write_text(json.dumps(cases))
    content = expected(cases, name, stated)
    files = [str(tmp_path / CASES), str(tmp_path / "expected.json")]
    Path(files[1]).write_text(json.dumps(content))
    (report,) = check(files)
    assert report.failures() == []
    assert len(report.errors) == 15
    assert max(error for (_, field), error in report.errors.items() if field == "bonds") < 3.01 / 65_535
    others = {"kappa": 0.8, "bonds_penalty": 0.8, "bonds_moving_avg": 0.8, "yuma3": not stated["yuma3"]}
    if stated["liquid_alpha"]:
        del others["bonds_moving_avg"]  # it is read where there is no consensus only
        others |= {"liquid_alpha": False, "alpha_low": 0.05, "alpha_high": 0.95, "sigmoid_steepness": 20}
    content["cases"] = {"mixed": content["cases"]["mixed"]}
    for parameter, other in others.items():
        Path(files[1]).write_text(json.dumps(content | {"params": stated | {parameter: other}}))
        assert main(files) == 1, parameter


@pytest.mark.parametrize("size", [1e-300, 1e-12, 0.5, 3.0, 1e12, 1e300])
def test_weights_and_stakes_may_be_of_any_scale(vectors: Path, tmp_path: Path, size: float) -> None:
    """The references normalise each row, and the stakes, so nothing else is said by their sums."""
    cases = {label: load(vectors / CASES)[label] for label in ("Case 5", "Case 9")}
    content = expected(cases, "yuma3", given())
    for case in cases.values():
        case["weights"] = [
            [[w * size if i == 1 else w for w in row] for i, row in enumerate(m)] for m in case["weights"]
        ]
        case["stakes"] = [[stake * size for stake in row] for row in case["stakes"]]
    files = [str(tmp_path / CASES), str(tmp_path / "expected.json")]
    for file, written in zip(files, (cases, content), strict=True):
        Path(file).write_text(json.dumps(written))
    (report,) = check(files)
    assert report.failures() == []


@pytest.mark.parametrize("seed", range(3))
def test_functions_take_numbers_of_any_size_and_as_many_digits_as_a_float(tmp_path: Path, seed: int) -> None:
    """Fractions, which share nothing with davy, agree; and what each file states is read: no error is small by luck."""
    content = functions(seed, 20)
    (tmp_path / "math.json").write_text(json.dumps(content))
    (report,) = check([str(tmp_path / "math.json")])
    assert report.failures() == []
    assert len(report.errors) == 140
    for case in content["sigmoid_safe"]:
        case["kappa"] += 0.1
    (tmp_path / "math.json").write_text(json.dumps(content))
    (report,) = check([str(tmp_path / "math.json")])
    assert {name.split()[0] for name, _ in report.failures()} == {"sigmoid_safe"}


def test_the_independent_oracle_gives_the_published_outputs(vectors: Path) -> None:
    cases = load(vectors / CASES)
    for name in EXPECTED:
        content = load(vectors / name)
        again = expected(cases, content["variant"], content["params"])["cases"]
        for label, fields in content["cases"].items():
            for field, values in fields.items():
                worst = np.abs(np.array(values) - np.array(again[label][field])).max()
                assert worst < (2e-5 if field == "bonds" else 1e-6 if "yuma3" in name else 1e-4), (name, label, field)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"liquid_alpha": "false"}, "liquid_alpha is 'false'; it must be true or false"),
        ({"yuma3": 0}, "yuma3 is 0; it must be true or false"),
        ({"bond_storage": "float64"}, "bonds are stored as 'float64'"),
        ({"liquid_alpha": True, "sigmoid_steepness": 9.5}, "9.5; it must be a whole number"),
        ({"liquid_alpha": True, "sigmoid_steepness": 1_000}, "alpha_steepness is 1000"),
        ({"liquid_alpha": True, "alpha_low": 0.95}, "alpha_high is"),
        ({"bonds_penalty": -0.5}, "not a proportion"),
        ({"bonds_moving_avg": float("nan")}, "bonds_moving_avg is nan; it must be a finite number"),
        ({"bonds_moving_avg": True}, "bonds_moving_avg is True; it must be a finite number"),
        ({"bonds_penalty": True}, "bonds_penalty is True; it must be a finite number"),
        ({"bonds_penalty": "1"}, "bonds_penalty is '1'; it must be a finite number"),
        ({"bonds_penalty": 1.5}, "bonds_penalty is 1.5; it must be a whole number"),
        ({"kappa": 1.5}, "kappa is 1.5; it must be a whole number"),
        ({"kappa": True}, "kappa is True; it must be a finite number"),
        ({"kappa_u16": 32767.9}, "kappa_u16 is 32767.9; it must be a whole number"),
        ({"kappa_u16": "32767"}, "kappa_u16 is '32767'; it must be a finite number"),
        ({"kappa_u16": True}, "kappa_u16 is True; it must be a finite number"),
        ({"max_allowed_validators": True}, "max_allowed_validators is True; it must be a finite number"),
        ({"bond_storage": "u32, not u16"}, "bonds are stored as 'u32, not u16'; only u16 is known"),
        ({"bond_storage": 65_535}, "bonds are stored as 65535; only u16 is known"),
        ({"bond_storage": None}, "bonds are stored as None; only u16 is known"),
        ({"kappa": 0}, "kappa is 0"),
        ({"kappa_u16": 65_536}, "kappa is 65536"),
        ({"max_allowed_validators": 0}, "max_validators is 0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stated: dict[str, Any], message: str
) -> None:
    content = load(vectors / "expected_yuma3.bp1.json")
    content["params"] |= stated
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert main([str(vectors / CASES), str(tmp_path / "other.json")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_kappa_in_u16_is_counted_not_taken_for_a_share(vectors: Path) -> None:
    stated = load(vectors / "yuma3_scenarios.json")["params"]
    assert parameters(stated, 3).kappa == 32_767
    assert parameters(stated | {"kappa_u16": 1}, 3).kappa == 1
    for share, units in ((0.5, 32_767), (0.49999237, 32_767), (0.50000763, 32_768), (0.51, 33_423)):
        assert parameters(given(kappa=share), 3).kappa == units
    assert parameters({**stated, "max_allowed_validators": 2}, 3).max_validators == 2


def test_a_kappa_of_one_half_leaves_a_tie_without_consensus(tmp_path: Path) -> None:
    """Two validators of equal stake who disagree: neither has more than half, so the larger weight is consensus."""
    cases = {"tie": {"validators": ["a", "b"], "servers": ["x"], "weights": [[[1.0], [0.0]]], "stakes": [[0.5, 0.5]]}}
    content = {"variant": "yuma3", "params": given(kappa=0.5), "cases": {"tie": {"consensus": [[1.0]]}}}
    for name, written in (("cases.json", cases), ("expected.json", content)):
        (tmp_path / name).write_text(json.dumps(written))
    assert main([str(tmp_path / "cases.json"), str(tmp_path / "expected.json")]) == 0


def test_whole_numbers_may_be_written_as_floats_and_proportions_in_their_unit() -> None:
    stated: dict[str, Any] = given(bonds_moving_avg=975_000, liquid_alpha=True, alpha_low=0, alpha_high=58_982.0)
    stated |= {"kappa_u16": 32_767.0, "sigmoid_steepness": 10.0, "max_allowed_validators": 2.0, "bonds_penalty": 65_535}
    for storage in ("u16", "U16", "floor(x*65535)", "floored to u16, as stored"):
        assert parameters(stated | {"bond_storage": storage}, 3) == Params(
            kappa=32_767, bond_penalty=65_535, moving_average=975_000, liquid_alpha=True, alpha_low=0,
            alpha_high=58_982, alpha_steepness=10, max_validators=2, permit_zero_stake=True, permit_tie_to_newer=True,
            bond_format=BondFormat.U16,
        )  # fmt: skip
    assert parameters(given(bonds_penalty=1, bonds_moving_avg=0), 3).bond_penalty == 65_535


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        (SCENARIOS, ("scenarios", 0, "test"), 7, "test is 7; it must be a scenario's name"),
        (SCENARIOS, ("scenarios", 0, "n_validators"), 10**6, "n_validators is 1000000; it must be an integer"),
        (SCENARIOS, ("scenarios", 0, "n_servers"), 10**6, "n_servers is 1000000; it must be an integer"),
        (SCENARIOS, ("scenarios", 0, "checked_epochs"), [], "checked_epochs is []; it must name some of the 6 epochs"),
        (SCENARIOS, ("scenarios", 0, "checked_epochs"), [99], "checked_epochs is [99]; it must name"),
        (SCENARIOS, ("scenarios", 0, "checked_epochs"), [0, 1, 2, 3, 4, 4], "each once"),
        (SCENARIOS, ("scenarios", 0, "checked_epochs"), [0, 1], "target_bonds_per_epoch has 6 epochs; 2 are checked"),
        (SCENARIOS, ("scenarios", 0, "weights_u16_per_epoch"), [], "must name some of the 0 epochs"),
        (SCENARIOS, ("scenarios", 0, "bonds_reset_at"), {"6": 3}, "reset at epochs ['6']; there are 6"),
        (SCENARIOS, ("scenarios",), [], "holds nothing to compare"),
        ("math.json", ("interpolate", 0, "tol"), [], "tol is []; it must be a finite number"),
        ("math.json", ("mat_ema_alpha", 0, "tol"), True, "tol is True; it must be a finite number"),
        ("math.json", ("interpolate", 0, "tol"), -1e-9, "tol is -1e-09; it must not be negative"),
        ("math.json", ("interpolate", 0, "tol"), float("inf"), "tol is inf; it must be a finite number"),
        ("math.json", ("interpolate", 0, "ratio"), "1e999999999", "ratio is '1e999999999'; it must be a finite number"),
        ("math.json", ("is_topk", 1, "vector", 0), "1e999999999", "it must be a finite number"),
        ("math.json", ("is_topk", 2, "k"), 2.5, "k is 2.5; it must be a whole number"),
        ("math.json", ("is_topk", 2, "k"), -1, "k is -1; it must not be negative"),
        ("math.json", ("weighted_median", 2, "stake", 0), -0.5, "a stake is negative"),
        ("math.json", ("sigmoid_safe", 0, "kappa"), "0.5", "kappa is '0.5'; it must be a finite number"),
        ("math.json", ("interpolate",), [], "interpolate has no cases to compare"),
        ("yuma2_traces.json", ("test_bonds", "trace"), [], "test_bonds has no epochs to compare"),
        ("yuma2_traces.json", ("test_bonds", "trace", 0, "S"), [0] * 10**5, "test_bonds has 100000 UIDs"),
        (
            "yuma2_traces.json",
            ("test_bonds", "trace", 0, "S", 0),
            1e300,
            "numbers must not be too large for their unit",
        ),
        ("yuma2_traces.json", ("test_bonds", "trace", 0, "W", 0, 0, 1), 1e300, "numbers must not be too large"),
        ("yuma2_traces.json", ("test_bonds", "trace", 0, "W", 0, 0, 0), -1, "a row names column -1; there are 8"),
        (
            "yuma2_traces.json",
            ("test_bonds", "trace", 0, "Last update", 0),
            1.5,
            "Last update is 1.5; it must be a whole",
        ),
        ("yuma2_traces.json", ("test_bonds", "trace", 0, "current_block"), 1.5, "current_block is 1.5; it must be a"),
        (CASES, ("Case 5", "reset_bonds"), "false", "reset_bonds is 'false'; it must be true or false"),
        (CASES, ("Case 5", "reset_bonds_epoch"), None, "reset_bonds_epoch is None; it must be a finite number"),
        (CASES, ("Case 5", "reset_bonds_epoch"), "20", "reset_bonds_epoch is '20'; it must be a finite number"),
        (CASES, ("Case 5", "reset_bonds_epoch"), 40, "bonds are to be reset at epoch 40; there are 40"),
        (CASES, ("Case 5", "reset_bonds_epoch"), -1, "bonds are to be reset at epoch -1; there are 40"),
        (CASES, ("Case 5", "reset_bonds_index"), True, "reset_bonds_index is True; it must be a finite number"),
    ],
)
def test_what_would_be_left_out_or_break_is_refused(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    name: str, place: tuple[str | int, ...], value: Any, message: str,
) -> None:  # fmt: skip
    content = load(vectors / name)
    record = content
    for key in place[:-1]:
        record = record[key]
    record[place[-1]] = value
    (tmp_path / name).write_text(json.dumps(content))
    others = ["expected_yuma3.bp1.json"] if name == CASES else []
    assert main([str(tmp_path / name), *(str(vectors / other) for other in others)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_reset_without_its_epoch_is_refused(vectors: Path, tmp_path: Path) -> None:
    content = load(vectors / CASES)
    del content["Case 5"]["reset_bonds_epoch"]
    (tmp_path / CASES).write_text(json.dumps(content))
    with pytest.raises(BadInput, match="lacks reset_bonds_epoch"):
        check([str(tmp_path / CASES), str(vectors / "expected_yuma3.bp1.json")])


def test_a_second_file_of_cases_is_refused(vectors: Path, tmp_path: Path) -> None:
    (tmp_path / CASES).write_bytes((vectors / CASES).read_bytes())
    with pytest.raises(BadInput, match=r"cases_inputs\.json and .*cases_inputs\.json each hold inputs of cases"):
        check([str(vectors / CASES), str(vectors / "expected_yuma3.bp1.json"), str(tmp_path / CASES)])


def test_a_file_that_compares_nothing_is_refused_beside_one_that_does(vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(json.dumps(load(vectors / "expected_yuma3.bp1.json") | {"cases": {}}))
    with pytest.raises(BadInput, match=r"empty\.json holds nothing to compare"):
        check([str(vectors / CASES), str(vectors / "expected_yuma3.bp1.json"), str(tmp_path / "empty.json")])


def test_half_a_surrogate_pair_in_a_name_is_printed(vectors: Path, tmp_path: Path) -> None:
    content = load(vectors / SCENARIOS)
    content["scenarios"][0]["test"] = "\ud800"
    (tmp_path / SCENARIOS).write_text(json.dumps(content))
    (report,) = check([str(tmp_path / SCENARIOS)])
    assert next(report.lines()).encode().startswith(b"\\ud800 ")


def spoiled(value: Any, rng: Stream) -> Any:
    """A JSON value with one thing in it of another kind, missing, or twice as long."""
    if isinstance(value, dict) and value and rng.chance(85):
        key = sorted(value)[int(rng.integers(0, len(value)))]
        rest = {k: v for k, v in value.items() if k != key}
        return rest if rng.chance(15) else value | {key: spoiled(value[key], rng)}
    if isinstance(value, list) and value and rng.chance(85):
        place = int(rng.integers(0, len(value)))
        return value[:place] if rng.chance(15) else [*value[:place], spoiled(value[place], rng), *value[place + 1 :]]
    others = [None, True, "x", -1, 1e400, float("nan"), 10**30, 0.5, [], {}, [[]], [1, [2]], {"trace": 3}]
    return others[int(rng.integers(0, len(others)))]


@pytest.mark.parametrize("name", [CASES, "expected_yuma2.bp1.json", *ALONE])
def test_no_file_makes_a_traceback(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Whatever is wrong with a file, it is told in one sentence, or as fields that exceed their tolerance."""
    small = {
        file: {label: case for label, case in load(vectors / file).items() if label in ("Case 1", "variant", "params")}
        for file in (CASES, "expected_yuma2.bp1.json")
    }
    outputs = load(vectors / "expected_yuma2.bp1.json")["cases"]["Case 1"]
    small["expected_yuma2.bp1.json"]["cases"] = {"Case 1": {field: values[:4] for field, values in outputs.items()}}
    for field in ("weights", "stakes"):
        small[CASES]["Case 1"][field] = small[CASES]["Case 1"][field][:4]
    content = small.get(name) or load(vectors / name)
    codes: set[int] = set()
    for seed in range(40):
        for file, good in small.items():
            (tmp_path / file).write_text(json.dumps(good))
        (tmp_path / name).write_text(json.dumps(spoiled(content, Stream(seed))))
        files = list(small) if name in small else [name]
        code = main([str(tmp_path / file) for file in files])
        told = capsys.readouterr()
        assert told.err.count("\n") == (1 if code == 2 else 0)
        codes.add(code)
    assert 2 in codes
    assert codes <= {0, 1, 2}


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert main([str(tmp_path / "deep.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


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
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(str(path)), "the file is named"


def test_expected_outputs_need_their_cases(vectors: Path) -> None:
    with pytest.raises(BadInput, match="cases' inputs"):
        check([str(vectors / "expected_yuma3.bp1.json")])
    for others in ([], [SCENARIOS], [SCENARIOS, "math.json"]):
        with pytest.raises(BadInput, match=rf"{CASES} holds inputs of cases: give a file with their expected outputs"):
            check([str(vectors / name) for name in (CASES, *others)])


def test_the_command(vectors: Path) -> None:
    command = [sys.executable, "-m", "davy.incentive.conformance"]
    done = subprocess.run([*command, str(vectors / "math.json")], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "54 of 54 fields within tolerance")
    assert subprocess.run(command, capture_output=True).returncode == 2
    assert subprocess.run([*command, "none.json"], capture_output=True).returncode == 2
