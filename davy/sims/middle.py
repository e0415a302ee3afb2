"""What rows agree on: the stake-weighted median of each column, as a copier works it out, or the watch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from davy.incentive.accelerated import accelerated
from davy.incentive.consensus import minority, weighted_median
from davy.incentive.fixed_point import Int64, UInt16, row_normalise
from davy.incentive.mechanism import EpochInputs, Params

if TYPE_CHECKING:
    from davy.incentive.compiled.epochs import Compiled

Middle: TypeAlias = Callable[[UInt16, Int64, int], Int64]
"""Weights [..., h, M], stake [..., h] and κ (u16) to Q30 [..., M]."""


def middle(*, compiled: bool) -> Middle:
    """By the rules of the reference, or of the compiled incentive for the same bits."""
    return partial(_compiled, accelerated("yuma3")) if compiled else _by_rules


def _by_rules(rows: UInt16, stake: Int64, kappa: int) -> Int64:
    return weighted_median(row_normalise(rows.astype(np.int64)), stake, minority(stake.sum(axis=-1), kappa))


def _compiled(yuma: Compiled, rows: UInt16, stake: Int64, kappa: int) -> Int64:
    return yuma.consensus(EpochInputs.unmasked(rows, np.ascontiguousarray(stake)), Params(kappa=kappa))
