"""Train one of davy's small models and write it as a Hugging Face folder.

    python -m training.train --name stdlib-a --seed 1 --steps 8000 --out davy/models/stdlib-a

Repeatable: the same arguments, threads and machine give the same bytes. Resumable: a run that was stopped goes on
from its last state in build/training/NAME (safetensors and JSON; nothing is pickled). The learning rate is constant but
for the last quarter, so a run may be resumed with another number of steps as long as that quarter has not begun.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from davy.models import SEPARATOR
from training import tokenizer as bpe
from training.evaluate import bits_per_byte, renamed
from training.text import Rows

Optimizers = list[torch.optim.Optimizer]

CONTEXT = 384
PROBE = 250  # steps between two looks at the held-out text, each of which saves the state
WARMUP = 100
DECAY = 0.25  # of all steps
SHAPES = {  # hidden size, layers, inner size, heads, heads of keys and values
    "good": (192, 4, 384, 6, 2),
    "weak": (64, 2, 160, 2, 2),
}


@dataclass(frozen=True)
class Run:
    """What decides the bytes of a checkpoint, beside the corpus."""

    name: str
    seed: int
    steps: int
    shape: str
    rows: int
    rate: float
    threads: int
    early: int
    compute: str


def build(shape: str, vocabulary: int) -> LlamaForCausalLM:
    """A Llama with tied embeddings, randomly initialised."""
    hidden, layers, inner, heads, kv_heads = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def optimizers(model: LlamaForCausalLM) -> Optimizers:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate_at(step: int, run: Run) -> float:
    """Warm-up, a constant rate, then a linear descent to zero over the last quarter."""
    return run.rate * min(1.0, (step + 1) / WARMUP, (run.steps - step) / (DECAY * run.steps))


def save_state(folder: Path, step: int, seconds: float, model: LlamaForCausalLM, opts: Optimizers) -> None:
    """Everything needed to go on; the JSON file, replaced in one rename, names the tensors it belongs to."""
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    for number, optimizer in enumerate(opts):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in state.items()}
    file = f"state-{step}.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / file)
    partial = folder / "state.json.partial"
    partial.write_text(json.dumps({"step": step, "seconds": seconds, "tensors": file}))
    partial.replace(folder / "state.json")
    for old in folder.glob("state-*.safetensors"):
        if old.name != file:
            old.unlink()


def load_state(folder: Path, model: LlamaForCausalLM, opts: Optimizers) -> tuple[int, float]:
    """(steps done, seconds spent) of the run so far; (0, 0) if there is none."""
    if not (folder / "state.json").exists():
        return 0, 0.0
    state = json.loads((folder / "state.json").read_text())
    tensors = load_file(folder / state["tensors"])
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(opts):
        restored: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{number}."):
                index, key = name.split(".")[2:]
                restored.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": restored, "param_groups": optimizer.state_dict()["param_groups"]})
    return state["step"], state["seconds"]


def write_checkpoint(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """A Hugging Face folder with float16 weights."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(folder)
    bpe.save(tokenizer, folder, CONTEXT)


def train_step(model: LlamaForCausalLM, opts: Optimizers, batch: torch.Tensor, rate: float, compute: str) -> float:
    """One update of float32 weights; the mean loss in nats a token."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute == "bfloat16"):
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    loss = cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in opts:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


def train(run: Run, corpus: Path, folder: Path, out: Path) -> None:
    """From the last state in `folder`, or from the start, to the last step; then write the checkpoint to `out`."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(run.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(run.seed)
    training = lzma.decompress((corpus / "training.txt.xz").read_bytes()).decode("ascii").split(SEPARATOR)
    held_out = (corpus / "heldout.txt").read_text("ascii").split(SEPARATOR)
    tokenizer = bpe.learn(training)
    rows = Rows(training, tokenizer, run.seed, CONTEXT + 1)
    probes = {"plain": held_out[::8], "renamed": renamed(held_out, seed=0, count=40)}
    model = build(run.shape, tokenizer.get_vocab_size())
    opts = optimizers(model)
    folder.mkdir(parents=True, exist_ok=True)
    done, before = load_state(folder, model, opts)
    started = time.monotonic() - before
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, (folder / "log.jsonl").open("a") as log:
        task = progress.add_task(run.name, total=run.steps, completed=done)
        for step in range(done, run.steps):
            loss = train_step(
                model, opts, torch.from_numpy(rows.batch(step, run.rows)), rate_at(step, run), run.compute
            )
            progress.update(task, advance=1, description=f"{run.name} {loss:.3f}")
            if (step + 1) % PROBE == 0 or step + 1 == run.steps:
                seconds = time.monotonic() - started
                bits = {name: bits_per_byte(model, tokenizer, texts, CONTEXT) for name, texts in probes.items()}
                log.write(json.dumps({"step": step + 1, "seconds": seconds, "loss": loss, **bits}) + "\n")
                log.flush()
                save_state(folder, step + 1, seconds, model, opts)
            if step + 1 == run.early:
                write_checkpoint(model, tokenizer, folder / "early")
    write_checkpoint(model, tokenizer, out)
    record = asdict(run) | {"seconds": round(time.monotonic() - started)}
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--shape", choices=SHAPES, default="good")
    parser.add_argument("--rows", type=int, default=10, help="rows a step")
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=1, help="another number gives other bytes")
    parser.add_argument(
        "--compute",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="of the products; float32 is ten times as fast on a processor without bfloat16, and gives other bytes",
    )
    parser.add_argument("--early", type=int, default=500, help="step after which the early checkpoint is kept")
    parser.add_argument("--corpus", type=Path, default=Path("davy/models"), help="folder of the two texts")
    parser.add_argument("--state", type=Path, default=Path("build/training"), help="where runs keep their state")
    told = vars(parser.parse_args())
    out, corpus, state = told.pop("out"), told.pop("corpus"), told.pop("state")
    run = Run(**told)
    train(run, corpus, state / run.name, out)


if __name__ == "__main__":
    main()
