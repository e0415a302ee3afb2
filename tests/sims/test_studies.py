"""What holds of every study: the same bits however it is played, every metric, and a folder that can be taken up."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from davy.protocol.errors import Misconfigured
from davy.sims import Study, run, studies, study, sweep
from davy.sims import running as at_work
from davy.sims.result import joined

NAMES = list(studies())


def small(name: str) -> Study:
    return study(name).having({"runs": 3})


@pytest.mark.parametrize("name", NAMES)
def test_neither_chunks_nor_folders_change_a_bit(name: str, tmp_path: Path) -> None:
    s = small(name)
    whole = run(s)
    assert whole.numbers.shape == (2, 3, s.steps, len(s.columns))
    assert np.array_equal(run(s, chunk=1).numbers, whole.numbers)
    run(s.having({"runs": 2}), folder=tmp_path)
    assert np.array_equal(run(s, folder=tmp_path).numbers, whole.numbers)
    (kept,) = at_work.read(tmp_path)
    assert kept.scenario == s
    assert np.array_equal(kept.numbers, whole.numbers)
    assert not np.array_equal(run(s.having({"seed": 2})).numbers, whole.numbers)


def test_nor_do_workers() -> None:
    s = small("time-to-stop")
    assert np.array_equal(run(s, jobs=2, chunk=1).numbers, run(s).numbers)


@pytest.mark.parametrize("name", NAMES)
def test_each_metric_is_measured_and_each_run_has_a_row(name: str) -> None:
    result = run(small(name))
    assert set(result.metrics) == set(result.scenario.metrics)
    assert all(values.shape == (3,) for values in result.metrics.values())
    assert result.summary()["metric"].to_list() == list(result.scenario.metrics)
    table = result.table()
    assert table["run"].to_list() == [0, 1, 2]
    assert set(table["attack.kind"]) == {name}


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_story(name: str) -> None:
    assert study(name).kind == name
    assert "Attributes" not in study(name).story
    assert len(study(name).story) > 200


def test_a_sweep_goes_over_a_study_too() -> None:
    results = sweep(small("time-to-stop"), {"silent": [0.0, "0.5"], "nodes": [20]})
    assert [r.scenario.parameters()["silent"] for r in results] == [0.0, 0.5]
    assert joined(results).select(pl.col("silent").n_unique()).item() == 2


def test_what_there_is_not_is_said() -> None:
    with pytest.raises(Misconfigured, match="time-to-stop"):
        study("cartel")
    with pytest.raises(Misconfigured, match="nodes"):
        study("time-to-stop").having({"node": 3})
