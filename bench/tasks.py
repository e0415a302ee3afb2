"""What each kind of miner earns with the task `text`: skill ± standard error, and weight beside a good miner's.

    python -m bench.tasks --seeds 20

Every seed is another validator's secret. Printed for 128, 256 and 512 challenges: mean skill over seeds, mean standard
error, mean weight, and the largest share of the good miner's weight in any seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.adversaries import Reporter, Search, answers, constant, int8, mixed, model
from davy.tasks.base import read_public_text
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.skill import EMPTY, observe, weight
from davy.tasks.task import FloatArray, Setting, differences
from davy.tasks.text import Text

SIZES = (128, 256, 512)


def measure(task: Text, models: Path, miners: Mapping[str, Reporter], seed: int, number: int) -> dict[str, FloatArray]:
    """Differences to the baseline, one a challenge, of each miner on the challenges of one seed."""
    rng = private_rng(b"bench %d" % seed, netuid=1, epoch=1)
    corpus = Disguised.held_out(models)
    challenges = [task.challenge(rng, corpus) for _ in range(number)]
    read = [answers(report, task, challenges) for report in miners.values()]
    found = np.array([differences(task, c, row) for c, row in zip(challenges, zip(*read, strict=True), strict=True)])
    return dict(zip(miners, found.T, strict=True))


def cast(task: Text, models: Path, good: str, weak: str | None, flood: int) -> dict[str, Reporter]:
    """Everybody who takes part; the first one is the good miner."""
    text = read_public_text(models)
    search = Search.published(task, text)
    miners: dict[str, Reporter] = {"good": model(models / good)}
    if weak is not None:
        miners["weak"] = model(models / weak)
    miners |= {
        "liar, int8 copy": int8(models / good),
        "constant": constant(task, text),
        "lookup, text only": Search.published(task, text, prompt_too=False),
        "lookup": search,
        "lookup + base": mixed(search, task, 0.2),
    }
    if flood:
        miners["flood + base"] = mixed(Search.flooded(task, text, seed=1, characters=flood), task, 0.5)
    return miners


def main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--models", type=Path, default=Setting().models)
    parser.add_argument("--good", default="stdlib-a")
    parser.add_argument("--weak", default="stdlib-weak")
    parser.add_argument("--challenges", type=int, default=max(SIZES), choices=SIZES)
    parser.add_argument("--only", nargs="*", help="some of the miners, by name; the good one always")
    parser.add_argument(
        "--flood", type=int, default=6_000_000, help="characters of the attacker's own renditions; 0: none"
    )
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    task = Text(Setting(models=options.models, cache=options.cache))
    miners = cast(task, options.models, options.good, options.weak, options.flood)
    kept = miners if options.only is None else {"good", *options.only}
    miners = {name: report for name, report in miners.items() if name in kept}
    runs = [measure(task, options.models, miners, seed, options.challenges) for seed in range(options.seeds)]
    print(f"{options.seeds} seeds; nats")
    print(f"{'challenges':>10}  {'miner':<18}{'skill':>8}{'error':>8}{'weight':>8}{'of good: mean':>15}{'largest':>9}")
    for size in (s for s in SIZES if s <= options.challenges):
        for name in miners:
            kept = [observe(EMPTY, run[name][:size]) for run in runs]
            best = [weight(observe(EMPTY, run["good"][:size])) for run in runs]
            shares = [w / b if b else (np.inf if w else 0.0) for w, b in zip(map(weight, kept), best, strict=True)]
            means = (np.mean([f(s) for s in kept]) for f in (lambda s: s.skill, lambda s: s.error, weight))
            columns = "".join(f"{m:>8.3f}" for m in means)
            print(f"{size:>10}  {name:<18}{columns}{np.mean(shares):>15.3f}{np.max(shares):>9.3f}")


if __name__ == "__main__":
    main()
