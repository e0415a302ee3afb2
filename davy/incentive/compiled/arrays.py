"""What a compiled epoch reads, writes and works in.

Arrays are flat, and indexed by unsigned offsets (`U`): numba lets a signed index count from the end, and the test for
that keeps a loop from being vectorised. Offsets are sums of unsigned numbers only, so none becomes a float.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from davy.incentive.compiled.median import TILE
from davy.incentive.fixed_point import Bool, Int32, Int64


class Inputs(NamedTuple):
    """`EpochInputs` and the state, flat, of `rows` rows; `stored_at` is `bonds_at`, or the epoch before if not `each`.

    Columns come in whole tiles, the last one filled with zeros. What all runs share is there once: see `of_run`.
    """

    rows: int
    each: bool
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
    """The next state and an `EpochResult`: bonds [runs·V·tiles·TILE], permits [runs, V], withheld [3, runs].

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

    `tiles` [tiles·V·TILE] are W, then W_b, then the next bonds, voters' rows first (`ORDER`); `held` and `bought`
    [V·TILE] are Yuma 2's of a tile; of `rows` [12, V] and `columns` [4, tiles·TILE] `agreement` says what they hold;
    `guide` [V], `lane` [5, TILE] and `below` [3, TILE] are the median's, and the last Yuma 2's after it.
    """

    tiles: Int32
    held: Int64
    bought: Int64
    rows: Int64
    columns: Int64
    remainder: Int64
    chosen: Bool
    guide: Int32
    lane: Int32
    below: Int64

    def fits(self, rows: int, tiles: int) -> bool:
        return len(self.guide) == rows and len(self.tiles) == tiles * rows * TILE


def room(rows: int, tiles: int) -> Room:
    most = max(tiles * TILE, rows)
    return Room(
        tiles=np.empty(tiles * rows * TILE, dtype=np.int32),
        held=np.empty(rows * TILE, dtype=np.int64),
        bought=np.empty(rows * TILE, dtype=np.int64),
        rows=np.empty((12, rows), dtype=np.int64),
        columns=np.empty((4, tiles * TILE), dtype=np.int64),
        remainder=np.empty(most, dtype=np.int64),
        chosen=np.empty(most, dtype=np.bool_),
        guide=np.empty(rows, dtype=np.int32),
        lane=np.empty((5, TILE), dtype=np.int32),
        below=np.empty((3, TILE), dtype=np.int64),
    )
