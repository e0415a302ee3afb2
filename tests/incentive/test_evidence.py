"""Evidence at the door, and a mechanism of somebody else's that pays by it: one file, and a line in the registry."""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from davy.incentive import chunks
from davy.incentive.door import BadInput
from davy.incentive.evidence import MAX_ANSWER, MAX_EPOCHS, NOTHING, Evidence
from davy.incentive.fixed_point import ONE
from davy.incentive.mechanism import EpochInputs, Params
from davy.incentive.registry import mechanism
from tests.incentive import epochs
from tests.incentive.audited import FLOOR, Audited, audited_agreement, levels
from tests.incentive.epochs import Stream, ints, replace

ROOT = Path(__file__).parents[2]
ROWS, COLUMNS, TASKS = 4, 6, 48
HONEST, CONSTANT, STALE, SILENT = range(ROWS)


def evidence(seed: int) -> Evidence:
    """Two epochs of tasks with answers 0 to 2, which change in half of the columns; a third of the last is audited.

    The first row reports the truth in three of four tasks, the second always 1, the third what most said before.
    """
    rng = Stream(seed)
    columns = np.tile(np.arange(TASKS, dtype=np.int64) % COLUMNS, (2, 1))
    before = rng.integers(0, 3, COLUMNS)
    after = np.where(rng.chance(50, COLUMNS), before, rng.integers(0, 3, COLUMNS))
    truth = np.stack(
        [before[columns[0]], np.where(rng.chance(70, TASKS), after[columns[1]], rng.integers(0, 3, TASKS))]
    )
    honest = np.where(rng.chance(75, (2, TASKS)), truth, rng.integers(0, 3, (2, TASKS)))
    silent = np.full((2, TASKS), NOTHING)
    reports = np.stack([honest, np.ones((2, TASKS)), truth[[0, 0]], silent], axis=1).astype(np.int8)
    told = Evidence(reports=reports, labels=silent.astype(np.int8), columns=columns)
    reports[1, STALE] = levels(told)
    labels = np.where(rng.chance(35, TASKS), truth[1], NOTHING)
    return replace(told, reports=reports, labels=np.stack([silent[0], labels]).astype(np.int8))


def by_fractions(e: Evidence, row: int) -> Fraction:
    """A once more, from the formula."""
    level, labels, said = levels(e).tolist(), e.labels[-1].tolist(), e.reports[-1, row].tolist()
    audits = [t for t, z in enumerate(labels) if z != NOTHING]
    total = Fraction(0)
    for k in set(level):
        here = [t for t in audits if level[t] == k]
        for a in range(3) if here else ():
            both = Fraction(sum(said[t] == labels[t] == a for t in here), len(here))
            one = Fraction(sum(said[t] == a for t in here), len(here))
            other = Fraction(sum(labels[t] == a for t in here), len(here))
            total += Fraction(len(here), len(audits)) * (both - one * other)
    return total


def inputs(e: Evidence | None) -> EpochInputs:
    return replace(EpochInputs.unmasked(np.ones((ROWS, COLUMNS), dtype=np.int64), ints(1, 1, 1, 1)), evidence=e)


@pytest.mark.parametrize("seed", range(8))
def test_who_looked_is_paid_and_who_repeats_what_all_know_is_not(seed: int) -> None:
    e = evidence(seed)
    agreed = audited_agreement(e)
    for row in range(ROWS):
        assert abs(Fraction(int(agreed[row]), ONE) - by_fractions(e, row)) < Fraction(18, ONE)
    assert agreed[HONEST] > ONE // 12
    assert -18 < agreed[CONSTANT] <= 0
    assert -18 < agreed[STALE] <= 0
    assert agreed[SILENT] == 0
    chosen = Audited()
    state, result = chosen.epoch(chosen.initial((ROWS, COLUMNS)), inputs(e), Params())
    known, plain = mechanism("yuma3").epoch(chosen.initial((ROWS, COLUMNS)), inputs(None), Params())
    assert plain.dividends.tolist() == [ONE // 4] * 4, "which asks for no more than agreeing weights"
    assert np.ptp(result.dividends[[CONSTANT, STALE, SILENT]]) <= 1, "a unit of the largest remainder"
    assert result.dividends[HONEST] * FLOOR > result.dividends[CONSTANT] * (FLOOR + int(agreed[HONEST]) // 2)
    assert int(result.dividends.sum()) == ONE
    assert (state.bonds == known.bonds).all()
    assert result.incentive.tolist() == plain.incentive.tolist()


def test_what_the_epoch_before_said_decides_what_is_news() -> None:
    """With the answer of the epoch before taken away, repeating it is agreement again."""
    e = evidence(3)
    hidden = replace(e, columns=np.stack([np.full(TASKS, NOTHING, dtype=np.int64), e.columns[1]]))
    assert set(levels(hidden).tolist()) == {NOTHING}
    assert audited_agreement(hidden)[STALE] > ONE // 20


@pytest.mark.parametrize("elements", [1, 1 << 15])
def test_a_batch_with_evidence_is_its_runs(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
    runs = [evidence(seed) for seed in range(6)]
    names = ("reports", "labels", "columns")
    together = Evidence(
        **{
            name: np.stack([getattr(e, name) for e in runs]).reshape(2, 3, *getattr(runs[0], name).shape)
            for name in names
        }
    )
    weights = np.ones((2, 3, ROWS, COLUMNS), dtype=np.int64)
    chosen = Audited()
    x = replace(inputs(None), weights=weights, evidence=together)
    _, result = chosen.epoch(chosen.initial(weights.shape), x, Params())
    for i, e in enumerate(runs):
        _, alone = chosen.epoch(chosen.initial((ROWS, COLUMNS)), inputs(e), Params())
        assert result.dividends[i // 3, i % 3].tolist() == alone.dividends.tolist()
    _, shared = chosen.epoch(chosen.initial(weights.shape), replace(x, evidence=runs[2]), Params())
    assert (shared.dividends == result.dividends[0, 2]).all()


@pytest.mark.parametrize("name", ["yuma2", "yuma3"])
def test_a_yuma_reads_no_evidence(name: str) -> None:
    chosen = mechanism(name)
    for seed in range(5):
        s, x, p = epochs.epoch(seed, ROWS, COLUMNS)
        state, result = chosen.epoch(s, x, p)
        other, same = chosen.epoch(s, replace(x, evidence=evidence(seed)), p)
        assert (other.bonds == state.bonds).all()
        for field, values in epochs.arrays(result).items():
            assert (epochs.arrays(same)[field] == values).all()


@pytest.mark.parametrize("said", [NOTHING, MAX_ANSWER])
def test_the_lowest_and_the_highest_answer_are_taken(said: int) -> None:
    everywhere = np.full((2, ROWS, TASKS), said, dtype=np.int8)
    assert (replace(evidence(1), reports=everywhere).reports == said).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reports": np.zeros((2, ROWS, TASKS), dtype=np.int64)}, "reports is int64"),
        ({"reports": np.full((2, ROWS, TASKS), -2, dtype=np.int8)}, "reports holds -2"),
        ({"reports": np.full((2, ROWS, TASKS), MAX_ANSWER + 1, dtype=np.int8)}, "reports holds 127"),
        ({"reports": np.zeros((ROWS, TASKS), dtype=np.int8)}, "reports has shape"),
        ({"reports": np.zeros((MAX_EPOCHS + 1, ROWS, TASKS), dtype=np.int8)}, "reports has shape"),
        ({"reports": np.zeros((2, ROWS, 0), dtype=np.int8)}, "reports is int8"),
        ({"labels": np.zeros((1, TASKS), dtype=np.int8)}, "labels has shape"),
        ({"labels": np.zeros((2, TASKS))}, "labels is float64"),
        ({"columns": np.zeros((2, TASKS), dtype=np.int8)}, "columns is int8"),
        ({"columns": np.full((2, TASKS), -2)}, "columns holds"),
        ({"columns": np.zeros((2, TASKS + 1), dtype=np.int64)}, "columns has shape"),
    ],
)
def test_evidence_that_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(evidence(0), **change)


def test_evidence_belongs_to_its_weights() -> None:
    e = evidence(0)
    with pytest.raises(BadInput, match="4 rows; weights have"):
        replace(
            inputs(e),
            weights=np.ones((7, ROWS, COLUMNS), dtype=np.int64),
            evidence=replace(e, reports=e.reports[None], labels=e.labels[None], columns=e.columns[None]),
        )
    with pytest.raises(BadInput, match=r"evidence has the batch \(\) and 3 rows"):
        inputs(replace(e, reports=e.reports[:, :3]))
    with pytest.raises(BadInput, match="of column 6; there are 6"):
        inputs(replace(e, columns=e.columns + 1))


OUTSIDE = """
from davy.incentive import looked
from davy.incentive.registry import mechanism
from davy.protocol.errors import TxCode
from davy.protocol.limits import hyperparameters
from davy.protocol.transaction import CreateSubnet
from tests.ledger.rules.world import World, genesis, market

calls = []
rule = looked.audited
looked.audited = lambda s, x, p: (calls.append(x.weights.shape), rule(s, x, p))[1]
w = market(genesis(mechanism="looked"))
w.ok("ann", CreateSubnet("another", "looked", hyperparameters()))
print(looked.__file__, type(mechanism("looked")).__name__, w.subnet().mechanism, w.subnet(0).mechanism, *calls)
"""


def test_one_file_and_a_line_make_a_mechanism_that_a_subnet_can_choose(tmp_path: Path) -> None:
    """In a copy of the package, with nothing else changed, a ledger's epochs run it."""
    package = tmp_path / "davy"
    package.mkdir()
    for entry in (ROOT / "davy").iterdir():
        if entry.name not in ("incentive", "__pycache__"):
            (package / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "davy" / "incentive", package / "incentive", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parent / "audited.py", package / "incentive" / "looked.py")
    registry = package / "incentive" / "registry.py"
    text = registry.read_text()
    line = '{"yuma2": Yuma2(), "yuma3": Yuma3()'
    assert text.count(line) == 1
    registry.write_text(
        text.replace(line, f'{line}, "looked": Looked()').replace(
            "from davy.incentive.yuma2",
            "from davy.incentive.looked import Audited as Looked\nfrom davy.incentive.yuma2",
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE],
        capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == [
        str(package / "incentive" / "looked.py"),
        "Audited",
        "looked",
        "looked",
        "(1,",
        "4)",
        "(2,",
        "4)",
    ]
