"""What a compiled epoch reads, writes and works in. A leading axis of 1 is what all runs share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from davy.incentive.compiled.median import FEW, LANES, TILE
from davy.incentive.fixed_point import Bool, Int64


class Inputs(NamedTuple):
    """`EpochInputs` and the state, batch axes flattened; `stored_at` is `bonds_at`, or the epoch before."""

    bonds: Int64
    weights: Int64
    stake: Int64
    permits: Bool
    last_update: Int64
    registered_at: Int64
    earliest_commit: Int64
    self_column: Int64
    halted: Bool
    now: Int64
    stored_at: Int64
    owner_row: Int64


class Outputs(NamedTuple):
    """The next state and an `EpochResult`: bonds [runs, V, M], permits [runs, V], withheld [3, runs].

    `rows` [4, runs, V] are dividends, fallback, validator trust and active stake; `columns` [3, runs, M] incentive,
    consensus and rank.
    """

    bonds: Int64
    permits: Bool
    rows: Int64
    columns: Int64
    withheld: Int64


class Numbers(NamedTuple):
    """`Params`, and what the rules derive from them: α, lo and hi in Q30, `minority` is 65535 − κ."""

    minority: int
    bond_penalty: int
    alpha: int
    liquid: bool
    alpha_low: int
    alpha_high: int
    activity_cutoff: int
    max_validators: int
    stake_threshold: int
    permit_zero_stake: bool
    permit_tie_to_newer: bool
    bond_one: int


class Room(NamedTuple):
    """Room for one run to work in.

    `weights` [tiles, V, TILE] are W, then W_b; `held` [V, TILE] a tile's bonds; of `rows` [9, V] and `columns`
    [4, tiles·TILE] the rules say what they hold; `lane` and `few` are the median's. What an epoch before left in it is
    overwritten.
    """

    weights: Int64
    held: Int64
    rows: Int64
    columns: Int64
    chosen: Bool
    lane: Int64
    few: Int64

    def fits(self, rows: int, columns: int) -> bool:
        return len(self.held) == rows and len(self.weights) == -(-columns // TILE)


def room(rows: int, columns: int) -> Room:
    tiles = -(-columns // TILE)
    padded = max(tiles * TILE, rows)
    return Room(
        np.empty((tiles, rows, TILE), dtype=np.int64),
        np.empty((rows, TILE), dtype=np.int64),
        np.empty((9, rows), dtype=np.int64),
        np.empty((4, padded), dtype=np.int64),
        np.empty(padded, dtype=np.bool_),
        np.empty((LANES, TILE), dtype=np.int64),
        np.empty((2, TILE, FEW), dtype=np.int64),
    )
