"""Measure what honest and dishonest runs of a model look like, and write its calibration.

    python -m davy.tasks.calibrate davy/models/stdlib-a --other davy/models/stdlib-b --early build/early

A run answers prompts of the task greedily, as a miner does; its reports are held against one reference run of the files
(torch, float32, whole prompts in batches of 16). Honest runs differ in engine, batch size and threads. Dishonest ones
have int8 weights, or are an earlier checkpoint or another good model. bfloat16 counts as honest only if its gaps stay
below those of int8 weights; otherwise float32 is what is honest.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec
import numpy as np

from davy.models.checkpoint import manifest_of, open_checkpoint
from davy.protocol.errors import Misconfigured
from davy.tasks import reexecution
from davy.tasks.answer import Answer, Position
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.identity import Calibration, Condition, Role, gap, threshold_between, upper_bound
from davy.tasks.originality import apart
from davy.tasks.reexecution import Reexecution
from davy.tasks.shape import LISTED
from davy.tasks.task import Setting
from davy.tasks.text import Text

TOKENS: Final = 4
"""Positions an answer has here."""


class Measured(NamedTuple):
    """Gaps of a run's answers to the reference, and distances of its first tokens from the reference's own."""

    name: str
    role: Role
    gaps: list[float]
    distances: list[float]


def answer_all(run: Reexecution, prompts: Sequence[str]) -> list[Answer]:
    """Greedy answers of `TOKENS` tokens, 20 log-probabilities listed at each."""
    chosen: list[list[int]] = [[] for _ in prompts]
    reports: list[list[Position]] = [[] for _ in prompts]
    for _ in range(TOKENS):
        for i, log in enumerate(run.log_probabilities(prompts, [[*c, 0] for c in chosen])):
            top = np.argsort(-log[-1], kind="stable")[:LISTED]
            chosen[i].append(int(top[0]))
            reports[i].append(Position(int(top[0]), top, log[-1][top].astype(np.float32).astype(np.float64)))
    return [Answer(tuple(r)) for r in reports]


def measure(folder: Path, other: Path | None, early: Path | None, prompts: Sequence[str]) -> list[Measured]:
    """Run every condition."""
    from davy.models.int8 import quantise

    torch: Any = import_module("torch")
    before = torch.get_num_threads()
    reference = _open(folder)
    expected = answer_all(reference, prompts)

    def hold(name: str, role: Role, run: Reexecution, *, batch: int = reexecution.BATCH, threads: int = 1) -> Measured:
        torch.set_num_threads(threads)
        run.batch = batch
        given = answer_all(run, prompts)
        torch.set_num_threads(1)
        again = reference.log_probabilities(prompts, [[p.chosen for p in a.positions] for a in given])
        gaps = [gap(a, log) for a, log in zip(given, again, strict=True)]
        click.echo(f"{name:<28}{role:<11}{np.median(gaps):>12.3g}{max(gaps):>12.3g}")
        return Measured(
            name, role, gaps, [apart(a.positions[0], e.positions[0]) for a, e in zip(given, expected, strict=True)]
        )

    def rounded(*, by_row: bool) -> Reexecution:
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / folder.name
            quantise(folder, copy, by_row=by_row)
            return _open(copy)

    torch.set_num_threads(1)
    again = _open(folder)
    found = [
        hold(f"float32, batch {b}, threads {t}", Role.HONEST, again, batch=b, threads=t)
        for b, t in ((1, 1), (1, 2), (4, 1), (16, 1), (16, 2))
    ]
    if (engine := _in_numpy(folder)) is not None:
        found += [hold(f"float32, NumPy, batch {b}", Role.HONEST, engine, batch=b) for b in (1, 16)]
    found.append(hold("bfloat16, batch 16", Role.UNDECIDED, _open(folder, dtype="bfloat16")))
    found.append(hold("int8 a matrix", Role.DISHONEST, rounded(by_row=False)))
    found.append(hold("int8 a row", Role.DISHONEST, rounded(by_row=True)))
    found += [hold(name, Role.STRANGER, _open(p)) for name, p in (("early", early), ("other", other)) if p is not None]
    torch.set_num_threads(before)
    return found


def judge(model: str, weights: str, found: Sequence[Measured]) -> Calibration:
    """Fit the thresholds and count the errors."""
    liars = [g for m in found if m.role in (Role.DISHONEST, Role.STRANGER) for g in m.gaps]
    bf16 = next(m for m in found if m.role is Role.UNDECIDED)
    both = max(bf16.gaps) < min(liars)
    settled = [m._replace(role=Role.HONEST if both else Role.REFUSED) if m is bf16 else m for m in found]
    honest = [g for m in settled if m.role is Role.HONEST for g in m.gaps]
    threshold = threshold_between(honest, liars)
    kin = max(float(np.median(m.distances)) for m in settled if m.role is not Role.STRANGER)
    strangers = [float(np.median(m.distances)) for m in settled if m.role is Role.STRANGER]
    return Calibration(
        model=model,
        weights=weights,
        dtype="float32 or bfloat16" if both else "float32",
        threshold=threshold,
        kinship=float(np.sqrt(kin * min(strangers))) if strangers else 2.0 * kin,
        false_alarm=upper_bound(sum(g > threshold for g in honest), len(honest)),
        missed=upper_bound(sum(g <= threshold for g in liars), len(liars)),
        conditions=tuple(
            Condition(
                m.name,
                m.role,
                len(m.gaps),
                float(np.median(m.gaps)),
                min(m.gaps),
                max(m.gaps),
                sum(g > threshold for g in m.gaps),
                float(np.median(m.distances)),
            )
            for m in settled
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the model's folder; calibration.json is written into it")
    parser.add_argument("--other", type=Path, help="another good model with the same tokenizer")
    parser.add_argument("--early", type=Path, help="an earlier checkpoint of the model")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    folder: Path = options.folder
    task = Text(Setting(models=folder.parent, pinned=folder.name, cache=options.cache))
    corpus = Disguised.held_out(folder.parent)
    rng = private_rng(b"calibration", netuid=0, epoch=0)
    prompts = [task.challenge(rng, corpus).asked.prompt for _ in range(options.prompts)]
    manifest = manifest_of(open_checkpoint(folder))
    weights = next(f.digest.hex() for f in manifest.files if f.name.endswith(".safetensors"))
    made = judge(folder.name, weights, measure(folder, options.other, options.early, prompts))
    (folder / "calibration.json").write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    click.echo(f"honest: {made.dtype}; threshold {made.threshold:.3g}, kinship {made.kinship:.3g} nats")
    click.echo(
        f"an honest answer alarms: < {made.false_alarm:.2%}, a dishonest one does not: < {made.missed:.2%} (95%)"
    )


def _open(folder: Path, *, dtype: str = "float32", engine: str = "torch") -> Reexecution:
    return Reexecution(folder, manifest_of(open_checkpoint(folder)), dtype=dtype, engine=engine)


def _in_numpy(folder: Path) -> Reexecution | None:
    """The model in NumPy, where NumPy computes such models."""
    try:
        return _open(folder, engine="numpy")
    except Misconfigured:
        return None


if __name__ == "__main__":
    main()
