"""What a compiled epoch reads, writes and works in.

Arrays are flat, and indexed by unsigned offsets (`U`): numba lets a signed index count from the end, and the test for
that keeps a loop from being vectorised. Offsets are sums of unsigned numbers only, so none becomes a float.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from davy.incentive.compiled.lanes import BLOCK, TILE
from davy.incentive.fixed_point import Bool, Int16, Int32, Int64, Weights

LINE = 64
"""Bytes of a line of a cache."""
Number = TypeVar("Number", bound=np.generic)


class Inputs(NamedTuple):
    """`EpochInputs` and the state, flat, of `rows` rows; `stored_at` is `bonds_at`, or the epoch before if not `each`.

    Columns come in whole tiles, the last one filled with zeros. What all runs share is there once: see `of_run`.
    """

    rows: int
    each: bool
    bonds: Int64
    weights: Weights
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
    """The next state and an `EpochResult`, of one batch axis: permits [runs, V], withheld [3, runs], bonds flat.

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
    [V·TILE] are Yuma 2's of a tile; of `rows` [11, V] and `columns` [5, tiles·TILE] `agreement` says what they hold;
    `guide` [V], `coarse` [V + 1], `codes` [V·TILE], `narrow` [3, TILE], `lane` [6, TILE] and `below` [3, TILE] are the
    median's, and the last Yuma 2's after it; `lanes` [2·(BLOCK + 1)·TILE] are numbers of columns while bonds are
    bought, in one array, so that they are known not to overlap; `cap` [tiles·TILE] is what W_b is clipped to.
    """

    tiles: Int32
    held: Int64
    bought: Int64
    rows: Int64
    columns: Int64
    remainder: Int64
    chosen: Bool
    guide: Int32
    coarse: Int16
    codes: Int16
    narrow: Int16
    lane: Int32
    below: Int64
    lanes: Int64
    cap: Int32

    def fits(self, rows: int, tiles: int) -> bool:
        return len(self.guide) == rows and len(self.tiles) == tiles * rows * TILE


def aligned(dtype: type[Number], *shape: int) -> NDArray[Number]:
    """No vector of it lies in two lines of a cache."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    whole = np.empty(size + LINE, dtype=np.int8)
    begin = -whole.__array_interface__["data"][0] % LINE
    return whole[begin : begin + size].view(dtype).reshape(shape)


def room(rows: int, tiles: int) -> Room:
    most = max(tiles * TILE, rows)
    return Room(
        tiles=aligned(np.int32, tiles * rows * TILE),
        held=aligned(np.int64, rows * TILE),
        bought=aligned(np.int64, rows * TILE),
        rows=aligned(np.int64, 11, rows),
        columns=aligned(np.int64, 5, tiles * TILE),
        remainder=aligned(np.int64, most),
        chosen=aligned(np.bool_, most),
        guide=aligned(np.int32, rows),
        coarse=aligned(np.int16, rows + 1),
        codes=aligned(np.int16, rows * TILE),
        narrow=aligned(np.int16, 3, TILE),
        lane=aligned(np.int32, 6, TILE),
        below=aligned(np.int64, 3, TILE),
        cap=aligned(np.int32, tiles * TILE),
        lanes=aligned(np.int64, 2 * (BLOCK + 1) * TILE),
    )
