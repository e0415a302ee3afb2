"""The stake-weighted median of a tile of columns: by halving, a column a SIMD lane."""

from __future__ import annotations

from davy.incentive.compiled.jit import compiled
from davy.incentive.fixed_point import ONE, Int64

TILE = 64
"""Columns at a time: a tile of 64 rows is as large as a first-level cache, and a loop over it long enough to pay."""
BLOCK = 4
"""Tiles at a time: what lies in rows is read and written in runs that are long enough to be fetched ahead."""
UNROLLED = 8
"""Rows at a time, so that a sum is loaded and stored once for all of them."""
CLOSER = 6
"""So many more halvings than the number of voters has bits: by then, a column seldom has two weights left."""


@compiled
def narrow(w: Int64, voter: Int64, voters: int, low: Int64, high: Int64, least: Int64, greatest: Int64) -> int:
    """Narrow [low, high] to the least and the greatest weight of a voter within; what the widest measures then."""
    for j in range(TILE):
        least[j], greatest[j] = high[j], low[j]
    for k in range(0, voters, 4):
        r0, r1 = voter[k], voter[min(k + 1, voters - 1)]
        r2, r3 = voter[min(k + 2, voters - 1)], voter[min(k + 3, voters - 1)]
        for j in range(TILE):
            w0, w1, w2, w3 = w[r0, j], w[r1, j], w[r2, j], w[r3, j]
            a, b, at_least, at_most = low[j], high[j], least[j], greatest[j]
            at_least = min(at_least, w0 if w0 >= a else at_least)
            at_most = max(at_most, w0 if w0 <= b else at_most)
            at_least = min(at_least, w1 if w1 >= a else at_least)
            at_most = max(at_most, w1 if w1 <= b else at_most)
            at_least = min(at_least, w2 if w2 >= a else at_least)
            at_most = max(at_most, w2 if w2 <= b else at_most)
            at_least = min(at_least, w3 if w3 >= a else at_least)
            at_most = max(at_most, w3 if w3 <= b else at_most)
            least[j], greatest[j] = at_least, at_most
    widest = 0
    for j in range(TILE):
        low[j], high[j] = least[j], greatest[j]
        widest = max(widest, high[j] - low[j])
    return widest


@compiled
def add_stake_up_to(w: Int64, voter: Int64, stake: Int64, voters: int, middle: Int64, below: Int64) -> None:
    """below_j = Σ_{i: w_ij ≤ middle_j} stake_i; `stake` goes with `voter`, which are rows of w."""
    for j in range(w.shape[1]):
        below[j] = 0
    whole = voters - voters % UNROLLED
    for k in range(0, whole, UNROLLED):
        r0, r1, r2, r3 = voter[k], voter[k + 1], voter[k + 2], voter[k + 3]
        r4, r5, r6, r7 = voter[k + 4], voter[k + 5], voter[k + 6], voter[k + 7]
        s0, s1, s2, s3 = stake[k], stake[k + 1], stake[k + 2], stake[k + 3]
        s4, s5, s6, s7 = stake[k + 4], stake[k + 5], stake[k + 6], stake[k + 7]
        for j in range(w.shape[1]):
            m = middle[j]
            added = s0 if w[r0, j] <= m else 0
            added += s1 if w[r1, j] <= m else 0
            added += s2 if w[r2, j] <= m else 0
            added += s3 if w[r3, j] <= m else 0
            added += s4 if w[r4, j] <= m else 0
            added += s5 if w[r5, j] <= m else 0
            added += s6 if w[r6, j] <= m else 0
            added += s7 if w[r7, j] <= m else 0
            below[j] += added
    for k in range(whole, voters):
        for j in range(w.shape[1]):
            below[j] += stake[k] if w[voter[k], j] <= middle[j] else 0


@compiled
def halve(threshold: int, middle: Int64, below: Int64, low: Int64, high: Int64) -> None:
    """Keep the half of each [low, high] that C lies in, by the stake `below` or at its middle."""
    for j in range(TILE):
        exceeds = below[j] > threshold
        high[j] = middle[j] if exceeds else high[j]
        low[j] = low[j] if exceeds else min(middle[j] + 1, high[j])


@compiled
def weighted_median(
    w: Int64, voter: Int64, stake: Int64, voters: int, threshold: int, lane: Int64, consensus: Int64
) -> None:
    """`consensus.weighted_median` of a tile w [V, TILE]; `lane` [6, TILE] is to work in.

    C is a weight, and always the least one within [low, high] that the threshold lies below. What halving would take
    long to tell apart, `narrow` sees at once: that one weight is left.
    """
    low, high, middle, below, least, greatest = lane[0], lane[1], lane[2], lane[3], lane[4], lane[5]
    rounds = CLOSER
    while 1 << (rounds - CLOSER) <= voters:
        rounds += 1
    for j in range(TILE):
        low[j], high[j] = 0, ONE if voters > 0 else 0
    while narrow(w, voter, voters, low, high, least, greatest) > 0:
        for _ in range(rounds):
            for j in range(TILE):
                middle[j] = (low[j] + high[j]) >> 1
            add_stake_up_to(w, voter, stake, voters, middle, below)
            halve(threshold, middle, below, low, high)
        rounds = 2
    for j in range(TILE):
        consensus[j] = high[j]
