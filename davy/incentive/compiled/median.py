"""The stake-weighted median of a tile of columns: guessed, then proved; where the guess is far off, searched for."""

from __future__ import annotations

from davy.incentive.compiled.guess import guess
from davy.incentive.compiled.jit import compiled, inner
from davy.incentive.compiled.lanes import ROW, TILE, U
from davy.incentive.fixed_point import Int16, Int32, Int64

STEPS = 8
"""From a guess, one weight each, before it is searched for."""
GUIDE_BITS = 31
"""Of the stake that proves a guess, in total."""


@inner
def extremes(w: Int32, base: int, voters: int, least: Int32, greatest: Int32) -> None:
    """The least and the greatest weight of a voter."""
    for j in range(TILE):
        least[j] = greatest[j] = w[U(base) + U(j)]
    for k in range(1, voters):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            least[j] = min(least[j], w[row + U(j)])
            greatest[j] = max(greatest[j], w[row + U(j)])


@inner
def least_from(w: Int32, base: int, voters: int, low: Int32, high: Int32, least: Int32) -> None:
    """The least weight of a voter within [low_j, high_j]; high_j where there is none."""
    for j in range(TILE):
        least[j] = high[j]
    for k in range(0, voters - 3, 4):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            at, a, b = row + U(j), low[j], least[j]
            w0, w1, w2, w3 = w[at], w[at + ROW], w[at + U(2) * ROW], w[at + U(3) * ROW]
            b = min(b, w0 if w0 >= a else b)
            b = min(b, w1 if w1 >= a else b)
            b = min(b, w2 if w2 >= a else b)
            least[j] = min(b, w3 if w3 >= a else b)
    for k in range(voters & ~3, voters):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            w0 = w[row + U(j)]
            least[j] = min(least[j], w0 if w0 >= low[j] else least[j])


@inner
def add_stake_up_to(w: Int32, base: int, stake: Int64, voters: int, middle: Int32, below: Int64) -> None:
    """below_j = Σ_{k: w_kj ≤ middle_j} stake_k."""
    for j in range(TILE):
        below[j] = 0
    for k in range(0, voters - 3, 4):
        row = U(base) + U(k) * ROW
        s0, s1, s2, s3 = stake[k], stake[k + 1], stake[k + 2], stake[k + 3]
        for j in range(TILE):
            at, m = row + U(j), middle[j]
            added = s0 if w[at] <= m else 0
            added += s1 if w[at + ROW] <= m else 0
            added += s2 if w[at + U(2) * ROW] <= m else 0
            added += s3 if w[at + U(3) * ROW] <= m else 0
            below[j] += added
    for k in range(voters & ~3, voters):
        row, s0 = U(base) + U(k) * ROW, stake[k]
        for j in range(TILE):
            below[j] += s0 if w[row + U(j)] <= middle[j] else 0


@compiled
def search(
    w: Int32, base: int, stake: Int64, voters: int, threshold: int, lane: Int32, below: Int64, consensus: Int32
) -> None:
    """C of a tile by the exact stake: the interval that it lies in is halved until a single number is left."""
    low, middle, high = lane[0], lane[1], lane[2]
    extremes(w, base, voters, low, high)
    widest = 1
    while widest > 0:
        for j in range(TILE):
            middle[j] = low[j] + ((high[j] - low[j]) >> 1)
        add_stake_up_to(w, base, stake, voters, middle, below)
        widest = 0
        for j in range(TILE):
            exceeds = below[j] > threshold
            high[j] = middle[j] if exceeds else high[j]
            low[j] = low[j] if exceeds else min(middle[j] + 1, high[j])
            widest = max(widest, high[j] - low[j])
    for j in range(TILE):
        consensus[j] = low[j]


@inner
def add_stake_around(w: Int32, base: int, guide: Int32, voters: int, consensus: Int32, around: Int32) -> None:
    """The stake below `consensus` [0], and that with what lies at it [1], in the units of `guide`."""
    for j in range(TILE):
        around[0, j] = around[1, j] = 0
    for k in range(0, voters - 3, 4):
        row, s0, s1, s2, s3 = U(base) + U(k) * ROW, guide[k], guide[k + 1], guide[k + 2], guide[k + 3]
        for j in range(TILE):
            at, c = row + U(j), consensus[j]
            w0, w1, w2, w3 = w[at], w[at + ROW], w[at + U(2) * ROW], w[at + U(3) * ROW]
            around[0, j] += (
                (s0 if w0 < c else 0) + (s1 if w1 < c else 0) + (s2 if w2 < c else 0) + (s3 if w3 < c else 0)
            )
            around[1, j] += (
                (0 if w0 > c else s0) + (0 if w1 > c else s1) + (0 if w2 > c else s2) + (0 if w3 > c else s3)
            )
    for k in range(voters & ~3, voters):
        row, s0 = U(base) + U(k) * ROW, guide[k]
        for j in range(TILE):
            around[0, j] += s0 if w[row + U(j)] < consensus[j] else 0
            around[1, j] += 0 if w[row + U(j)] > consensus[j] else s0


@inner
def neighbours(w: Int32, base: int, voters: int, consensus: Int32, lower: Int32, higher: Int32) -> None:
    """The next weights of voters below and above `consensus`; −1 and 2^31 − 1 where there is none."""
    for j in range(TILE):
        lower[j], higher[j] = -1, (1 << 31) - 1
    for k in range(0, voters - 3, 4):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            at, c, a, b = row + U(j), consensus[j], lower[j], higher[j]
            w0, w1, w2, w3 = w[at], w[at + ROW], w[at + U(2) * ROW], w[at + U(3) * ROW]
            a, b = max(a, w0 if w0 < c else a), min(b, w0 if w0 > c else b)
            a, b = max(a, w1 if w1 < c else a), min(b, w1 if w1 > c else b)
            a, b = max(a, w2 if w2 < c else a), min(b, w2 if w2 > c else b)
            lower[j], higher[j] = max(a, w3 if w3 < c else a), min(b, w3 if w3 > c else b)
    for k in range(voters & ~3, voters):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            w0, c = w[row + U(j)], consensus[j]
            lower[j] = max(lower[j], w0 if w0 < c else lower[j])
            higher[j] = min(higher[j], w0 if w0 > c else higher[j])


@compiled
def walk(
    w: Int32, base: int, guide: Int32, voters: int, threshold: int, slack: int, lane: Int32, around: Int32,
    consensus: Int32,
) -> bool:  # fmt: skip
    """From a guess to C, a weight at a time where it is off; False if that is far, or the guide cannot tell.

    A sum of stakes is not below that of their guides, and exceeds it by less than `slack`, or by 0 where that is 0.
    """
    for _ in range(STEPS):
        add_stake_around(w, base, guide, voters, consensus, around)
        wrong, unclear = 0, 0
        for j in range(TILE):
            above, below = around[0, j] > threshold, around[1, j] + slack <= threshold
            proved = around[0, j] + slack <= threshold and around[1, j] > threshold
            wrong += above or below
            unclear += not (above or below or proved)
        if unclear > 0:
            return False
        if wrong == 0:
            return True
        neighbours(w, base, voters, consensus, lane[0], lane[1])
        for j in range(TILE):
            c = lane[0, j] if around[0, j] > threshold else consensus[j]
            consensus[j] = lane[1, j] if around[1, j] + slack <= threshold else c
    return False


@inner
def weighted_median(
    w: Int32, base: int, stake: Int64, voters: int, threshold: int, guide: Int32, dropped: int, coarse: Int16,
    codes: Int16, narrow: Int16, lane: Int32, below: Int64,
) -> None:  # fmt: skip
    """C of the tile of w that begins at `base`, into lane 3; its first rows are the voters', whose stake is `stake`.

    `guide` is the stake without as many low bits as `dropped`. The exact stake searches where the guess is far off, and
    where the guide cannot tell: a sum of stakes is within 2^-30 of the total, times their number, of the threshold.
    """
    consensus = lane[3]
    if voters == 0:
        for j in range(TILE):
            consensus[j] = 0
        return
    guess(w, base, voters, coarse, codes, narrow, lane)
    least_from(w, base, voters, lane[0], lane[2], consensus)
    if not walk(w, base, guide, voters, threshold >> dropped, voters if dropped else 0, lane, lane[4:], consensus):
        search(w, base, stake, voters, threshold, lane, below[0], consensus)
