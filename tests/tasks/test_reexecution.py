"""A model is run again from exactly the manifest's files."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from davy.models.checkpoint import manifest_of, open_checkpoint
from davy.protocol.errors import Misconfigured
from davy.tasks.reexecution import Reexecution, check_files


@pytest.fixture(scope="module")
def folder(models: Path) -> Path:
    return models / "stdlib-weak"


@pytest.fixture(scope="module")
def run(folder: Path) -> Reexecution:
    return Reexecution(folder, manifest_of(open_checkpoint(folder)))


def test_batches_of_any_size_say_the_same(run: Reexecution) -> None:
    prompts = ["Return the", "class a.B\n\nThe value of x is", "def"]
    follows = [[5, 6], [7], [8, 9, 10]]
    together = run.log_probabilities(prompts, follows)
    assert [len(p) for p in together] == [2, 1, 3]
    for p, f, expected in zip(prompts, follows, together, strict=True):
        assert np.abs(run.log_probabilities([p], [f])[0] - expected).max() < 1e-4
        assert np.exp(expected).sum(1) == pytest.approx(np.ones(len(f)))


def test_each_position_is_given_the_tokens_before_it(run: Reexecution) -> None:
    whole = run.log_probabilities(["Return the"], [[5, 6, 7]])[0]
    ids = run.encode("Return the")
    stepwise = run.log_probabilities(["Return the"], [[5, 9]])[0]
    assert len(ids) > 0
    assert np.allclose(whole[:2], stepwise, atol=1e-5)
    assert not np.allclose(run.log_probabilities(["Return the"], [[4, 9]])[0][1], stepwise[1], atol=1e-2)


def test_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(open_checkpoint(folder))
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    check_files(copy, manifest)
    weights = copy / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(Misconfigured, match="not the file"):
        Reexecution(copy, manifest)
    weights.unlink()
    with pytest.raises(Misconfigured, match="cannot be read"):
        check_files(copy, manifest)


def test_files_beside_the_manifest_are_not_seen(folder: Path, tmp_path: Path, run: Reexecution) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "elsewhere"}')
    again = Reexecution(copy, manifest_of(open_checkpoint(copy)))
    ours, theirs = (r.log_probabilities(["Return the"], [[5]])[0] for r in (run, again))
    assert np.array_equal(ours, theirs)


def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"no config\.json"):
        manifest_of(open_checkpoint(tmp_path))
    with pytest.raises(Misconfigured, match="no folder"):
        manifest_of(open_checkpoint(tmp_path / "nowhere"))
    claimed = msgspec.structs.replace(manifest_of(open_checkpoint(folder)), format="opaque")
    with pytest.raises(Misconfigured, match="opaque"):
        Reexecution(folder, claimed)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = msgspec.json.decode((copy / "config.json").read_bytes())
    (copy / "config.json").write_bytes(msgspec.json.encode(config | {"num_attention_heads": 3}))
    with pytest.raises(Misconfigured, match="do not fit"):
        Reexecution(copy, manifest_of(open_checkpoint(copy)))
