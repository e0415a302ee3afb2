"""What davy ships loads offline, fits, and predicts held-out text as well as its card says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from davy import models
from training.evaluate import ByteModel, bits_per_byte, renamed
from training.model_card import RENAMED_COUNT, RENAMED_SEED, load, size
from training.train import CONTEXT

LIMIT = 8_000_000  # bytes of all models and texts together
SLICE = 12  # every twelfth held-out document is measured here
PLACE = Path(models.__file__).parent


def on_card() -> dict[str, tuple[float, float]]:
    """Plain and renamed bits per byte of each line in the card's table."""
    text = (PLACE / "README.md").read_text()
    lines = re.findall(r"^\| ([^|]+) \| (\d\.\d{3}) \| (\d\.\d{3}) \|$", text, re.MULTILINE)
    return {name: (float(plain), float(hidden)) for name, plain, hidden in lines}


@pytest.fixture(scope="module")
def plain() -> tuple[str, ...]:
    return models.heldout()[::SLICE]


@pytest.fixture(scope="module")
def hidden() -> list[str]:
    return renamed(models.heldout(), RENAMED_SEED, RENAMED_COUNT)[::SLICE]


@pytest.fixture(scope="module")
def measured(plain: tuple[str, ...], hidden: list[str]) -> dict[str, tuple[float, float]]:
    bits: dict[str, tuple[float, float]] = {}
    for name in models.NAMES:
        model, tokenizer = load(models.folder(name))
        bits[name] = (
            bits_per_byte(model, tokenizer, plain, CONTEXT),
            bits_per_byte(model, tokenizer, hidden, CONTEXT),
        )
    order3 = ByteModel(models.SEPARATOR.join(models.training()).encode())
    bits["order-3 byte model"] = (order3.bits_per_byte(plain), order3.bits_per_byte(hidden))
    return bits


@pytest.mark.parametrize("name", models.NAMES)
def test_a_folder_loads_offline_and_writes(name: str) -> None:
    folder = models.folder(name)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert isinstance(model, LlamaForCausalLM)
    assert model.dtype == torch.float16
    assert tokenizer.decode(tokenizer("def wrap(text):\n    ü").input_ids) == "def wrap(text):\n    ü"
    assert model.config.max_position_embeddings == CONTEXT
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_all_models_share_one_tokenizer() -> None:
    assert len({(models.folder(name) / "tokenizer.json").read_bytes() for name in models.NAMES}) == 1


def test_good_models_are_two() -> None:
    first, second = (load(models.folder(name))[0] for name in models.GOOD)
    assert first.config.to_diff_dict() | {"_name_or_path": ""} == second.config.to_diff_dict() | {"_name_or_path": ""}
    assert not torch.equal(first.model.embed_tokens.weight, second.model.embed_tokens.weight)


@pytest.mark.parametrize("name", models.GOOD)
def test_good_is_far_better_than_bytes_and_than_weak(name: str, measured: dict[str, tuple[float, float]]) -> None:
    for kind in (0, 1):
        assert measured[name][kind] < 0.75 * measured["order-3 byte model"][kind]
        assert measured[name][kind] < measured[models.WEAK][kind] - 0.3


def test_good_is_far_better_than_its_own_early_checkpoint() -> None:
    """The early checkpoint is not shipped: its figure stands on the card, beside the one re-measured below."""
    card = on_card()
    assert card["stdlib-a"][0] < card["early checkpoint of stdlib-a"][0] - 0.2


def test_the_card_tells_the_truth(measured: dict[str, tuple[float, float]]) -> None:
    """On a slice, so not to the last digit: the documents differ by more than two models do."""
    card = on_card()
    assert set(measured) < set(card)
    for name, bits in measured.items():
        assert bits == pytest.approx(card[name], abs=0.15), name
    gap = card["order-3 byte model"][0] - card["stdlib-a"][0]
    assert measured["order-3 byte model"][0] - measured["stdlib-a"][0] == pytest.approx(gap, abs=0.1)


def test_everything_fits() -> None:
    assert size(PLACE) <= LIMIT


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of stdlib-a, stdlib-b, stdlib-weak"):
        models.folder("../stdlib-a")


def test_paths_and_text_need_no_torch() -> None:
    program = (
        "import sys; from davy import models; models.heldout(); models.folder('stdlib-a');"
        "sys.exit(bool({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_byte_model_is_a_distribution() -> None:
    model = ByteModel(b"abracadabra " * 9 + b"hello")
    for past in (b"", b"a", b"zzz", b"abr", b"hello"):
        assert sum(model.probability(past, bytes([byte])) for byte in range(256)) == pytest.approx(1)
    assert model.probability(b"abr", b"a") > 0.9
