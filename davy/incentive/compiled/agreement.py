"""Steps 1 to 9 of an epoch, of one run; see `agreement.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import BLOCK, TILE, weighted_median
from davy.incentive.compiled.shares import WORD, mark_largest, normalise, reciprocal
from davy.incentive.fixed_point import U16, Bool, Int64

COUNTED, VOTING, NEWEST, OWN, FACTOR, VOTER, VOTER_STAKE, INCOME, SINCE = range(9)
"""Of `Room.rows`: stake above the threshold and active, the newest registration meant, the own column that does not
count, the reciprocal of the row's sum, rows that vote and their stakes, income by bonds, since when bonds stand."""
CONSENSUS, RANK, INCENTIVE = range(3)
"""Of `Room.columns`."""


@compiled
def of_run(run: int, runs: int) -> int:
    """Where a run's values stand in an array of so many runs: all share the only ones."""
    return run if runs > 1 else 0


@compiled
def active_stake(stake: Int64, permits: Bool, last_update: Int64, now: int, p: Numbers, room_rows: Int64) -> int:
    """Steps 1, 2 and 4: fills COUNTED, VOTING, VOTER and VOTER_STAKE; returns the number of voters."""
    voters = 0
    for i in range(len(stake)):
        counted = 0 if stake[i] < p.stake_threshold else stake[i]
        votes = permits[i] and last_update[i] + p.activity_cutoff >= now
        room_rows[COUNTED, i] = counted
        room_rows[VOTING, i] = counted if votes else 0
        if votes and counted > 0:
            room_rows[VOTER, voters] = i
            room_rows[VOTER_STAKE, voters] = counted
            voters += 1
    return voters


@compiled
def minority(stake: Int64, m: int) -> int:
    """`consensus.minority` of the sum."""
    total = 0
    for i in range(len(stake)):
        total += stake[i]
    return (total // U16) * m + (total % U16) * m // U16


@compiled
def permits_handed_out(counted: Int64, p: Numbers, handed_out: Bool) -> None:
    """Step 3: `permits.permits`."""
    mark_largest(counted, len(counted), p.max_validators, p.permit_tie_to_newer, handed_out)
    for i in range(len(counted)):
        handed_out[i] = handed_out[i] and (p.permit_zero_stake or counted[i] > 0)


@compiled
def row_factors(weights: Int64, registered_at: Int64, rows: Int64) -> None:
    """Step 5, rows: FACTOR is the reciprocal of the sum of the weights that count."""
    for i in range(weights.shape[0]):
        newest, own, total = rows[NEWEST, i], rows[OWN, i], 0
        for t in range(weights.shape[1]):
            for j in range(TILE):
                total += weights[i, t, j] if registered_at[t, j] <= newest else 0
        if own >= 0 and registered_at[own // TILE, own % TILE] <= newest:
            total -= weights[i, own // TILE, own % TILE]
        rows[FACTOR, i] = reciprocal(total)


@compiled
def row_normalise(weights: Int64, registered_at: Int64, rows: Int64, first: int, last: int, tiles: Int64) -> None:
    """Step 5, some tiles of W: `fixed_point.share_of` of what `agreement.counted_weights` leaves."""
    for i in range(weights.shape[0]):
        newest, factor, own = rows[NEWEST, i], rows[FACTOR, i], rows[OWN, i]
        for t in range(first, last):
            for j in range(TILE):
                tiles[t, i, j] = ((weights[i, t, j] & WORD) * factor) >> 32 if registered_at[t, j] <= newest else 0
        if first * TILE <= own < last * TILE:
            tiles[own // TILE, i, own % TILE] = 0


@compiled
def clip(w: Int64, stake_share: Int64, bond_penalty: int, consensus: Int64, rank: Int64, trust: Int64) -> int:
    """Steps 7 to 9 of a tile: its rank, makes W_b of W, adds to the rows' trust; returns the greatest C."""
    greatest = 0
    for j in range(w.shape[1]):
        greatest = max(greatest, consensus[j])
        rank[j] = 0
    for i in range(w.shape[0]):
        share, kept = stake_share[i] & WORD, 0
        for j in range(w.shape[1]):
            clipped = min(w[i, j], consensus[j])
            kept += clipped
            rank[j] += share * (clipped & WORD)
            w[i, j] = clipped if bond_penalty == U16 else w[i, j] + (clipped - w[i, j]) * bond_penalty // U16
        trust[i] += kept
    return greatest


@compiled
def agree(run: int, x: Inputs, p: Numbers, room: Room, out: Outputs) -> int:
    """Steps 1 to 9. C, R and I stand in `room.columns`, W_b in `room.weights`; returns the greatest C."""
    permits = x.permits[of_run(run, len(x.permits))]
    last_update = x.last_update[of_run(run, len(x.last_update))]
    earliest_commit = x.earliest_commit[of_run(run, len(x.earliest_commit))]
    self_column = x.self_column[of_run(run, len(x.self_column))]
    registered_at = x.registered_at[of_run(run, len(x.registered_at))]
    now, owner_row = x.now[of_run(run, len(x.now))], x.owner_row[of_run(run, len(x.owner_row))]
    weights, rows, columns = x.weights[run], room.rows, room.columns
    trust, stake_share = out.rows[2, run], out.rows[3, run]
    voters = active_stake(x.stake[of_run(run, len(x.stake))], permits, last_update, now, p, rows)
    permits_handed_out(rows[COUNTED], p, out.permits[run])
    normalise(rows[VOTING], stake_share, room.remainder, room.chosen)
    for i in range(len(permits)):
        rows[NEWEST, i] = min(last_update[i] - 1, earliest_commit[i]) if permits[i] else -1
        rows[OWN, i] = -1 if i == owner_row else self_column[i]
        trust[i] = 0
    row_factors(weights, registered_at, rows)
    threshold, greatest = minority(rows[VOTING], p.minority), 0
    for first in range(0, len(room.weights), BLOCK):
        last = min(first + BLOCK, len(room.weights))
        row_normalise(weights, registered_at, rows, first, last, room.weights)
        for t in range(first, last):
            w, consensus, rank = room.weights[t], columns[CONSENSUS, t], columns[RANK, t]
            weighted_median(w, rows[VOTER], rows[VOTER_STAKE], voters, threshold, room.lane, consensus)
            greatest = max(greatest, clip(w, stake_share, p.bond_penalty, consensus, rank, trust))
    normalise(columns[RANK].ravel(), columns[INCENTIVE].ravel(), room.remainder, room.chosen)
    return greatest
