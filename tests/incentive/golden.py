"""Digests of 1,000 random epochs under each mechanism: the same bits on every platform, numpy and path.

A change of these digests is a change of consensus: a chain that runs may not take it without a new mechanism's name.
`python -m tests.incentive.golden` prints the file anew.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from davy.incentive.fixed_point import Weights
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Mechanism, Params
from davy.incentive.registry import MECHANISMS
from tests.incentive import epochs, evident
from tests.incentive.epochs import Stream, replace

BATCHES = 50
RUNS = 20
"""Epochs of one batch: of one shape, and under the same parameters."""

Chosen = Mechanism[BondState]
Step = tuple[BondState, EpochResult]


@dataclass(frozen=True)
class Batch:
    """Random epochs of one seed."""

    held: list[BondState]
    inputs: list[EpochInputs]
    params: Params


def batch(seed: int) -> Batch:
    """Of up to 19 x 29, every second of them square: row u is column u."""
    rng = Stream(seed)
    square = seed % 2 == 0
    rows = int(rng.integers(1, 20))
    columns = rows if square else int(rng.integers(1, 30))
    p = epochs.params(rng)
    held = [epochs.bonds(rng, rows, columns, p) for _ in range(RUNS)]
    return Batch(held, [epochs.inputs(rng, rows, columns, square=square) for _ in range(RUNS)], p)


def one_by_one(chosen: Chosen, b: Batch) -> list[list[Step]]:
    """Two epochs of each run, the second upon the bonds of the first."""
    steps: list[list[Step]] = []
    for held, x in zip(b.held, b.inputs, strict=True):
        first = chosen.epoch(held, x, b.params)
        steps.append([first, chosen.epoch(first[0], x, b.params)])
    return steps


def told(b: Batch, seed: int) -> Batch:
    """The same epochs with evidence, for mechanisms that read it."""
    length, tasks = evident.shape_of(seed)
    rng = Stream(seed + 3 * 10**9)
    shown = [evident.evidence(rng, x.weights.shape[0], x.weights.shape[1], length, tasks) for x in b.inputs]
    return Batch(b.held, [replace(x, evidence=e) for x, e in zip(b.inputs, shown, strict=True)], b.params)


def batched(chosen: Chosen, b: Batch) -> list[list[Step]]:
    """The same from two calls."""
    x = epochs.stack(b.inputs) if b.inputs[0].evidence is None else evident.stack(b.inputs)
    first = chosen.epoch(BondState(np.stack([s.bonds for s in b.held])), x, b.params)
    together = [first, chosen.epoch(first[0], x, b.params)]

    def part(step: Step, run: int) -> Step:
        values = {name: np.asarray(array[run]) for name, array in epochs.arrays(step[1]).items()}
        return BondState(step[0].bonds[run]), EpochResult(**values)

    return [[part(step, run) for step in together] for run in range(RUNS)]


PATHS: dict[str, Callable[[Chosen, Batch], list[list[Step]]]] = {"one by one": one_by_one, "batched": batched}


def frozen(name: str) -> list[str]:
    """The digests of a mechanism as they stand in the file."""
    return " ".join(json.loads((Path(__file__).parent / "golden.json").read_text())[name]).split()


def little_endian(array: Weights) -> bytes:
    return array.astype("<i8").tobytes()


def digests(path: str, chosen: Chosen, *, evidence: bool = False) -> Iterator[str]:
    """Of each epoch's inputs, and of the results and bonds of the two."""
    for seed in range(BATCHES):
        b = told(batch(seed), seed) if evidence else batch(seed)
        for s, x, steps in zip(b.held, b.inputs, PATHS[path](chosen, b), strict=True):
            seen = sha256(little_endian(x.weights) + little_endian(x.stake) + little_endian(s.bonds))
            if x.evidence is not None:
                seen.update(x.evidence.reports.tobytes() + x.evidence.labels.tobytes())
            for state, result in steps:
                for values in (state.bonds, *epochs.arrays(result).values()):
                    seen.update(little_endian(values))
            yield seen.hexdigest()[:16]


if __name__ == "__main__":
    lines = {
        name: list(digests("one by one", MECHANISMS[name], evidence=name in evident.READERS))
        for name in sorted(MECHANISMS)
    }
    # Ten a line: a change of one epoch is a change of one line.
    rows = {name: [" ".join(found[i : i + 10]) for i in range(0, len(found), 10)] for name, found in lines.items()}
    json.dump(rows, sys.stdout, indent=1)
    sys.stdout.write("\n")
