"""Training is repeatable and resumable: the same run gives the same bytes, whole or in two parts."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from davy import models
from training import train as training
from training.text import Rows
from training.tokenizer import learn
from training.train import Run, rate_at, train

RUN = Run(name="tiny", seed=5, steps=6, shape="weak", rows=2, rate=4e-3, threads=1, early=3, compute="float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    text = models.SEPARATOR.join(models.training()[:300]).encode()
    (folder / "training.txt.xz").write_bytes(lzma.compress(text))
    (folder / "heldout.txt").write_text(models.SEPARATOR.join(models.heldout()[:8]))
    return folder


@pytest.fixture(autouse=True)
def settings() -> object:
    """A run sets torch's threads and determinism; the tests after it shall not see that."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_same_run_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    for part in ("first", "second"):
        train(RUN, corpus, tmp_path / part / "state", tmp_path / part)
    other = Run(**{**vars(RUN), "seed": 6})
    train(other, corpus, tmp_path / "other" / "state", tmp_path / "other")
    assert weights(tmp_path / "first") == weights(tmp_path / "second")
    assert weights(tmp_path / "first") != weights(tmp_path / "other")
    assert json.loads((tmp_path / "first" / "training.json").read_text())["seed"] == 5


def test_a_run_that_was_stopped_ends_as_if_it_had_not(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PROBE", 2)
    train(RUN, corpus, tmp_path / "whole" / "state", tmp_path / "whole")
    step, stop = training.train_step, iter([False] * 5 + [True])

    def stopped(*given: object) -> float:
        if next(stop):
            raise KeyboardInterrupt
        return step(*given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(training, "train_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, corpus, tmp_path / "parts" / "state", tmp_path / "parts")
    assert json.loads((tmp_path / "parts" / "state" / "state.json").read_text())["step"] == 4
    monkeypatch.setattr(training, "train_step", step)
    train(RUN, corpus, tmp_path / "parts" / "state", tmp_path / "parts")
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_nothing_of_a_state_is_a_pickle(corpus: Path, tmp_path: Path) -> None:
    train(RUN, corpus, tmp_path / "state", tmp_path / "out")
    written = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {".safetensors", ".json", ".jsonl"}


def test_the_rate_warms_up_stays_and_falls() -> None:
    run = Run(**{**vars(RUN), "steps": 1000})
    rates = [rate_at(step, run) / run.rate for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert set(rates[99:751]) == {1.0}
    assert np.all(np.diff(rates[750:]) < 0)
    assert rates[-1] == pytest.approx(1 / 250)


def test_a_row_is_of_its_step_and_place_alone() -> None:
    documents = models.training()[:200]
    tokenizer = learn(documents)
    rows = Rows(documents, tokenizer, seed=1, length=65)
    batch = rows.batch(7, 4)
    rows.batch(8, 4)
    assert batch.shape == (4, 65)
    assert np.array_equal(rows.batch(7, 4), batch)
    assert np.array_equal(rows.batch(7, 2), batch[:2])
    assert not np.array_equal(rows.batch(8, 4), batch)
    assert not np.array_equal(Rows(documents, tokenizer, seed=2, length=65).batch(7, 4), batch)
