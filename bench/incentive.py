"""Median CPU time of an epoch of the reference path, one run alone and in batches: `python bench/incentive.py`.

CPU time, so that other work on the machine counts little. Weights and stake are random, one validator of eight has no
permit, one miner of ten registered since. Inputs are checked before the clock starts; the door has its own line.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from time import process_time_ns

import numpy as np

from davy.incentive.bonds import store
from davy.incentive.fixed_point import ONE, U16, BondFormat
from davy.incentive.mechanism import BondState, EpochInputs, Params
from davy.incentive.registry import mechanism

REPEATS = 200


def median_us(work: Callable[[], object], repeats: int) -> float:
    """The median of `repeats` timings, after one that is not counted."""
    work()
    taken: list[int] = []
    for _ in range(repeats):
        start = process_time_ns()
        work()
        taken.append(process_time_ns() - start)
    return statistics.median(taken) / 1e3


def inputs(rng: np.random.Generator, runs: int, rows: int, columns: int) -> EpochInputs:
    """`runs` runs in a batch, or a single one without a batch axis."""
    front = (runs,) if runs > 1 else ()
    x = EpochInputs.unmasked(
        rng.integers(0, U16 + 1, (*front, rows, columns)), rng.integers(1, 2**54 // rows, (*front, rows))
    )
    return EpochInputs(
        weights=x.weights,
        stake=x.stake,
        permits=np.arange(rows) % 8 != 7,
        last_update=np.full(rows, 1000, dtype=np.int64),
        registered_at=np.where(np.arange(columns) % 10 == 9, 990, 0),
        earliest_commit=x.earliest_commit,
        self_column=np.arange(rows, dtype=np.int64) if rows == columns else x.self_column,
        halted=x.halted,
        now=np.asarray(1100, dtype=np.int64),
        previous_epoch=np.asarray(980, dtype=np.int64),
        owner_row=x.owner_row,
    )


def measure(name: str, rows: int, columns: int, runs: int, p: Params) -> float:
    """µs a run."""
    rng = np.random.default_rng(1)
    x = inputs(rng, runs, rows, columns)
    s = BondState(store(rng.integers(0, ONE + 1, x.weights.shape), p.bond_format))
    chosen = mechanism(name)
    return median_us(lambda: chosen.epoch(s, x, p), max(5, REPEATS // runs)) / runs


def main() -> None:
    """Print the table."""
    fixed, liquid, u16 = Params(), Params(liquid_alpha=True), Params(bond_format=BondFormat.U16)
    for label, name, rows, columns, p in (
        ("yuma3 64 x 192", "yuma3", 64, 192, fixed),
        ("yuma3 64 x 192 liquid", "yuma3", 64, 192, liquid),
        ("yuma3 64 x 192 u16 bonds", "yuma3", 64, 192, u16),
        ("yuma2 64 x 192", "yuma2", 64, 192, fixed),
        ("yuma3 256 x 256 square", "yuma3", 256, 256, fixed),
        ("yuma3 64 x 4032", "yuma3", 64, 4032, fixed),
    ):
        single = measure(name, rows, columns, 1, p)
        batched = {runs: measure(name, rows, columns, runs, p) for runs in (4, 16)}
        sys.stdout.write(f"{label:26s} single {single:8.0f} µs")
        sys.stdout.writelines(f"   batch of {runs:2d} {us:8.0f} µs a run" for runs, us in batched.items())
        sys.stdout.write("\n")
    x = inputs(np.random.default_rng(1), 1, 64, 192)
    door = median_us(lambda: EpochInputs.unmasked(x.weights, x.stake), REPEATS)
    sys.stdout.write(f"the door, 64 x 192 {door:8.0f} µs\n")


if __name__ == "__main__":
    main()
