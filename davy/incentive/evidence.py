"""Evidence: what validators reported on tasks and what audits found, for mechanisms that pay by peer prediction.

Weights say what a validator thinks of a miner; reports say what it saw in each single task, so that whether it looked
at all can be told from how it agrees with others, with earlier epochs, or with a few labels audited in secret.
Yuma 2 and Yuma 3 read none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from davy.incentive.door import BadInput, integers
from davy.incentive.fixed_point import MAX_N, Int64

Int8 = NDArray[np.int8]

NOTHING = -1
"""No report, no label, no column."""
MAX_ANSWER = 126
MAX_EPOCHS = 64
MAX_TASKS = 4096
"""An epoch; with all epochs and rows a count stays below 2^30."""


def _answers(name: str, value: ArrayLike) -> Int8:
    array = np.asarray(value)
    if array.dtype != np.int8 or array.size == 0:
        raise BadInput(f"{name} is {array.dtype}{list(array.shape)}; it must be int8 and not empty")
    if int(array.min()) < NOTHING or int(array.max()) > MAX_ANSWER:
        raise BadInput(f"{name} holds {array.min()} to {array.max()}; it must lie within {NOTHING} to {MAX_ANSWER}")
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Reports of the last E epochs, oldest first; the last of them is the epoch that ends. T tasks an epoch.

    Attributes
    ----------
    reports : int8 [..., E, V, T]
        What each row answered, 0 to 126, or −1: it was not asked, or said nothing.
    labels : int8 [..., E, T]
        What an audit found, or −1: not audited.
    columns : int64 [..., E, T]
        The column that the task was about, or −1. Rows and columns are those of the epoch that ends: who makes the
        evidence leaves out, as −1, what holders of a UID reported, or were judged for, who are gone.

    Raises
    ------
    BadInput
        A field of the wrong type, shape or range.
    """

    reports: Int8
    labels: Int8
    columns: Int64

    def __post_init__(self) -> None:
        reports = _answers("reports", self.reports)
        if reports.ndim < 3 or reports.shape[-3] > MAX_EPOCHS or reports.shape[-1] > MAX_TASKS:
            raise BadInput(
                f"reports has shape {reports.shape}; it must be [..., E, V, T], E up to {MAX_EPOCHS}, T to {MAX_TASKS}"
            )
        object.__setattr__(self, "reports", reports)
        object.__setattr__(self, "labels", _answers("labels", self.labels))
        object.__setattr__(self, "columns", integers("columns", self.columns, NOTHING, MAX_N - 1))
        expected = (*reports.shape[:-2], reports.shape[-1])
        for name, array in (("labels", self.labels), ("columns", self.columns)):
            if array.shape != expected:
                raise BadInput(f"{name} has shape {array.shape}; with these reports it must be {expected}")

    def require(self, batch: tuple[int, ...], rows: int, columns: int) -> None:
        """Refuse evidence of another batch, of other rows, or on columns that there are not.

        Raises
        ------
        BadInput
            It does not belong to these weights.
        """
        *front, _, reporting, _ = self.reports.shape
        if tuple(front) not in (batch, ()) or reporting != rows:
            raise BadInput(
                f"evidence has the batch {tuple(front)} and {reporting} rows; weights have {batch} and {rows}"
            )
        if int(self.columns.max()) >= columns:
            raise BadInput(f"evidence is of column {int(self.columns.max())}; there are {columns}")

    def of_runs(self, runs: slice | int) -> Evidence:
        """Part of a batch, counted through all its axes; evidence that serves all of it is returned as it is."""
        if self.reports.ndim == 3:
            return self
        *_, epochs, rows, tasks = self.reports.shape
        return Evidence(
            reports=self.reports.reshape(-1, epochs, rows, tasks)[runs],
            labels=self.labels.reshape(-1, epochs, tasks)[runs],
            columns=self.columns.reshape(-1, epochs, tasks)[runs],
        )


__all__ = ["MAX_ANSWER", "NOTHING", "BadInput", "Evidence"]
