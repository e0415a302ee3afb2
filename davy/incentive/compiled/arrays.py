"""What a compiled epoch reads, writes and works in. A leading axis of 1 is what all runs share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from davy.incentive.compiled.median import TILE
from davy.incentive.fixed_point import Bool, Int64


class Inputs(NamedTuple):
    """`EpochInputs` and the state, batch axes flattened; `stored_at` is `bonds_at`, or the epoch before.

    Columns come in tiles, the last one filled with zeros: bonds and weights [runs, V, tiles, TILE], registered_at
    [runs, tiles, TILE], halted [runs, tiles·TILE].
    """

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
    """The next state and an `EpochResult`: bonds [runs, V, tiles, TILE], permits [runs, V], withheld [3, runs].

    `rows` [4, runs, V] are dividends, fallback, validator trust and active stake; `columns` [3, runs, tiles·TILE]
    incentive, consensus and rank.
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
    """Room for one run to work in; what an epoch before left in it is overwritten.

    `weights` [tiles, V, TILE] are W, then W_b, then the next bonds; `held` [V, TILE] are Yuma 2's bonds of a tile; of
    `rows` [9, V] and `columns` [3, tiles, TILE] `agreement` says what they hold; `lane` [6, TILE] is the median's;
    `factor`, `total` and `drop` [TILE] are of a tile's columns.
    """

    weights: Int64
    held: Int64
    rows: Int64
    columns: Int64
    remainder: Int64
    chosen: Bool
    lane: Int64
    factor: Int64
    total: Int64
    drop: Int64

    def fits(self, rows: int, tiles: int) -> bool:
        return self.weights.shape[:2] == (tiles, rows)


def room(rows: int, tiles: int) -> Room:
    lanes = np.empty((9, TILE), dtype=np.int64)
    most = max(tiles * TILE, rows)
    return Room(
        weights=np.empty((tiles, rows, TILE), dtype=np.int64),
        held=np.empty((rows, TILE), dtype=np.int64),
        rows=np.empty((9, rows), dtype=np.int64),
        columns=np.empty((3, tiles, TILE), dtype=np.int64),
        remainder=np.empty(most, dtype=np.int64),
        chosen=np.empty(most, dtype=np.bool_),
        lane=lanes[:6],
        factor=lanes[6],
        total=lanes[7],
        drop=lanes[8],
    )
