"""A small Llama in NumPy beside the same in torch, on one thread: reading a prompt, one more token, and starting.

    python -m bench.models --rounds 15

Turns alternate in one process, so that other work slows both alike; printed are CPU times (medians) and NumPy's share
of torch's. Starting is a process of its own: importing, loading, the first token.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from davy import models
from davy.models.checkpoint import open_checkpoint
from davy.models.loading import load_model

ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Read when the libraries are imported."""
ENGINES: Final = ("numpy", "torch")
START: Final = """
import sys
from davy.models.checkpoint import open_checkpoint
from davy.models.loading import load_model
from pathlib import Path
load_model(open_checkpoint(Path(sys.argv[1])), 1, engine=sys.argv[2])
"""


def cpu_ms(work: Callable[[], Any]) -> float:
    """CPU time of one turn."""
    began = time.process_time()
    work()
    return 1_000 * (time.process_time() - began)


def started_ms(folder: str, engine: str) -> float:
    """CPU time of a process that loads the model and makes a token."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", START, folder, engine], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1_000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def told(what: str, times: dict[str, list[float]]) -> None:
    """Print one row."""
    numpy, torch = (statistics.median(times[engine]) for engine in ENGINES)
    print(f"{what:<34}{numpy:>10.2f}{torch:>10.2f}{numpy / torch:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--model", default=models.GOOD[0])
    asked = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "bench.models", *sys.argv[1:]], {**os.environ, **ONE_THREAD})
    folder = models.folder(asked.model)
    checkpoint = open_checkpoint(folder)
    loaded: dict[str, Any] = {engine: load_model(checkpoint, 1, engine=engine) for engine in ENGINES}
    rng = np.random.default_rng(1)
    print(f"{'ms of CPU':<34}{'numpy':>10}{'torch':>10}{'share':>8}")
    for batch in (1, 4, 16):
        for length in (60, 120, 250):
            prompts = [rng.integers(0, 1_000, length).tolist() for _ in range(batch)]
            times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
            for _ in range(asked.rounds):
                for engine, model in loaded.items():
                    times[engine].append(cpu_ms(lambda model=model, prompts=prompts: model.start(prompts, 8)))
            told(f"read {batch} × {length} tokens", times)
        times = {engine: [] for engine in ENGINES}
        rows = {engine: model.start([[1] * 120] * batch, 4 * asked.rounds)[0] for engine, model in loaded.items()}
        for _ in range(4 * asked.rounds):
            for engine, model in loaded.items():
                times[engine].append(cpu_ms(lambda m=model, r=rows[engine], b=batch: m.step(r, [5] * b)))
        told(f"one token more, {batch} rows", times)
    starts = {engine: [started_ms(str(folder), engine) for _ in range(3)] for engine in ENGINES}
    told("start a process, first token", starts)


if __name__ == "__main__":
    main()
