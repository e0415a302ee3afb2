"""The last step of an epoch: a mechanism's shares become its result, those of halted UIDs set apart."""

from __future__ import annotations

import numpy as np

from davy.incentive import masks
from davy.incentive.agreement import Agreement
from davy.incentive.dividends import fallback, withhold
from davy.incentive.fixed_point import ONE_BITS, Int64
from davy.incentive.mechanism import EpochInputs, EpochResult


def settle(a: Agreement, dividends: Int64, x: EpochInputs) -> EpochResult:
    """A halted column earns nothing as a miner, nor as a validator where it is a row's own.

    Its weights, bonds and dividends were computed as if it were not halted: what the others get does not move.
    """
    shares = (a.I, dividends, fallback(a.S, a.stake))
    if x.halted.any():
        rows = masks.own_column(x.halted.astype(np.int64), x.self_column, 0) != 0
        paid = [withhold(share, halted) for share, halted in zip(shares, (x.halted, rows, rows), strict=True)]
    else:
        paid = [(share, np.zeros(share.shape[:-1], dtype=np.int64)) for share in shares]
    (incentive, incentive_withheld), (dividends, dividends_withheld), (unearned, fallback_withheld) = paid
    return EpochResult(
        incentive=incentive,
        dividends=dividends,
        fallback=unearned,
        incentive_withheld=incentive_withheld,
        dividends_withheld=dividends_withheld,
        fallback_withheld=fallback_withheld,
        consensus=a.C,
        rank=a.R >> ONE_BITS,
        validator_trust=a.W_clipped.sum(axis=-1),
        active_stake=a.S,
        permits=a.permits,
    )
