"""The forward passes: equal to transformers', and for a row in a batch equal to the row alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file

from davy.models import NAMES, llama_numpy, llama_torch
from davy.models.checkpoint import open_checkpoint
from davy.models.llama import parameters, shape_of, sizes
from davy.models.loading import load_model
from davy.protocol.errors import Misconfigured
from tests.miners import tiny

PROMPTS = [[5, 17, 200, 3], [99], [7, 7, 7, 8, 9, 250, 31, 64, 12], [1, 2]]


def in_torch(folder: Path) -> llama_torch.Llama:
    checkpoint = open_checkpoint(folder)
    shape = shape_of(checkpoint.config)
    assert shape is not None
    return llama_torch.Llama(checkpoint, shape, torch.float32, "cpu")


def in_numpy(folder: Path) -> llama_numpy.Llama:
    checkpoint = open_checkpoint(folder)
    shape = shape_of(checkpoint.config)
    assert shape is not None
    return llama_numpy.Llama(checkpoint, shape)


def through_transformers(folder: Path) -> Any:
    from davy.models.automodel import AutoModel

    return AutoModel(open_checkpoint(folder), torch.float32, "cpu")


PLAIN = (in_torch, in_numpy)
ALL = (*PLAIN, through_transformers)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)


def run(model: Any, prompts: list[list[int]], steps: int) -> list[npt.NDArray[np.float32]]:
    """Logits of the prompts and of some steps after them: [steps + 1] of [B, V]."""
    rows, logits = model.start(prompts, steps)
    return [logits, *(model.step(rows, [10 + step + i for i in range(len(prompts))]) for step in range(steps))]


@pytest.mark.parametrize("make", PLAIN)
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_transformers(tmp_path: Path, make: Callable[[Path], Any], tied: bool) -> None:
    from transformers import LlamaForCausalLM

    folder = tiny.write(tmp_path / "m", seed=4, tied=tied)
    reference = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    for prompt in PROMPTS:
        with torch.inference_mode():
            expected = reference(torch.tensor([[*prompt, 10, 11, 12]])).logits[0, len(prompt) - 1 :]
        close(np.concatenate(run(make(folder), [prompt], 3)), expected)
        assert expected.std() > 0.05, "a model that says nothing would agree with anything"


@pytest.mark.parametrize("make", ALL)
def test_a_row_of_a_batch_is_the_row_alone(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    model = make(tiny.write(tmp_path / "m", seed=5))
    together = run(model, PROMPTS, 4)
    for i, prompt in enumerate(PROMPTS):
        rows, logits = model.start([prompt], 4)
        close(together[0][i], logits[0])
        for step in range(4):
            logits = model.step(rows, [10 + step + i])
            close(together[step + 1][i], logits[0])


@pytest.mark.parametrize("make", ALL)
def test_rows_that_stay_do_not_notice_those_that_leave(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    model = make(tiny.write(tmp_path / "m", seed=6))
    rows, _ = model.start(PROMPTS, 2)
    model.step(rows, [1, 2, 3, 4])
    rows.keep([2, 3])
    after = model.step(rows, [5, 6])
    for row, (prompt, first, second) in enumerate([(PROMPTS[2], 3, 5), (PROMPTS[3], 4, 6)]):
        _, alone = model.start([[*prompt, first, second]], 0)
        close(after[row], alone[0])


@pytest.mark.parametrize("make", ALL)
def test_a_sequence_read_at_once_says_what_it_says_token_by_token(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    model = make(tiny.write(tmp_path / "m", seed=7))
    whole = [[*prompt, 10 + i, 11 + i] for i, prompt in enumerate(PROMPTS)]
    expected = np.stack(run(model, PROMPTS, 2), 1)
    close(model.read(whole, 3), expected)


@pytest.mark.parametrize("make", ALL)
def test_a_sequence_shorter_than_what_is_read_of_others_is_read_beside_them(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    """Who chose one prompt could else hide what a validator would find of all others in its batch."""
    model = make(tiny.write(tmp_path / "m", seed=8))
    short, long = [5], [7, 7, 8, 9, 250]
    read = model.read([short, long], 4)
    assert read.shape[:2] == (2, 4)
    close(read[0, -1:], model.read([short], 1)[0])
    close(read[1], model.read([long], 4)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gemma"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"num_hidden_layers": "two"},
    ],
)
def test_what_is_not_written_here_is_left_to_transformers(tmp_path: Path, change: dict[str, Any]) -> None:
    config = dict(open_checkpoint(tiny.write(tmp_path / "m")).config)
    assert shape_of(config) is not None
    assert shape_of({**config, **change}) is None


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
    "change",
    [{"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"vocab_size": 99}, {"intermediate_size": 99}],
    ids=repr,
)
def test_weights_that_do_not_fit_the_configuration_are_refused(
    tmp_path: Path, make: Callable[[Path], Any], change: dict[str, Any]
) -> None:
    """Left out, cut or drawn anew they would answer, and be another model than its id says."""
    folder = tiny.write(tmp_path / "m", seed=6)
    config = json.loads((folder / "config.json").read_text())
    assert all(config[key] != value for key, value in change.items())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(Misconfigured, match=r"config\.json|lacks the weights|transformers cannot load"):
        make(folder)


@pytest.mark.parametrize("name", NAMES)
def test_the_models_that_come_with_davy_fit_their_configuration(name: str) -> None:
    checkpoint = open_checkpoint(Path(name))
    shape = shape_of(checkpoint.config)
    assert shape is not None
    held = {k: v.shape for path in checkpoint.weights for k, v in load_file(path).items()}
    assert held == {k: v for k, v in sizes(shape).items() if k != "lm_head.weight"}


@pytest.mark.parametrize("name", NAMES)
def test_numpy_says_what_torch_says_of_the_models_that_come_with_davy(name: str) -> None:
    """Nearer by far than what an identity's calibration lets pass: 1.6e-4 of a log-probability."""
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, 1_500, n).tolist() for n in (350, 3, 80, 81)]
    close(in_numpy(Path(name)).read(prompts, 3), in_torch(Path(name)).read(prompts, 3))


@pytest.mark.parametrize(
    ("how", "engine"),
    [
        ({}, llama_numpy.Llama),
        ({"threads": 2}, llama_torch.Llama),
        ({"dtype": "bfloat16"}, llama_torch.Llama),
        ({"engine": "torch"}, llama_torch.Llama),
        ({"engine": "numpy", "threads": 2}, llama_numpy.Llama),
    ],
)
def test_a_small_llama_is_computed_in_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], engine: type
) -> None:
    checkpoint = open_checkpoint(tiny.write(tmp_path / "m"))
    try:
        assert type(load_model(checkpoint, 1, **how)) is engine
        shape = shape_of(checkpoint.config)
        assert shape is not None
        monkeypatch.setattr("davy.models.loading.LIGHT", parameters(shape) - 1)
        wanted = llama_numpy.Llama if how.get("engine") == "numpy" else llama_torch.Llama
        assert type(load_model(checkpoint, 1, **how)) is wanted
    finally:
        torch.set_num_threads(1)


def test_numpy_is_refused_what_it_cannot_compute(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(tiny.write(tmp_path / "m"))
    with pytest.raises(Misconfigured, match="float32 on the cpu only; choose torch"):
        load_model(checkpoint, 1, engine="numpy", dtype="bfloat16")
    with pytest.raises(Misconfigured, match="choose auto, numpy, torch"):
        load_model(checkpoint, 1, engine="jax")
    with pytest.raises(Misconfigured, match="choose float32"):
        load_model(checkpoint, 1, dtype="int8")
    path = checkpoint.weights[0]
    path.write_bytes((9).to_bytes(8, "little") + b"[1, 2, 3]")
    with pytest.raises(Misconfigured, match="damaged safetensors"):
        load_model(checkpoint, 1)


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 0}, {"num_hidden_layers": 10**8}, {"head_dim": -1}, {"vocab_size": 10**12}],
    ids=repr,
)
def test_sizes_that_no_model_has_are_refused_before_anything_is_made_of_them(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tiny.write(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(Misconfigured, match="no model has that"):
        load_model(open_checkpoint(folder), 1)
