"""Random epochs, from a seed: every mask bites somewhere, ties and zero rows and columns abound."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from davy.incentive.fixed_point import ONE, U16, BondFormat, Int64
from davy.incentive.masks import NO_COMMIT
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params

NOW = 10_000


def ints(*values: int) -> Int64:
    return np.array(values, dtype=np.int64)


def stakes(rng: np.random.Generator, rows: int) -> Int64:
    """One of: spread over magnitudes, all equal, all in one hand, small."""
    match int(rng.integers(4)):
        case 0:
            return 2 ** rng.integers(0, 54 - int(rows).bit_length(), rows)
        case 1:
            return np.full(rows, int(rng.integers(1, 10**9)), dtype=np.int64)
        case 2:
            return np.where(np.arange(rows) == rng.integers(rows), 21 * 10**15, 0).astype(np.int64)
        case _:
            return rng.integers(0, 5, rows)


def weights(rng: np.random.Generator, rows: int, columns: int) -> Int64:
    """u16, of which a part is zero and a part repeats the row before."""
    chosen = rng.integers(0, U16 + 1, (rows, columns)) * (rng.random((rows, columns)) < rng.choice([0.2, 0.8, 1.0]))
    if rng.random() < 0.5:
        chosen = chosen // (U16 // 3)
    for row in range(1, rows):
        if rng.random() < 0.3:
            chosen[row] = chosen[row - 1]
    return chosen.astype(np.int64)


def inputs(rng: np.random.Generator, rows: int, columns: int, *, square: bool) -> EpochInputs:
    """An epoch at block NOW; square: row u is column u."""
    return EpochInputs(
        weights=weights(rng, rows, columns),
        stake=stakes(rng, rows),
        permits=rng.random(rows) < 0.8,
        last_update=NOW - rng.integers(0, 5200, rows),
        registered_at=np.where(rng.random(columns) < 0.85, 10, NOW - rng.integers(0, 2000, columns)),
        earliest_commit=np.where(rng.random(rows) < 0.8, NO_COMMIT, NOW - rng.integers(0, 3000, rows)),
        self_column=np.arange(rows, dtype=np.int64) if square else np.full(rows, -1, dtype=np.int64),
        halted=rng.random(columns) < 0.1,
        now=np.asarray(NOW, dtype=np.int64),
        previous_epoch=np.asarray(NOW - 360, dtype=np.int64),
        owner_row=np.asarray(int(rng.integers(-1, rows)), dtype=np.int64),
    )


def params(rng: np.random.Generator) -> Params:
    return Params(
        kappa=int(rng.choice([1, 20_000, 32_767, 32_767, 50_000, U16])),
        bond_penalty=int(rng.choice([0, 30_000, U16])),
        moving_average=int(rng.choice([0, 900_000, 975_000, 975_000, 1_000_000])),
        liquid_alpha=bool(rng.random() < 0.5),
        alpha_low=int(rng.integers(0, 40_000)),
        alpha_high=int(rng.integers(40_000, U16 + 1)),
        alpha_steepness=int(rng.choice([1, 10, 100])),
        activity_cutoff=5000,
        max_validators=int(rng.integers(4, 65)),
        stake_threshold=int(rng.choice([0, 0, 3, 10**6])),
        permit_zero_stake=bool(rng.random() < 0.5),
        permit_tie_to_newer=bool(rng.random() < 0.5),
        bond_format=BondFormat(int(rng.choice([1, 2]))),
    )


def bonds(rng: np.random.Generator, rows: int, columns: int, p: Params) -> BondState:
    held = rng.integers(0, p.bond_format.one + 1, (rows, columns)) * (rng.random((rows, columns)) < 0.7)
    return BondState(held.astype(np.int64))


def epoch(seed: int, rows: int | None = None, columns: int | None = None) -> tuple[BondState, EpochInputs, Params]:
    """The epoch of this seed."""
    rng = np.random.default_rng(seed)
    square = bool(rng.random() < 0.5) and columns is None
    rows = int(rng.integers(1, 20)) if rows is None else rows
    columns = rows if square else int(rng.integers(1, 30)) if columns is None else columns
    p = params(rng)
    return bonds(rng, rows, columns, p), inputs(rng, rows, columns, square=square), p


def stack(all_inputs: list[EpochInputs]) -> EpochInputs:
    """Epochs of one shape, as a batch."""
    columns: dict[str, Any] = {
        f.name: np.stack([getattr(x, f.name) for x in all_inputs]) for f in fields(EpochInputs) if f.name != "bonds_at"
    }
    return EpochInputs(**columns)


def arrays(result: EpochResult) -> dict[str, np.ndarray[Any, Any]]:
    return {f.name: getattr(result, f.name) for f in fields(EpochResult)}


def share(value: float) -> int:
    """A share in Q30."""
    return round(value * ONE)


__all__ = ["arrays", "bonds", "epoch", "inputs", "ints", "params", "replace", "share", "stack", "stakes", "weights"]
