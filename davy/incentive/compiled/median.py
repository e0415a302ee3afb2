"""The stake-weighted median of a tile of columns: by halving, a column a SIMD lane, and a sort of what is left."""

from __future__ import annotations

from davy.incentive.compiled.jit import compiled
from davy.incentive.fixed_point import Int64

TILE = 32
"""Columns at a time: a tile of 64 rows fills half of a first-level cache."""
BLOCK = 8
"""Tiles at a time: what lies in rows is read and written in runs that are long enough to be fetched ahead."""
UNROLLED = 8
"""Rows at a time, so that a sum is loaded and stored once for all of them."""
FEW = 12
"""No more than so many weights of a column are sorted rather than halved on."""


@compiled
def bounds(w: Int64, voter: Int64, voters: int, low: Int64, high: Int64) -> None:
    """The least and the greatest weight that a voter gives, or 0."""
    for j in range(w.shape[1]):
        low[j] = high[j] = w[voter[0], j] if voters > 0 else 0
    for k in range(0, voters, 4):
        r0, r1 = voter[k], voter[min(k + 1, voters - 1)]
        r2, r3 = voter[min(k + 2, voters - 1)], voter[min(k + 3, voters - 1)]
        for j in range(w.shape[1]):
            w0, w1, w2, w3 = w[r0, j], w[r1, j], w[r2, j], w[r3, j]
            low[j] = min(low[j], min(min(w0, w1), min(w2, w3)))
            high[j] = max(high[j], max(max(w0, w1), max(w2, w3)))


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
def halve(threshold: int, below: Int64, low: Int64, high: Int64, middle: Int64, before: Int64) -> int:
    """Halve all columns' intervals by what is `below` their `middle`; what the widest of them measures then."""
    widest = 0
    for j in range(TILE):
        exceeds = below[j] > threshold
        stay = exceeds or low[j] == high[j]
        high[j] = middle[j] if exceeds else high[j]
        low[j] = low[j] if stay else middle[j] + 1
        before[j] = before[j] if stay else below[j]
        middle[j] = (low[j] + high[j]) >> 1
        widest = max(widest, high[j] - low[j])
    return widest


@compiled
def gather(
    w: Int64, voter: Int64, stake: Int64, voters: int, low: Int64, high: Int64, count: Int64, few: Int64
) -> bool:
    """Collect in `few` [2, TILE, FEW] the weights within [low, high] and their stakes; False if they are too many."""
    for j in range(w.shape[1]):
        count[j] = 0
    for k in range(voters):
        i = voter[k]
        # Below 0 where the weight lies outside: a row that lies outside everywhere is passed over in a few instructions.
        outside = -1
        for j in range(TILE):
            outside &= (w[i, j] - low[j]) | (high[j] - w[i, j])
        if outside < 0:
            continue
        for j in range(w.shape[1]):
            # One branch that is seldom taken: two of them, each a toss of a coin, cost as much as all the rest.
            if (low[j] <= w[i, j]) & (w[i, j] <= high[j]):
                place = count[j]
                if place == FEW:
                    return False
                few[0, j, place] = w[i, j]
                few[1, j, place] = stake[k]
                count[j] = place + 1
    return True


@compiled
def pick(few: Int64, j: int, n: int, before: int, threshold: int, otherwise: int) -> int:
    """The smallest of n gathered weights of column j with which the stake exceeds the threshold."""
    for i in range(1, n):
        w, s, k = few[0, j, i], few[1, j, i], i
        while k > 0 and few[0, j, k - 1] > w:
            few[0, j, k], few[1, j, k] = few[0, j, k - 1], few[1, j, k - 1]
            k -= 1
        few[0, j, k], few[1, j, k] = w, s
    total = before
    for i in range(n):
        total += few[1, j, i]
        if total > threshold:
            return few[0, j, i]
    return otherwise


@compiled
def weighted_median(
    w: Int64, voter: Int64, stake: Int64, voters: int, threshold: int, lane: Int64, few: Int64, consensus: Int64
) -> None:
    """`consensus.weighted_median` of a tile w [V, TILE]; `lane` [6, TILE] and `few` [2, TILE, FEW] are to work in.

    C lies within `low` and `high`, and `before` is the stake below `low`. Halving as often as the number of voters has
    bits leaves few weights, unless many are nearly alike.
    """
    low, high, middle, below, before, count = lane[0], lane[1], lane[2], lane[3], lane[4], lane[5]
    bounds(w, voter, voters, low, high)
    widest, left = 0, 1
    while 1 << left <= voters:
        left += 1
    for j in range(TILE):
        before[j] = 0
        middle[j] = (low[j] + high[j]) >> 1
        widest = max(widest, high[j] - low[j])
    while widest > 0:
        add_stake_up_to(w, voter, stake, voters, middle, below)
        widest = halve(threshold, below, low, high, middle, before)
        left -= 1
        if left == 0 and widest > 0:
            if gather(w, voter, stake, voters, low, high, count, few):
                for j in range(TILE):
                    consensus[j] = pick(few, j, count[j], before[j], threshold, high[j])
                return
            left = 6
    for j in range(TILE):
        consensus[j] = high[j]
