"""The forward passes: equal to transformers', and for a row in a batch equal to the row alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from davy.models import NAMES
from davy.models.checkpoint import open_checkpoint
from davy.models.llama import Llama, shape_of, sizes
from davy.protocol.errors import Misconfigured
from tests.miners import tiny

PROMPTS = [[5, 17, 200, 3], [99], [7, 7, 7, 8, 9, 250, 31, 64, 12], [1, 2]]


def plain(folder: Path) -> Llama:
    checkpoint = open_checkpoint(folder)
    shape = shape_of(checkpoint.config)
    assert shape is not None
    return Llama(checkpoint, shape, torch.float32, "cpu")


def through_transformers(folder: Path) -> Any:
    from davy.models.automodel import AutoModel

    return AutoModel(open_checkpoint(folder), torch.float32, "cpu")


def run(model: Any, prompts: list[list[int]], steps: int) -> list[torch.Tensor]:
    """Logits of the prompts and of some steps after them: [steps + 1] of [B, V]."""
    rows, logits = model.start(prompts, steps)
    return [logits, *(model.step(rows, [10 + step + i for i in range(len(prompts))]) for step in range(steps))]


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_transformers(tmp_path: Path, tied: bool) -> None:
    from transformers import LlamaForCausalLM

    folder = tiny.write(tmp_path / "m", seed=4, tied=tied)
    reference = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    for prompt in PROMPTS:
        with torch.inference_mode():
            expected = reference(torch.tensor([[*prompt, 10, 11, 12]])).logits[0, len(prompt) - 1 :]
        found = torch.cat(run(plain(folder), [prompt], 3))
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
        assert expected.std() > 0.05, "a model that says nothing would agree with anything"


@pytest.mark.parametrize("make", [plain, through_transformers])
def test_a_row_of_a_batch_is_the_row_alone(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    model = make(tiny.write(tmp_path / "m", seed=5))
    together = run(model, PROMPTS, 4)
    for i, prompt in enumerate(PROMPTS):
        rows, logits = model.start([prompt], 4)
        torch.testing.assert_close(together[0][i], logits[0], atol=2e-5, rtol=1e-5)
        for step in range(4):
            logits = model.step(rows, [10 + step + i])
            torch.testing.assert_close(together[step + 1][i], logits[0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [plain, through_transformers])
def test_rows_that_stay_do_not_notice_those_that_leave(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    model = make(tiny.write(tmp_path / "m", seed=6))
    rows, _ = model.start(PROMPTS, 2)
    model.step(rows, [1, 2, 3, 4])
    rows.keep([2, 3])
    after = model.step(rows, [5, 6])
    for row, (prompt, first, second) in enumerate([(PROMPTS[2], 3, 5), (PROMPTS[3], 4, 6)]):
        _, alone = model.start([[*prompt, first, second]], 0)
        torch.testing.assert_close(after[row], alone[0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [plain, through_transformers])
def test_a_sequence_read_at_once_says_what_it_says_token_by_token(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    model = make(tiny.write(tmp_path / "m", seed=7))
    whole = [[*prompt, 10 + i, 11 + i] for i, prompt in enumerate(PROMPTS)]
    expected = torch.stack(run(model, PROMPTS, 2), 1)
    torch.testing.assert_close(model.read(whole, 3), expected, atol=2e-5, rtol=1e-5)


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


@pytest.mark.parametrize("make", [plain, through_transformers])
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
