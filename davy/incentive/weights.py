"""Weights before they reach the ledger: to u16, and the limit on a single one (subtensor's set_weights)."""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import U16, Int64


def upscale_to_u16(weights: Int64) -> Int64:
    """W · 65535 / max w, to the nearest unit, halves up: the largest weight [..., M] becomes 65535; all 0 stays 0.

    w ≤ 2^46.
    """
    largest = np.maximum(weights.max(axis=-1, keepdims=True, initial=0), 1)
    return (2 * weights * U16 + largest) // (2 * largest)


def max_limited(weights: Int64, limit: int) -> bool:
    """Whether no weight of the row exceeds its `limit`, a u16, of the row's sum; an empty or zero row does not."""
    return int(weights.max(initial=0)) * U16 <= limit * int(weights.sum())
