"""The last step of an epoch, of one run; see `settlement.py` one folder up."""

from __future__ import annotations

from davy.incentive.compiled.agreement import CONSENSUS, COUNTED, EARNED, INCENTIVE, ORDER, RANK, TRUST, of_run
from davy.incentive.compiled.arrays import Inputs, Outputs, Room
from davy.incentive.compiled.jit import inner
from davy.incentive.compiled.shares import normalise
from davy.incentive.fixed_point import ONE_BITS, Bool, Int64


@inner
def fallback(counted: Int64, stake_share: Int64, shares: Int64, remainder: Int64, chosen: Bool) -> None:
    """`dividends.fallback`."""
    greatest = 0
    for i in range(len(counted)):
        shares[i] = stake_share[i]
        greatest = max(greatest, stake_share[i])
    if greatest == 0:
        normalise(counted, shares, remainder, chosen)


@inner
def withhold(shares: Int64, halted: Bool, first: int) -> int:
    """Sets the shares of halted UIDs to 0, and returns what they had; the run's halts begin at `first`."""
    kept_back = 0
    for i in range(len(shares)):
        kept_back += shares[i] if halted[first + i] else 0
        shares[i] = 0 if halted[first + i] else shares[i]
    return kept_back


@inner
def settle(run: int, x: Inputs, room: Room, out: Outputs) -> None:
    """`settlement.settle`: dividends of what rows earned, results from `room` to `out`, what halts withhold."""
    rows, columns, width, halted_row = room.rows, room.columns, room.columns.shape[1], room.chosen
    own, halted = of_run(run, x.rows, len(x.self_column)), of_run(run, width, len(x.halted))
    normalise(rows[EARNED], out.rows[0, run], room.remainder, room.chosen)
    for j in range(width):
        out.columns[0, run, j] = columns[INCENTIVE, j]
        out.columns[1, run, j] = columns[CONSENSUS, j]
        out.columns[2, run, j] = columns[RANK, j] >> ONE_BITS
    for k in range(x.rows):
        out.rows[2, run, rows[ORDER, k]] = rows[TRUST, k]
    fallback(rows[COUNTED], out.rows[3, run], out.rows[1, run], room.remainder, room.chosen)
    for i in range(x.rows):
        column = x.self_column[own + i]
        halted_row[i] = column >= 0 and x.halted[halted + max(column, 0)]
    out.withheld[0, run] = withhold(out.columns[0, run], x.halted, halted)
    out.withheld[1, run] = withhold(out.rows[0, run], halted_row, 0)
    out.withheld[2, run] = withhold(out.rows[1, run], halted_row, 0)
