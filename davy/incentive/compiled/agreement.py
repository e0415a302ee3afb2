"""Steps 1 to 9 of an epoch, of one run; see `agreement.py` one folder up."""

from __future__ import annotations

from typing import NamedTuple

from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.guess import coarse_by
from davy.incentive.compiled.jit import compiled, inner
from davy.incentive.compiled.lanes import ROW, TILE, U
from davy.incentive.compiled.median import GUIDE_BITS, weighted_median
from davy.incentive.compiled.shares import WORD, mark_largest, normalise, reciprocal
from davy.incentive.fixed_point import ONE, U16, Bool, Int32, Int64, Weights

COUNTED, VOTING, NEWEST, OWN, ORDER, ORDERED_STAKE, ORDERED_SHARE, TRUST, INCOME, SINCE, EARNED = range(11)
"""Of `Room.rows`: stake above the threshold and active, the newest registration meant, the own column that does not
count. Then, in the order of the tiles: which row it is, its stake that votes and its share of it, trust, income by
bonds; and of each row since when bonds stand and what it earned."""
RANK, INCENTIVE, CONSENSUS, BOND_FACTOR, MEANT = range(5)
"""Of `Room.columns`: after C the reciprocals of what a column's bonds sum to, and for the row at work
−1 in columns that its weights can have meant, and 0 in others."""


class Electorate(NamedTuple):
    """How many rows vote, what `minority` makes of their stake, and how many bits `guide_by` dropped of it."""

    voters: int
    threshold: int
    dropped: int


@inner
def of_run(run: int, own: int, length: int) -> int:
    """Where the `own` values of a run begin in an array of so many: those that all runs share are there once."""
    return run * own if length > own else 0


@inner
def registered(run: int, x: Inputs, width: int) -> int:
    """Where the run's registrations begin."""
    return of_run(run, width, len(x.registered_at))


@inner
def active_stake(run: int, x: Inputs, p: Numbers, rows: Int64) -> int:
    """Steps 1, 2 and 4: COUNTED and VOTING, and the ORDER with the voters first; returns the number of voters."""
    stake, permits = of_run(run, x.rows, len(x.stake)), of_run(run, x.rows, len(x.permits))
    last_update, now = of_run(run, x.rows, len(x.last_update)), x.now[of_run(run, 1, len(x.now))]
    voters, others = 0, x.rows
    for i in range(x.rows):
        counted = 0 if x.stake[stake + i] < p.stake_threshold else x.stake[stake + i]
        votes = x.permits[permits + i] and x.last_update[last_update + i] + p.activity_cutoff >= now and counted > 0
        rows[COUNTED, i] = counted
        rows[VOTING, i] = counted if votes else 0
        others -= not votes
        rows[ORDER, voters if votes else others] = i
        voters += votes
    return voters


@inner
def meant(run: int, x: Inputs, rows: Int64) -> None:
    """Step 5, what a row's weights can have meant: NEWEST, and OWN but for the subnet's owner."""
    last_update, permits = of_run(run, x.rows, len(x.last_update)), of_run(run, x.rows, len(x.permits))
    commit, own = of_run(run, x.rows, len(x.earliest_commit)), of_run(run, x.rows, len(x.self_column))
    owner = x.owner_row[of_run(run, 1, len(x.owner_row))]
    for i in range(x.rows):
        newest = min(x.last_update[last_update + i] - 1, x.earliest_commit[commit + i])
        rows[NEWEST, i] = newest if x.permits[permits + i] else -1
        rows[OWN, i] = -1 if i == owner else x.self_column[own + i]


@compiled
def guide_by(stake: Int64, voters: int, guide: Int32) -> int:
    """Stake without its low bits, so that its total has no more than `GUIDE_BITS`; returns how many it lost."""
    total, dropped = 0, 0
    for k in range(voters):
        total += stake[k]
    while total >> dropped >= 1 << GUIDE_BITS:
        dropped += 1
    for k in range(voters):
        guide[k] = stake[k] >> dropped
    return dropped


@inner
def minority(stake: Int64, m: int) -> int:
    """`consensus.minority` of the sum."""
    total = 0
    for i in range(len(stake)):
        total += stake[i]
    return (total // U16) * m + (total % U16) * m // U16


@inner
def permits_handed_out(counted: Int64, p: Numbers, handed_out: Bool) -> None:
    """Step 3: `permits.permits`."""
    if p.max_validators < len(counted):
        mark_largest(counted, len(counted), p.max_validators, p.permit_tie_to_newer, handed_out)
    else:
        handed_out[:] = True
    for i in range(len(counted)):
        handed_out[i] = handed_out[i] and (p.permit_zero_stake or counted[i] > 0)


@inner
def row_normalise(weights: Weights, start: int, width: int, registered_at: Int64, since: int, room: Room) -> None:
    """Step 5: W in tiles, `fixed_point.row_normalise` of what `agreement.counted_weights` leaves.

    Most rows follow one that can have meant the same columns, so MEANT is kept from row to row.
    """
    rows, meant, tiles = room.rows, room.columns[MEANT], room.tiles
    n, columns, known = rows.shape[1], U(since), -2
    for k in range(n):
        i = rows[ORDER, k]
        newest, own, total = rows[NEWEST, i], rows[OWN, i], 0
        row = U(start) + U(i) * U(width)
        if newest != known:
            known = newest
            for j in range(width):
                meant[U(j)] = -1 if registered_at[columns + U(j)] <= newest else 0
        for j in range(width):
            total += weights[row + U(j)] & meant[U(j)]
        if own >= 0:
            total -= weights[row + U(own)] & meant[own]
        factor = reciprocal(total)
        for t in range(width // TILE):
            to, first = (U(t) * U(n) + U(k)) * ROW, U(t) * ROW
            for j in range(TILE):
                counted = weights[row + first + U(j)] & meant[first + U(j)]
                tiles[to + U(j)] = ((counted & WORD) * factor) >> 32
        if own >= 0:
            tiles[(U(own // TILE) * U(n) + U(k)) * ROW + U(own % TILE)] = 0


@inner
def rank(w: Int32, base: int, share: Int64, consensus: Int32, ranks: Int64, first: int, trust: Int64) -> None:
    """Steps 7 and 8 of a tile: R of its columns, which begin at `first`, and what it adds to the rows' trust."""
    for j in range(TILE):
        ranks[U(first) + U(j)] = 0
    n = len(share)
    for k in range(0, n - 3, 4):
        row = U(base) + U(k) * ROW
        s0, s1, s2, s3 = share[k] & WORD, share[k + 1] & WORD, share[k + 2] & WORD, share[k + 3] & WORD
        t0, t1, t2, t3 = 0, 0, 0, 0
        for j in range(TILE):
            at, c = row + U(j), consensus[j]
            w0, w1, w2, w3 = w[at], w[at + ROW], w[at + U(2) * ROW], w[at + U(3) * ROW]
            w0, w1, w2, w3 = min(w0, c), min(w1, c), min(w2, c), min(w3, c)
            t0, t1, t2, t3 = t0 + w0, t1 + w1, t2 + w2, t3 + w3
            ranks[U(first) + U(j)] += s0 * (w0 & WORD) + s1 * (w1 & WORD) + s2 * (w2 & WORD) + s3 * (w3 & WORD)
        trust[k] += t0
        trust[k + 1] += t1
        trust[k + 2] += t2
        trust[k + 3] += t3
    for k in range(n & ~3, n):
        row, s0, t0 = U(base) + U(k) * ROW, share[k] & WORD, 0
        for j in range(TILE):
            w0 = min(w[row + U(j)], consensus[j])
            t0 += w0
            ranks[U(first) + U(j)] += s0 * (w0 & WORD)
        trust[k] += t0


@inner
def penalise(w: Int32, base: int, n: int, bond_penalty: int, consensus: Int32, cap: Int32, first: int) -> None:
    """Step 9 of a tile: W_b is the less of what then stands in place of W and of `cap`, whose lanes begin at `first`.

    W_b clipped to C is what W clipped to C is, so step 7 may come later.
    """
    for j in range(TILE):
        cap[U(first) + U(j)] = consensus[j] if bond_penalty == U16 else ONE
    if bond_penalty != U16:
        for k in range(n):
            row = U(base) + U(k) * ROW
            for j in range(TILE):
                weight = w[row + U(j)]
                w[row + U(j)] = weight + (min(weight, consensus[j]) - weight) * bond_penalty // U16


@inner
def prepare(run: int, x: Inputs, p: Numbers, room: Room, out: Outputs) -> Electorate:
    """Steps 1 to 5."""
    rows, width = room.rows, room.columns.shape[1]
    voters = active_stake(run, x, p, rows)
    permits_handed_out(rows[COUNTED], p, out.permits[run])
    share = out.rows[3, run]
    normalise(rows[VOTING], share, room.remainder, room.chosen)
    for k in range(x.rows):
        i = rows[ORDER, k]
        rows[ORDERED_STAKE, k] = rows[VOTING, i]
        rows[ORDERED_SHARE, k] = share[i]
        rows[TRUST, k] = rows[INCOME, k] = 0
    meant(run, x, rows)
    row_normalise(x.weights, run * x.rows * width, width, x.registered_at, registered(run, x, width), room)
    dropped = guide_by(rows[ORDERED_STAKE], voters, room.guide)
    threshold = minority(rows[VOTING], p.minority)
    coarse_by(rows[ORDERED_STAKE], voters, threshold, room.coarse)
    return Electorate(voters, threshold, dropped)


@inner
def agree(run: int, x: Inputs, p: Numbers, room: Room, e: Electorate, first: int, last: int) -> int:
    """Steps 6 to 9 of some tiles: W_b in `room.tiles` and `cap`, C and R in `room.columns`; returns the greatest C."""
    rows, columns, greatest, consensus = room.rows, room.columns, 0, room.lane[3]
    for t in range(first, last):
        base = t * x.rows * TILE
        weighted_median(
            room.tiles, base, rows[ORDERED_STAKE], e.voters, e.threshold, room.guide, e.dropped, room.coarse,
            room.codes, room.narrow, room.lane, room.below,
        )  # fmt: skip
        rank(room.tiles, base, rows[ORDERED_SHARE], consensus, columns[RANK], t * TILE, rows[TRUST])
        penalise(room.tiles, base, x.rows, p.bond_penalty, consensus, room.cap, t * TILE)
        for j in range(TILE):
            columns[CONSENSUS, t * TILE + j] = consensus[j]
            greatest = max(greatest, consensus[j])
    return greatest
