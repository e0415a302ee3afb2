"""Pruning: who gives its UID away when a subnet is full, and who never does.

Source: subtensor's subnets/registration.rs, `get_neuron_to_prune`. There only the owner's keys are safe for ever; here
the largest stakes are, so that whoever registers in numbers cannot drive the validators out.
"""

from __future__ import annotations

import numpy as np

from davy.incentive.fixed_point import Bool, Int64
from davy.incentive.permits import top_k


def immune(blocks_seated: Int64, immunity: int) -> Bool:
    """blocks_seated_u < immunity, [..., n]: it has not been there long enough to be judged."""
    return blocks_seated < immunity


def kept_by_stake(stake: Int64, most: int) -> Bool:
    """The largest stakes [..., n], of `most` UIDs and at most a quarter of all (but one), never of who has none."""
    seats = min(most, max(1, stake.shape[-1] // 4))
    return top_k(stake, seats) & (stake > 0)


def pruning_score(
    emission: Int64, registered_at: Int64, safe: Bool, unjudged: Bool, *, immune_too: bool = False
) -> Int64:
    """Place in the line of who goes, [..., n]: 0 goes first; n stands for never.

    In line are who is neither `safe` nor `unjudged` [..., n], ordered by emission [..., n] in base units (the smallest
    first), then by registration (the oldest first), then by UID.

    With `immune_too` the unjudged stand in line behind all others, in the same order, as in subtensor, where a
    newcomer to a subnet full of newcomers drives one of them out.
    """
    n = emission.shape[-1]
    never = safe if immune_too else safe | unjudged
    order = np.lexsort((registered_at, emission, unjudged, never), axis=-1)
    place = np.argsort(order, axis=-1, kind="stable")
    return np.where(never, n, place)
