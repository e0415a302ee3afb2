"""Random epochs, from a seed: every mask bites somewhere, ties and zero rows and columns abound."""

from collections.abc import Sequence
from dataclasses import fields, replace
from hashlib import shake_256
from typing import Any

import numpy as np

from davy.incentive.fixed_point import ONE, U16, BondFormat, Bool, Int64
from davy.incentive.masks import NO_COMMIT
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params

NOW = 10_000
ARRAYS = [f.name for f in fields(EpochInputs) if f.name not in ("bonds_at", "evidence")]
"""Fields of the inputs that every epoch here has."""


class Stream:
    """Random numbers out of SHAKE-256, so that an epoch of a seed is the same under every numpy."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.drawn = 0

    def words(self, shape: int | tuple[int, ...] = ()) -> Int64:
        """63 random bits each."""
        count = int(np.prod(shape))
        self.drawn += 1
        bits = shake_256(f"{self.seed}/{self.drawn}".encode()).digest(8 * count)
        return (np.frombuffer(bits, dtype="<i8").astype(np.int64) & (2**63 - 1)).reshape(shape)

    def integers(self, low: int, high: int, shape: int | tuple[int, ...] = ()) -> Int64:
        """From low to high − 1."""
        return low + self.words(shape) % (high - low)

    def chance(self, percent: int, shape: int | tuple[int, ...] = ()) -> Bool:
        """True in so many of a hundred."""
        return self.integers(0, 100, shape) < percent

    def choice(self, values: Sequence[int]) -> int:
        return values[int(self.integers(0, len(values)))]


def ints(*values: int) -> Int64:
    return np.array(values, dtype=np.int64)


def stakes(rng: Stream, rows: int) -> Int64:
    """One of: spread over magnitudes, all equal, all in one hand, small."""
    match int(rng.integers(0, 4)):
        case 0:
            return 2 ** rng.integers(0, 54 - int(rows).bit_length(), rows)
        case 1:
            return np.full(rows, int(rng.integers(1, 10**9)), dtype=np.int64)
        case 2:
            return np.where(np.arange(rows) == rng.integers(0, rows), 21 * 10**15, 0).astype(np.int64)
        case _:
            return rng.integers(0, 5, rows)


def weights(rng: Stream, rows: int, columns: int) -> Int64:
    """u16, of which a part is zero and a part repeats the row before."""
    chosen = rng.integers(0, U16 + 1, (rows, columns)) * rng.chance(rng.choice([20, 80, 100]), (rows, columns))
    if rng.chance(50):
        chosen = chosen // (U16 // 3)
    for row in range(1, rows):
        if rng.chance(30):
            chosen[row] = chosen[row - 1]
    return chosen.astype(np.int64)


def inputs(rng: Stream, rows: int, columns: int, *, square: bool) -> EpochInputs:
    """An epoch at block NOW; square: row u is column u."""
    return EpochInputs(
        weights=weights(rng, rows, columns),
        stake=stakes(rng, rows),
        permits=rng.chance(80, rows),
        last_update=NOW - rng.integers(0, 5200, rows),
        registered_at=np.where(rng.chance(85, columns), 10, NOW - rng.integers(0, 2000, columns)),
        earliest_commit=np.where(rng.chance(80, rows), NO_COMMIT, NOW - rng.integers(0, 3000, rows)),
        self_column=np.arange(rows, dtype=np.int64) if square else np.full(rows, -1, dtype=np.int64),
        halted=rng.chance(10, columns),
        now=np.asarray(NOW, dtype=np.int64),
        previous_epoch=np.asarray(NOW - 360, dtype=np.int64),
        owner_row=np.asarray(int(rng.integers(-1, rows)), dtype=np.int64),
    )


def params(rng: Stream) -> Params:
    return Params(
        kappa=rng.choice([1, 20_000, 32_767, 32_767, 50_000, U16]),
        bond_penalty=rng.choice([0, 30_000, U16]),
        moving_average=rng.choice([0, 900_000, 975_000, 975_000, 1_000_000]),
        liquid_alpha=bool(rng.chance(50)),
        alpha_low=int(rng.integers(0, 40_000)),
        alpha_high=int(rng.integers(40_000, U16 + 1)),
        alpha_steepness=rng.choice([1, 10, 100]),
        activity_cutoff=5000,
        max_validators=int(rng.integers(4, 65)),
        stake_threshold=rng.choice([0, 0, 3, 10**6]),
        permit_zero_stake=bool(rng.chance(50)),
        permit_tie_to_newer=bool(rng.chance(50)),
        bond_format=BondFormat(rng.choice([1, 2])),
    )


def bonds(rng: Stream, rows: int, columns: int, p: Params) -> BondState:
    held = rng.integers(0, p.bond_format.one + 1, (rows, columns)) * rng.chance(70, (rows, columns))
    return BondState(held.astype(np.int64))


def epoch(seed: int, rows: int | None = None, columns: int | None = None) -> tuple[BondState, EpochInputs, Params]:
    """The epoch of this seed."""
    rng = Stream(seed)
    square = bool(rng.chance(50)) and columns is None
    rows = int(rng.integers(1, 20)) if rows is None else rows
    columns = rows if square else int(rng.integers(1, 30)) if columns is None else columns
    p = params(rng)
    return bonds(rng, rows, columns, p), inputs(rng, rows, columns, square=square), p


def stack(all_inputs: list[EpochInputs]) -> EpochInputs:
    """Epochs of one shape, as a batch."""
    columns: dict[str, Any] = {name: np.stack([getattr(x, name) for x in all_inputs]) for name in ARRAYS}
    return EpochInputs(**columns)


def arrays(result: EpochResult) -> dict[str, np.ndarray[Any, Any]]:
    return {f.name: getattr(result, f.name) for f in fields(EpochResult)}


def share(value: float) -> int:
    """A share in Q30."""
    return round(value * ONE)


__all__ = [
    "ARRAYS",
    "arrays",
    "bonds",
    "epoch",
    "inputs",
    "ints",
    "params",
    "replace",
    "share",
    "stack",
    "stakes",
    "weights",
]
