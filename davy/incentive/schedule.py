"""The schedule: what a block may mint, and a subnet's part of it. Base units, rounded down; Python integers."""

from __future__ import annotations

from davy.incentive.door import whole
from davy.incentive.fixed_point import MAX_AMOUNT, PPM


def block_reward(height: int, *, initial: int, interval: int) -> int:
    """`initial` · 2^-h, rounded down, with h = (height − 1) div `interval`; heights and intervals from 1.

    By height, so that what has been minted is a function of the height alone, and anybody can check it.
    `block_emission` is subtensor's.

    Raises
    ------
    BadInput
        A height or an interval below 1, an initial reward above 2^60.
    """
    halvings = (whole("height", height, 1, 1 << 63) - 1) // whole("interval", interval, 1, 1 << 63)
    return whole("initial", initial, 0, MAX_AMOUNT) >> halvings


def subnet_reward(reward: int, share: int) -> int:
    """floor(reward · share / 10^6): a subnet's part of a block's reward. What no share takes is not minted."""
    return reward * share // PPM


def block_emission(issued: int, *, supply: int, initial: int) -> int:
    """Base units that a block may mint by what is issued: halved whenever half of what was left is issued.

    initial · 2^-h for the largest h with issued ≥ supply·(1 − 2^-h), and never more than what is left. Subtensor's
    coinbase/block_emission.rs, which takes h = floor(log2(1 / (1 − issued / supply))) in I96F32: exact here.

    Raises
    ------
    BadInput
        More issued than the supply.
    """
    left = supply - whole("issued", issued, 0, supply)
    return min(initial >> ((supply // left).bit_length() - 1), left) if left else 0
