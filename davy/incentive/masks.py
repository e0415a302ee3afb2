"""What counts in an epoch: stake of active, permitted rows, and weights on columns the row can have meant.

Masks are bool and True where the rule forbids. Blocks are heights of the ledger.
"""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import Bool, Int64

NO_COMMIT = int(np.iinfo(np.int64).max)
"""`EpochInputs.earliest_commit` of a row that has no unexpired commit."""


def inactive(last_update: Int64, activity_cutoff: int, now: Int64) -> Bool:
    """last_update_i + activity_cutoff < now, [..., V]: the row's weights are too old for its stake to vote."""
    return last_update + activity_cutoff < now[..., None]


def above_threshold(stake: Int64, threshold: int) -> Int64:
    """Stake [..., V], where what is below `threshold` base units counts 0."""
    return np.where(stake < threshold, 0, stake) if threshold else stake


def active_stake(stake: Int64, idle: Bool, permits: Bool) -> Int64:
    """Stake [..., V] of rows that are active and held the permit of the epoch before; 0 for the others."""
    return np.where(idle | ~permits, 0, stake)


def newest_meant(last_update: Int64, earliest_commit: Int64, permits: Bool) -> Int64:
    """The latest registration that row i's weights can have meant, [..., V]; −1, before any, for a row without permit.

    Columns registered at last_update_i or later are outdated, as in run_epoch.rs; those registered after
    earliest_commit_i are not what the weights hidden in that commit were chosen for.
    """
    return np.where(permits, np.minimum(last_update - 1, earliest_commit), -1)


def newer(registered_at: Int64, than: Int64) -> Bool:
    """registered_at_j > than_i, [..., V, M]: the column's holder came later than the row's entries allow for."""
    return registered_at[..., None, :] > than[..., :, None]


def self_weight(self_column: Int64, owner_row: Int64, columns: int) -> Bool:
    """[..., V, M]: a row's weight on its own column, except the subnet owner's (`owner_row` −1: there is none)."""
    row = np.arange(self_column.shape[-1], dtype=np.int64)
    own = np.where(row == owner_row[..., None], -1, self_column)
    return own[..., :, None] == np.arange(columns, dtype=np.int64)


def own_column(values: Int64, self_column: Int64, absent: int) -> Int64:
    """values_j [..., M] of each row's own column, [..., V]; `absent` for a row without one."""
    column = np.maximum(self_column, 0)
    if values.ndim == 1:
        own = values[column]
    else:
        own = np.take_along_axis(values, np.broadcast_to(column, (*values.shape[:-1], column.shape[-1])), axis=-1)
    return np.where(self_column < 0, absent, own)
