"""Validator permits: the k largest stakes (subtensor's `is_topk_nonzero`)."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import Bool, Int64


def top_k(values: Int64, k: int) -> Bool:
    """The k largest of `values` along the last axis; among equals the lower index, the older seat, comes first.

    subtensor sorts upwards and keeps the higher index among equals, which differs only in a tie at the k-th place.
    """
    place = np.argsort(np.argsort(-values, axis=-1, kind="stable"), axis=-1, kind="stable")
    return place < k


def permits(stake: Int64, max_validators: int, *, permit_zero_stake: bool) -> Bool:
    """Permits that this epoch hands out: `top_k` of the stake [..., V] that counts; none without stake by default."""
    chosen = top_k(stake, max_validators)
    return chosen if permit_zero_stake else chosen & (stake > 0)
