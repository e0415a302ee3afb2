"""Which weights count: the masks of an epoch, each a bool array that is True where the rule forbids. DESIGN §5 steps 1 and 5."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import Bool, Int64

NO_COMMIT = int(np.iinfo(np.int64).max)
"""`EpochInputs.earliest_commit` of a row that has no unexpired commit."""


def inactive(last_update: Int64, activity_cutoff: int, now: Int64) -> Bool:
    """last_update + activity_cutoff < now, per row [..., V], in blocks: the validator has not set weights for too long."""
    return last_update + activity_cutoff < now[..., None]


def below_threshold(stake: Int64, threshold: int) -> Int64:
    """Stake [..., V] with what is below `threshold` base units counted as 0."""
    return np.where(stake < threshold, 0, stake)


def unpermitted(permits: Bool) -> Bool:
    """[..., V, 1]: rows without the validator permit of the epoch before."""
    return ~permits[..., :, None]


def self_weight(self_column: Int64, owner_row: Int64, columns: int) -> Bool:
    """[..., V, M]: a row's weight on its own column, but for the subnet owner's row (−1: there is none)."""
    rows = np.arange(self_column.shape[-1])
    own = np.where(rows == owner_row[..., None], -1, self_column)
    return own[..., :, None] == np.arange(columns)


def outdated(last_update: Int64, registered_at: Int64) -> Bool:
    """[..., V, M]: registered_at_j ≥ last_update_i: the UID changed hands at or after the block the row was written in.

    The same rule serves bonds, with the block of the epoch before in place of the row's last update.
    """
    return registered_at[..., None, :] >= last_update[..., :, None]


def uncommitted(earliest_commit: Int64, registered_at: Int64) -> Bool:
    """[..., V, M]: registered_at_j > earliest_commit_i: the row is about to reveal weights it chose before the column existed."""
    return registered_at[..., None, :] > earliest_commit[..., :, None]


def own_column(values: Int64 | Bool, self_column: Int64, absent: int) -> Int64:
    """values_j [..., M] of each row's own column: [..., V]; `absent` for a row without one."""
    batch = np.broadcast_shapes(values.shape[:-1], self_column.shape[:-1])
    columns = np.broadcast_to(self_column, (*batch, self_column.shape[-1]))
    own = np.take_along_axis(np.broadcast_to(values, (*batch, values.shape[-1])), np.maximum(columns, 0), axis=-1)
    return np.where(columns < 0, absent, own)


def replaced(bonds_at: Int64, registered_at: Int64, self_column: Int64) -> Bool:
    """[..., V, M]: bonds stored before their row or their column changed hands: outdated columns, and rows whose own column is."""
    newcomers = own_column(registered_at, self_column, -1) >= bonds_at
    return outdated(bonds_at, registered_at) | newcomers[..., :, None]
