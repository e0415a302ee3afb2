"""Steps 1 to 6 of an epoch, for who wants to know what the voters agree on and nobody's pay."""

from __future__ import annotations

from davy.incentive.compiled.agreement import ORDERED_STAKE, prepare
from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room
from davy.incentive.compiled.jit import compiled
from davy.incentive.compiled.lanes import TILE
from davy.incentive.compiled.median import weighted_median
from davy.incentive.fixed_point import Int64


@compiled
def consensus(begin: int, end: int, x: Inputs, p: Numbers, _: Int64, room: Room, out: Outputs) -> bool:
    """C of the runs from `begin` to before `end`, where an epoch puts it in `out`; True, as no bonds are read."""
    for run in range(begin, end):
        e = prepare(run, x, p, room, out)
        for t in range(room.columns.shape[1] // TILE):
            weighted_median(
                room.tiles, t * x.rows * TILE, room.rows[ORDERED_STAKE], e.voters, e.threshold, room.guide, e.dropped,
                room.coarse, room.codes, room.narrow, room.lane, room.below,
            )  # fmt: skip
            for j in range(TILE):
                out.columns[1, run, t * TILE + j] = room.lane[3, j]
    return True
