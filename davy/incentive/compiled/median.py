"""The stake-weighted median of a tile of columns: guessed, then proved; where the guess is far off, searched for."""

from __future__ import annotations

from davy.incentive.compiled.guess import guess
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.lanes import ROW, TILE, U
from davy.incentive.fixed_point import Int16, Int32, Int64

Either = Int32 | Int64
CLOSER = 7
"""So many more halvings than the number of voters has bits: by then, a column seldom has two weights left."""
LATER = 3
"""Halvings between one proof that fails and the next."""
STEPS = 4
"""From a guess, one weight each, before it is searched for."""
GUIDE_BITS = 31
"""Of the stake that guides the halving, in total."""


@compiled
def extremes(w: Int32, base: int, voters: int, least: Int32, greatest: Int32) -> None:
    """The least and the greatest weight of a voter; of the first row where there is none."""
    for j in range(TILE):
        least[j] = greatest[j] = w[U(base) + U(j)]
    for k in range(0, voters - 3, 4):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            at = row + U(j)
            w0, w1, w2, w3 = w[at], w[at + ROW], w[at + U(2) * ROW], w[at + U(3) * ROW]
            least[j] = min(least[j], min(min(w0, w1), min(w2, w3)))
            greatest[j] = max(greatest[j], max(max(w0, w1), max(w2, w3)))
    for k in range(voters & ~3, voters):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            least[j] = min(least[j], w[row + U(j)])
            greatest[j] = max(greatest[j], w[row + U(j)])


@compiled
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


@compiled
def add_stake_up_to(w: Int32, base: int, stake: Either, voters: int, middle: Int32, below: Either) -> None:
    """below_j = Σ_{k: w_kj ≤ middle_j} stake_k, of 64 bits or, where stake is, of 32.

    Eight rows at a time, so that a sum is loaded and stored once for all of them.
    """
    for j in range(TILE):
        below[j] = 0
    for k in range(0, voters - 7, 8):
        row = U(base) + U(k) * ROW
        s0, s1, s2, s3 = stake[k], stake[k + 1], stake[k + 2], stake[k + 3]
        s4, s5, s6, s7 = stake[k + 4], stake[k + 5], stake[k + 6], stake[k + 7]
        for j in range(TILE):
            at, m = row + U(j), middle[j]
            added = s0 if w[at] <= m else 0
            added += s1 if w[at + ROW] <= m else 0
            added += s2 if w[at + U(2) * ROW] <= m else 0
            added += s3 if w[at + U(3) * ROW] <= m else 0
            added += s4 if w[at + U(4) * ROW] <= m else 0
            added += s5 if w[at + U(5) * ROW] <= m else 0
            added += s6 if w[at + U(6) * ROW] <= m else 0
            added += s7 if w[at + U(7) * ROW] <= m else 0
            below[j] += added
    for k in range(voters & ~7, voters):
        row, s0 = U(base) + U(k) * ROW, stake[k]
        for j in range(TILE):
            below[j] += s0 if w[row + U(j)] <= middle[j] else 0


@compiled
def halve(threshold: int, below: Either, low: Int32, middle: Int32, high: Int32) -> None:
    """Keep the half of each [low, high] that C lies in, by the stake `below` or at its middle; then take its middle."""
    for j in range(TILE):
        exceeds = below[j] > threshold
        high[j] = middle[j] if exceeds else high[j]
        low[j] = low[j] if exceeds else min(middle[j] + 1, high[j])
        middle[j] = low[j] + ((high[j] - low[j]) >> 1)


@compiled
def not_proved(
    w: Int32, base: int, stake: Int64, voters: int, threshold: int, middle: Int32, below: Int64, consensus: Int32
) -> int:
    """How many of `consensus` are not C by its definition: without it not above the threshold, with it above."""
    for j in range(TILE):
        middle[j] = consensus[j] - 1
    add_stake_up_to(w, base, stake, voters, middle, below[0])
    add_stake_up_to(w, base, stake, voters, consensus, below[1])
    wrong = 0
    for j in range(TILE):
        wrong += below[0, j] > threshold or below[1, j] <= threshold
    return wrong


@compiled
def search(
    w: Int32, base: int, guide: Either, voters: int, guide_threshold: int, stake: Int64, threshold: int, lane: Int32,
    guided: Either, below: Int64, consensus: Int32,
) -> bool:  # fmt: skip
    """`consensus.weighted_median` of a tile, guided by stake that may be rounded; False where that led astray.

    C is the least weight within [low, high] as soon as no other is left below it there, which is what a proof shows.
    """
    low, middle, high = lane[0], lane[1], lane[2]
    extremes(w, base, voters, low, high)
    rounds = CLOSER
    while 1 << (rounds - CLOSER) <= voters:
        rounds += 1
    widest = 1
    while widest > 0:
        for j in range(TILE):
            middle[j] = low[j] + ((high[j] - low[j]) >> 1)
        for _ in range(rounds):
            add_stake_up_to(w, base, guide, voters, middle, guided)
            halve(guide_threshold, guided, low, middle, high)
        least_from(w, base, voters, low, high, consensus)
        if not_proved(w, base, stake, voters, threshold, middle, below, consensus) == 0:
            return True
        widest, rounds = 0, LATER
        for j in range(TILE):
            widest = max(widest, high[j] - low[j])
    return False


@compiled
def add_stake_around(w: Int32, base: int, guide: Int32, voters: int, consensus: Int32, around: Int32) -> None:
    """The guiding stake below `consensus` [0], and that with what lies at it [1]."""
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


@compiled
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

    A sum of stakes is not below that of their guides, and exceeds it by less than `slack`, or not at all where that is 0.
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


@compiled
def weighted_median(
    w: Int32, base: int, stake: Int64, voters: int, threshold: int, guide: Int32, dropped: int, coarse: Int16,
    codes: Int16, narrow: Int16, lane: Int32, below: Int64,
) -> None:  # fmt: skip
    """C of the tile of w that begins at `base`, into lane 3; its first rows are the voters', whose stake is `stake`.

    `guide` is the stake without as many low bits as `dropped`. Where it cannot tell, which takes a sum of stakes
    within 2^-30 of the total, times their number, of the threshold, the exact stake searches.
    """
    consensus, guided = lane[3], threshold >> dropped
    if voters == 0:
        for j in range(TILE):
            consensus[j] = 0
        return
    guess(w, base, voters, coarse, codes, narrow, lane)
    least_from(w, base, voters, lane[0], lane[2], consensus)
    if walk(w, base, guide, voters, guided, voters if dropped else 0, lane, lane[4:], consensus):
        return
    if not search(w, base, guide, voters, guided, stake, threshold, lane, lane[4], below, consensus):
        search(w, base, stake, voters, threshold, stake, threshold, lane, below[0], below, consensus)
