"""A scenario gives the same bits however it is played; what is finished stays finished."""

import errno
import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from davy.incentive.fixed_point import U16
from davy.protocol.errors import Misconfigured
from davy.sims import Scenario, run, scenario, scenarios, sweep
from davy.sims import running as at_work
from davy.sims.kinds import play_apart
from davy.sims.measuring import ANY, measure, narrowed
from davy.sims.noise import UNIT, normal
from davy.sims.play import play
from davy.sims.result import chunk_table, joined

SMALL = {"market.validators": 6, "market.miners": 10, "attack.validators": 2, "start": 6, "epochs": 5, "runs": 6}


def small(name: str = "lazy-random", **more: object) -> Scenario:
    return scenario(name).having(SMALL | more)


def digest(numbers: np.ndarray) -> str:
    return hashlib.sha256(numbers.astype("<i8").tobytes()).hexdigest()


def test_neither_chunks_nor_workers_change_a_bit() -> None:
    whole = run(small()).numbers
    assert whole.shape[:3] == (2, 6, 5)
    for chunk, jobs in ((1, 1), (4, 1), (2, 2)):
        assert np.array_equal(run(small(), chunk=chunk, jobs=jobs).numbers, whole)


def test_compiled_no_attack_changes_a_bit() -> None:
    """Neither the incentive nor what validators measure: copies are judged by it, loud noise goes beyond a weight."""
    changes = [(name, {}) for name in scenarios()] + [("lazy-random", {"params.liquid_alpha": True})]
    for name, more in [*changes, ("cartel", {"market.noise": 1.0}), ("selective-quality", {"attack.looked_at": 3})]:
        s = scenario(name).having({"market.validators": 7, "market.miners": 13, "start": 6, "epochs": 5, "runs": 2})
        s = s.having({"market.concealment": 1, **more})
        assert np.array_equal(run(s, compiled=True).numbers, run(s).numbers), name


@pytest.mark.parametrize("deviation", [1.0, 0.6])
@pytest.mark.parametrize("most", [ANY, U16, 9_000])
def test_a_measurement_is_the_same_in_one_pass(most: int, deviation: float) -> None:
    wide = normal(deviation, 1.0, 0.0)
    table = narrowed(wide)
    assert table.dtype == (np.int32 if deviation == 1 else np.uint16)
    assert np.array_equal(table, wide)
    words = np.arange(1 << 16, dtype=np.uint16).reshape(2, 64, 512)
    quality = np.linspace(0, UNIT, 2 * 2 * 512, dtype=np.int64).reshape(2, 2, 512)
    reference, found = (measure(compiled=c)(quality, table, words, most) for c in (False, True))
    exact = quality.astype(object)[:, :, None] * table.take(words).astype(object) // UNIT
    assert reference.dtype == found.dtype == (np.int64 if most > U16 else np.uint16)
    assert np.array_equal(reference, np.minimum(exact, most).astype(np.int64))
    assert np.array_equal(reference, found)
    assert (exact.max() > U16) == (deviation == 1)
    assert reference.max() == min(most, exact.max())


def test_a_run_does_not_depend_on_how_many_there_are() -> None:
    assert np.array_equal(run(small(runs=2)).numbers, run(small()).numbers[:, :2])


def test_another_seed_and_another_run_are_other_numbers() -> None:
    numbers = run(small()).numbers
    assert not np.array_equal(numbers, run(small(seed=2)).numbers)
    assert len({digest(numbers[:, r]) for r in range(6)}) == 6


def test_the_bits_are_those_of_this_revision() -> None:
    """A change here is a change of every result anybody has cited: raise `experiment.REVISION`."""
    assert digest(run(small("cartel", **{"attack.miners": 2})).numbers) == GOLDEN


GOLDEN = "280f54501834d271a445d742861d9646b153c8ad794ee2e0416a03fac6632a33"


def test_arms_are_alike_until_the_attack_and_without_one() -> None:
    numbers = run(small("honest")).numbers
    arms = [numbers[a][..., :-1] for a in (0, 1)]  # what is noticed counts other rows in each
    assert np.array_equal(*arms)
    assert not np.array_equal(*run(small()).numbers)


@pytest.mark.parametrize("name", list(scenarios()))
def test_every_token_of_an_epoch_is_accounted_for(name: str) -> None:
    result = run(scenario(name).having({"runs": 2, "epochs": 8}))
    for arm in ("honest", "attack"):
        paid = sum(
            result.arrays[f"{arm}.{side}"]
            for side in ("attack_validators", "attack_miners", "honest_validators", "honest_miners", "owner", "lost")
        )
        assert np.array_equal(paid, np.full((2, 8), 100 * 10**9))


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[range] = []

    def noted(at: int, s: Scenario, runs: range, compiled: bool) -> tuple[int, range, np.ndarray]:
        if len(played) == 2 and not done:
            raise KeyboardInterrupt
        played.append(runs)
        return play_apart(at, s, runs, compiled)

    done = False
    monkeypatch.setattr(at_work, "play_apart", noted)
    with pytest.raises(KeyboardInterrupt):
        run(small(), chunk=2, folder=tmp_path)
    assert played == [range(2), range(2, 4)]
    (half,) = at_work.read(tmp_path)
    assert half.runs.tolist() == [0, 1, 2, 3]
    done = True
    result = run(small(), chunk=5, folder=tmp_path)
    assert played[2:] == [range(4, 6)]
    assert np.array_equal(result.numbers, run(small()).numbers)
    assert np.array_equal(run(small(runs=3), folder=tmp_path).numbers, result.numbers[:, :3])


def test_each_process_has_some_of_the_runs_and_none_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[int, list[range]]] = []

    def noted(work: list[Any], jobs: int, cluster: str | None) -> Iterator[tuple[int, range, np.ndarray]]:
        started.append((jobs, [runs for _, _, runs, _ in work]))
        yield from itertools.starmap(play_apart, work)

    monkeypatch.setattr(at_work, "_played", noted)
    whole = run(small()).numbers
    for jobs in (4, 100_000):
        assert np.array_equal(run(small(), jobs=jobs).numbers, whole)
    sweep(small(runs=2), {"attack.stake": [0.1, 0.2, 0.3]}, jobs=2)
    assert started == [
        (1, [range(6)]),
        (3, [range(2), range(2, 4), range(4, 6)]),
        (6, [range(r, r + 1) for r in range(6)]),
        (2, [range(2)] * 3),
    ]


def test_ctrl_c_is_left_to_who_started_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "play_apart", signal.getsignal)
    told = list(at_work._played([(signal.SIGINT,), (signal.SIGINT,)], 2, None))  # type: ignore[list-item]
    assert told == [signal.SIG_IGN] * 2


def test_workers_do_not_outlive_who_started_them() -> None:
    """They hold its standard output: that ends with the last of them."""
    code = (
        "import os, signal\n"
        "from davy.sims import running\n"
        "running.play_apart = os.getppid\n"
        "print(*running._played([(), ()], 2, None), os.getpid(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(set(done.stdout.split())) == 1


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, place = run(small()), tmp_path / "t.parquet"
    result.write(place)
    before = place.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for name in ("t.parquet", "new.csv"):
        with pytest.raises(OSError, match="No space left") as told:
            result.write(tmp_path / name)
        assert told.value.filename == str(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert place.read_bytes() == before


def test_a_run_that_two_processes_played_counts_once(tmp_path: Path) -> None:
    run(small(), chunk=3, folder=tmp_path)
    (first, _) = sorted(tmp_path.glob("*/chunk-*"))
    overlapping = chunk_table(small(), range(2, 5), play(small(), range(2, 5)))
    overlapping.write_parquet(first.with_name("chunk-0000002-0000005.parquet"))
    result = run(small(), folder=tmp_path)
    assert result.runs.tolist() == list(range(6))
    assert np.array_equal(result.numbers, run(small()).numbers)


def test_more_runs_and_another_scenario_share_a_folder(tmp_path: Path) -> None:
    run(small(runs=2), folder=tmp_path)
    run(small(runs=4), folder=tmp_path)
    run(small(seed=2), folder=tmp_path)
    found = {r.scenario.seed: r for r in at_work.read(tmp_path)}
    assert {seed: len(r.runs) for seed, r in found.items()} == {1: 4, 2: 6}
    assert found[1].scenario == small(runs=4)


def test_a_chunk_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    run(small(), chunk=3, folder=tmp_path)
    first, second = sorted(tmp_path.glob("*/chunk-*"))
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Misconfigured, match="remove it"):
        run(small(), folder=tmp_path)
    first.write_bytes(second.read_bytes())
    with pytest.raises(Misconfigured, match="remove it"):
        run(small(), folder=tmp_path)
    first.unlink()
    assert np.array_equal(run(small(), folder=tmp_path).numbers, run(small()).numbers)


def test_a_folder_of_another_version_is_not_continued(tmp_path: Path) -> None:
    run(small(), folder=tmp_path)
    (told,) = tmp_path.glob("*/scenario.json")
    told.write_bytes(told.read_bytes().replace(b'"revision": 2', b'"revision": 0'))
    with pytest.raises(Misconfigured, match=f"^{re.escape(str(told.parent))}.*revision 0"):
        at_work.read(tmp_path)


def test_a_sweep_is_every_combination_in_one_table(tmp_path: Path) -> None:
    over = {"attack.stake": [0.1, 0.4], "mechanism": ["yuma2", "yuma3"]}
    results = sweep(small(runs=2), over)
    assert [(r.scenario.attack.stake, r.scenario.mechanism) for r in results] == [
        (0.1, "yuma2"),
        (0.1, "yuma3"),
        (0.4, "yuma2"),
        (0.4, "yuma3"),
    ]
    table = joined(results)
    assert table.height == 8
    assert table.group_by("attack.stake", "mechanism").len().height == 4
    alone = run(small(runs=2).having({"attack.stake": 0.4, "mechanism": "yuma2"}))
    assert np.array_equal(alone.numbers, results[2].numbers)


def test_tables_are_written_and_say_what_made_them(tmp_path: Path) -> None:
    result = run(small())
    for name, read in (("t.parquet", pl.read_parquet), ("t.csv", pl.read_csv)):
        result.write(tmp_path / name)
        table = read(tmp_path / name)
        assert table["run"].to_list() == list(range(6))
        assert table["relative_pay"].to_list() == result.metrics["relative_pay"].tolist()
        assert set(table["seed"]) == {1}
        assert set(table["attack.kind"]) == {"lazy-random"}
        assert table["revision"][0] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.parquet"]
    with pytest.raises(Misconfigured, match="parquet"):
        result.write(tmp_path / "t.xlsx")
    epochs = result.by_epoch()
    assert epochs.height == 30
    assert epochs.filter(pl.col("run") == 3)["attack.lost"].to_list() == result.arrays["attack.lost"][3].tolist()
