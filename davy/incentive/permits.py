"""Validator permits: the k largest stakes (subtensor's `is_topk_nonzero`)."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import Bool, Int64


def top_k(values: Int64, k: int, *, tie_to_newer: bool = False) -> Bool:
    """The k largest of `values` along the last axis; among equals the lower index, the older seat, comes first.

    With `tie_to_newer` the higher index does: subtensor's `is_topk` sorts upwards and drops the first n − k.
    """
    if k >= values.shape[-1]:
        return np.ones(values.shape, dtype=np.bool_)
    ordered = values[..., ::-1] if tie_to_newer else values
    chosen = np.argsort(np.argsort(-ordered, axis=-1, kind="stable"), axis=-1, kind="stable") < k
    return chosen[..., ::-1] if tie_to_newer else chosen


def permits(stake: Int64, max_validators: int, *, permit_zero_stake: bool, tie_to_newer: bool = False) -> Bool:
    """Permits that this epoch hands out: `top_k` of the stake [..., V] that counts; none without stake by default."""
    chosen = top_k(stake, max_validators, tie_to_newer=tie_to_newer)
    return chosen if permit_zero_stake else chosen & (stake > 0)
