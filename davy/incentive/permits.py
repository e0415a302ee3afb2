"""Validator permits: the k largest stakes. DESIGN §5 step 3, subtensor's `is_topk_nonzero`."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import Bool, Int64


def top_k(values: Int64, k: int) -> Bool:
    """The k largest of `values` along the last axis; of equal ones the lower index, which is the older seat, comes first.

    subtensor's `is_topk` sorts upwards and so prefers the higher index among equals; only ties at the k-th place differ.
    """
    order = np.argsort(-values, axis=-1, kind="stable")
    chosen = np.zeros(values.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order[..., :k], True, axis=-1)
    return chosen


def permits(stake: Int64, max_validators: int, *, permit_zero_stake: bool) -> Bool:
    """The permits this epoch hands out: top-k by stake [..., V] after the threshold; a zero stake only if `permit_zero_stake`."""
    chosen = top_k(stake, max_validators)
    return chosen if permit_zero_stake else chosen & (stake > 0)
