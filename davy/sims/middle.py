"""What rows agree on, as a copier works it out: the stake-weighted median of each column."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from davy.incentive.accelerated import accelerated
from davy.incentive.consensus import minority, weighted_median
from davy.incentive.fixed_point import Int64, row_normalise
from davy.incentive.mechanism import BondState, EpochInputs, Mechanism, Params

Middle: TypeAlias = Callable[[Int64, Int64, int], Int64]
"""Weights [runs, h, M], stake [runs, h] and κ (u16) to Q30 [runs, M]."""


def middle(*, compiled: bool) -> Middle:
    """By the rules of the reference, or of the compiled incentive for the same bits."""
    return partial(_by_epoch, accelerated("yuma3")) if compiled else _by_rules


def _by_rules(rows: Int64, stake: Int64, kappa: int) -> Int64:
    return weighted_median(row_normalise(rows), stake, minority(stake.sum(axis=1), kappa))


def _by_epoch(yuma: Mechanism[BondState], rows: Int64, stake: Int64, kappa: int) -> Int64:
    """The consensus of an epoch in which these rows are all there is; the bonds in it are few beside the sorting."""
    x = EpochInputs.unmasked(rows, np.ascontiguousarray(stake))
    return yuma.epoch(yuma.initial(rows.shape), x, Params(kappa=kappa))[1].consensus
