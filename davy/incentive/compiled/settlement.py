"""The last step of an epoch, of one run; see `settlement.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import CONSENSUS, COUNTED, INCENTIVE, RANK, of_run
from davy.incentive.compiled.arrays import Inputs, Outputs, Room
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.shares import normalise
from davy.incentive.fixed_point import ONE_BITS, Bool, Int64


@compiled
def fallback(counted: Int64, stake_share: Int64, shares: Int64, remainder: Int64, chosen: Bool) -> None:
    """`dividends.fallback`."""
    greatest = 0
    for i in range(len(counted)):
        shares[i] = stake_share[i]
        greatest = max(greatest, stake_share[i])
    if greatest == 0:
        normalise(counted, shares, remainder, chosen)


@compiled
def withhold(shares: Int64, halted: Bool) -> int:
    """Sets the shares of halted UIDs to 0, and returns what they had."""
    kept_back = 0
    for i in range(len(shares)):
        kept_back += shares[i] if halted[i] else 0
        shares[i] = 0 if halted[i] else shares[i]
    return kept_back


@compiled
def settle(run: int, x: Inputs, room: Room, out: Outputs) -> None:
    """`settlement.settle`: results from `room` to `out`, fallback, and what halts withhold."""
    halted = x.halted[of_run(run, len(x.halted))]
    self_column = x.self_column[of_run(run, len(x.self_column))]
    columns, halted_row = room.columns, room.chosen
    for t in range(columns.shape[1]):
        for j in range(TILE):
            out.columns[0, run, t * TILE + j] = columns[INCENTIVE, t, j]
            out.columns[1, run, t * TILE + j] = columns[CONSENSUS, t, j]
            out.columns[2, run, t * TILE + j] = columns[RANK, t, j] >> ONE_BITS
    fallback(room.rows[COUNTED], out.rows[3, run], out.rows[1, run], room.remainder, room.chosen)
    for i in range(len(self_column)):
        halted_row[i] = self_column[i] >= 0 and halted[self_column[i]]
    out.withheld[0, run] = withhold(out.columns[0, run], halted)
    out.withheld[1, run] = withhold(out.rows[0, run], halted_row)
    out.withheld[2, run] = withhold(out.rows[1, run], halted_row)
