"""The stake-weighted median of a tile, guessed in 16 bits: twice the lanes of 32. `median` proves what comes of it."""

from __future__ import annotations

from davy.incentive.compiled.jit import inner
from davy.incentive.compiled.lanes import ROW, TILE, U, shifted
from davy.incentive.fixed_point import Int16, Int32, Int64

CODE_BITS = 15
"""Of a weight's code, and of what coarse stakes sum to: what an int16 holds."""


@inner
def coarse_by(stake: Int64, voters: int, threshold: int, coarse: Int16) -> None:
    """The voters' stake, and behind it the threshold, rounded to so few bits that the stake sums below 2^15."""
    total, dropped = 0, 0
    for k in range(voters):
        total += stake[k]
    while total >> dropped >= (1 << CODE_BITS) - voters:
        dropped += 1
    half = (1 << dropped) >> 1
    for k in range(voters):
        coarse[k] = (stake[k] + half) >> dropped
    coarse[voters] = (threshold + half) >> dropped


@inner
def greatest(w: Int32, base: int, voters: int, most: Int32) -> None:
    """The greatest weight of a voter."""
    for j in range(TILE):
        most[j] = w[U(base) + U(j)]
    for k in range(0, voters - 3, 4):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            at = row + U(j)
            w0, w1, w2, w3 = w[at], w[at + ROW], w[at + U(2) * ROW], w[at + U(3) * ROW]
            most[j] = max(most[j], max(max(w0, w1), max(w2, w3)))
    for k in range(voters & ~3, voters):
        row = U(base) + U(k) * ROW
        for j in range(TILE):
            most[j] = max(most[j], w[row + U(j)])


@inner
def encode(w: Int32, base: int, voters: int, most: Int32, shift: Int32, codes: Int16) -> None:
    """Weights without so many low bits that the greatest of their column keeps 15."""
    for j in range(TILE):
        shift[j] = 0
    for bit in range(CODE_BITS, 31):
        for j in range(TILE):
            shift[j] += most[j] >> bit > 0
    for k in range(voters):
        row, to = U(base) + U(k) * ROW, U(k) * ROW
        for j in range(TILE):
            codes[to + U(j)] = shifted(w[row + U(j)], shift[j])


@inner
def add_coarse_below(codes: Int16, coarse: Int16, voters: int, limit: Int16, below: Int16) -> None:
    """below_j = Σ_{k: code_kj < limit_j} coarse_k; eight rows at a time, to load and store a sum once for them."""
    for j in range(TILE):
        below[j] = 0
    for k in range(0, voters - 7, 8):
        v, row = U(k), U(k) * ROW
        s0, s1, s2, s3 = coarse[v], coarse[v + U(1)], coarse[v + U(2)], coarse[v + U(3)]
        s4, s5, s6, s7 = coarse[v + U(4)], coarse[v + U(5)], coarse[v + U(6)], coarse[v + U(7)]
        for j in range(TILE):
            at, m = row + U(j), limit[j]
            added = s0 if codes[at] < m else 0
            added += s1 if codes[at + ROW] < m else 0
            added += s2 if codes[at + U(2) * ROW] < m else 0
            added += s3 if codes[at + U(3) * ROW] < m else 0
            added += s4 if codes[at + U(4) * ROW] < m else 0
            added += s5 if codes[at + U(5) * ROW] < m else 0
            added += s6 if codes[at + U(6) * ROW] < m else 0
            added += s7 if codes[at + U(7) * ROW] < m else 0
            below[j] += added
    for k in range(voters & ~7, voters):
        row, s0 = U(k) * ROW, coarse[k]
        for j in range(TILE):
            below[j] += s0 if codes[row + U(j)] < limit[j] else 0


@inner
def guessed_code(codes: Int16, coarse: Int16, voters: int, code: Int16, limit: Int16, below: Int16) -> None:
    """The greatest code with no more coarse stake below it than the threshold, bit by bit from the highest."""
    for j in range(TILE):
        code[j] = 0
    for bit in range(CODE_BITS - 1, -1, -1):
        for j in range(TILE):
            limit[j] = code[j] | (1 << bit)
        add_coarse_below(codes, coarse, voters, limit, below)
        threshold = coarse[voters]
        for j in range(TILE):
            code[j] = limit[j] if below[j] <= threshold else code[j]


@inner
def guess(w: Int32, base: int, voters: int, coarse: Int16, codes: Int16, narrow: Int16, lane: Int32) -> None:
    """Where C may begin, into lane 0: the least weight of the guessed code; lane 2 the column's greatest weight."""
    low, shift, most = lane[0], lane[1], lane[2]
    greatest(w, base, voters, most)
    encode(w, base, voters, most, shift, codes)
    guessed_code(codes, coarse, voters, narrow[0], narrow[1], narrow[2])
    for j in range(TILE):
        low[j] = narrow[0, j] << shift[j]
