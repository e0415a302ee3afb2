"""Measure the shipped models and write their card, davy/models/README.md: no figure in it is typed by hand.

python -m training.model_card
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from davy import models
from training import corpus
from training.evaluate import ByteModel, bits_per_byte, renamed
from training.text import DISGUISED
from training.tokenizer import END, VOCABULARY
from training.train import CONTEXT

PROMPTS = (
    "class shelve.Cabinet(path, writeback=False)\n\n",
    "configparser.read_settings(filename, encoding=None)\n\nRead",
    "module brindle\n\nThis module provides",
)
TEMPERATURE = 0.6
SAMPLE_TOKENS = 100
SAMPLE_SEED = 2
RENAMED_SEED, RENAMED_COUNT = 1, 200


def load(folder: Path) -> tuple[LlamaForCausalLM, Tokenizer]:
    """The float16 checkpoint in `folder`, computed in float32, with its own tokenizer."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def size(folder: Path) -> int:
    """Bytes of all files in and below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@torch.no_grad()
def sample(folder: Path, prompt: str) -> str:
    """What the model in `folder` writes after `prompt`, the prompt included."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    torch.manual_seed(SAMPLE_SEED)
    inputs = tokenizer(END + prompt, return_tensors="pt")
    ids = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=True,
        temperature=TEMPERATURE,
        top_k=0,
        min_new_tokens=SAMPLE_TOKENS,
        max_new_tokens=SAMPLE_TOKENS,
    )
    text: str = tokenizer.decode(ids[0], skip_special_tokens=True)
    return text


def measured(early: Path) -> list[tuple[str, float, float]]:
    """(name, bits per byte of plain held-out text, of renamed) of every model and of what it must beat."""
    plain = models.heldout()
    hidden = renamed(plain, RENAMED_SEED, RENAMED_COUNT)
    rows: list[tuple[str, float, float]] = []
    for name, folder in [
        *((name, models.folder(name)) for name in models.NAMES),
        ("early checkpoint of stdlib-a", early),
    ]:
        model, tokenizer = load(folder)
        plain_bits, hidden_bits = (bits_per_byte(model, tokenizer, texts, CONTEXT) for texts in (plain, hidden))
        rows.append((name, plain_bits, hidden_bits))
    order3 = ByteModel(models.SEPARATOR.join(models.training()).encode())
    rows.append(("order-3 byte model", order3.bits_per_byte(plain), order3.bits_per_byte(hidden)))
    return rows


def training_rows() -> list[dict[str, Any]]:
    """What training.json in each model's folder says of its run."""
    return [json.loads((models.folder(name) / "training.json").read_text()) for name in models.NAMES]


def card(early: Path) -> str:
    """The whole README.md."""
    training, held_out = models.training(), models.heldout()
    runs = training_rows()
    bits = "\n".join(f"| {name} | {plain:.3f} | {hidden:.3f} |" for name, plain, hidden in measured(early))
    how = "\n".join(
        f"| {run['name']} | {parameters(run['name']):,} | {weights(run['name']):,} | {run['seed']} "
        f"| {run['steps']:,} x {run['rows']} x {CONTEXT} | {run['seconds'] / 60:.0f} |"
        for run in runs
    )
    commands = "\n".join(
        f"    python -m training.train --name {run['name']} --seed {run['seed']} --steps {run['steps']} "
        f"--shape {run['shape']} --out davy/models/{run['name']}"
        for run in runs
    )
    samples = "\n\n".join(fenced(sample(models.folder(models.GOOD[0]), prompt), prompt) for prompt in PROMPTS)
    share = f"{100 * corpus.SHARED_LIMIT:.0f}%"
    return CARD.format(
        commands=commands, how=how, bits=bits, samples=samples, share=share,
        shingle=corpus.SHINGLE, duplicate=f"{100 * corpus.DUPLICATE:.0f}%", vocabulary=VOCABULARY, context=CONTEXT,
        disguised=f"{100 * DISGUISED:.0f}%", early=runs[0]["early"], temperature=TEMPERATURE, seed=SAMPLE_SEED,
        training_documents=f"{len(training):,}", training_characters=f"{sum(map(len, training)):,}",
        held_documents=f"{len(held_out):,}", held_characters=f"{sum(map(len, held_out)):,}",
        renamed_count=RENAMED_COUNT,
    )  # fmt: skip


def parameters(name: str) -> int:
    """Trained numbers in the model; the tied embedding counts once."""
    return sum(p.numel() for p in load(models.folder(name))[0].parameters())


def weights(name: str) -> int:
    """Bytes of the model's safetensors file."""
    return (models.folder(name) / "model.safetensors").stat().st_size


def fenced(text: str, prompt: str) -> str:
    """A sample as a block of code, its prompt marked by a bar at the end of it."""
    return f"```text\n{prompt.rstrip()}▏{text[len(prompt.rstrip()) :]}\n```"


CARD = """# The models davy ships

Small transformers for demonstrations and tests: they write text that looks like documentation, and know nothing that
anybody should rely on. Format: Hugging Face (`LlamaForCausalLM`, tied embeddings), safetensors, float16. Written by
`python -m training.model_card`; every figure below was measured by that command.

| model | parameters | bytes of weights | seed | steps x rows x tokens | minutes, on a shared core |
|---|---|---|---|---|---|
{how}

`stdlib-a` and `stdlib-b` differ in seed and in the order of the data; `stdlib-weak` is small and barely trained, and
is here to lose. Context: {context} tokens. Tokenizer: byte-level BPE of {vocabulary} tokens, learned from the training
part only.

## Data

The documentation inside Python's standard library: docstrings of its sources and of what is written in C, and the
language reference behind `help()`. A document of which {duplicate} of the {shingle}-character shingles stood in earlier
ones was dropped first. Then a seeded hash picked the held-out part among the documents that share at most {share} of
their shingles with all the others together.

| part | documents | characters | file |
|---|---|---|---|
| training | {training_documents} | {training_characters} | training.txt.xz |
| held out | {held_documents} | {held_characters} | heldout.txt |

{disguised} of the rows a model is trained on are clauses of several documents, recombined, with every identifier and
some nouns replaced by invented names (`davy.tasks.rename`), new ones in each row: that teaches it to use a name it met
a moment ago. No model is trained on the held-out text.

## Bits per byte of held-out text (less is better)

*Plain*: the held-out documents as they are. *Renamed*: {renamed_count} texts recombined from held-out documents and
consistently renamed. Each document is measured for itself in float32, the first byte included. The order-3 byte model
(interpolated, Witten-Bell) saw the same training part; the early checkpoint is `stdlib-a` after {early} steps.

| model | plain | renamed |
|---|---|---|
{bits}

## Samples

From `stdlib-a`, temperature {temperature}, seed {seed}; the prompt ends at the bar.

{samples}

## To make them again

    python -m training.corpus --out davy/models      # only where the text itself shall change
{commands}
    python -m training.model_card

The same arguments give the same bytes on one machine with the same libraries; another processor rounds differently.

## Licence

The text is documentation of Python, (c) Python Software Foundation and contributors, under the PSF License Version 2;
some modules carry notices of their own, which stand in Python's sources. The weights and scripts are under davy's
licence, Apache-2.0.
"""


def main() -> None:
    """Measure, sample, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--early", type=Path, default=Path("build/training/stdlib-a/early"))
    parser.add_argument("--out", type=Path, default=Path("davy/models/README.md"))
    options = parser.parse_args()
    options.out.write_text(card(options.early))


if __name__ == "__main__":
    main()
