"""From the arrays of an epoch to what the compiled rules work on, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room, room
from davy.incentive.compiled.consensus import consensus
from davy.incentive.compiled.jit import Entry
from davy.incentive.compiled.lanes import TILE
from davy.incentive.compiled.yuma2 import yuma2
from davy.incentive.compiled.yuma3 import yuma3
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, U16, Int64, from_ppm, from_u16, sigmoid_cells
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params

Across = Callable[[Callable[[range], bool], list[range]], Iterable[bool]]
Number = TypeVar("Number", bound=np.generic)
INT64, UINT16, BOOL = np.dtype(np.int64), np.dtype(np.uint16), np.dtype(np.bool_)

ByWeights = Mapping[np.dtype[Any], Entry]
"""Machine code is of one type of weights."""


def by_weights(function: Callable[..., bool]) -> ByWeights:
    return {INT64: Entry(function), UINT16: Entry(function)}


EPOCHS: Mapping[str, ByWeights] = {"yuma2": by_weights(yuma2), "yuma3": by_weights(yuma3)}
CONSENSUS = by_weights(consensus)


@lru_cache(maxsize=256)
def numbers(p: Params) -> tuple[Numbers, Int64]:
    """What the rules read of the parameters, and the sigmoid's table [3, cells] (a single cell without liquid α)."""
    table = np.stack(sigmoid_cells(p.alpha_steepness)) if p.liquid_alpha else np.zeros((3, 1), dtype=INT64)
    return (
        Numbers(
            minority=U16 - p.kappa,
            bond_penalty=p.bond_penalty,
            alpha=ONE - from_ppm(p.moving_average),
            liquid=p.liquid_alpha,
            alpha_low=from_u16(p.alpha_low),
            alpha_high=from_u16(p.alpha_high),
            activity_cutoff=p.activity_cutoff,
            max_validators=p.max_validators,
            stake_threshold=p.stake_threshold,
            permit_zero_stake=p.permit_zero_stake,
            permit_tie_to_newer=p.permit_tie_to_newer,
            bond_one=p.bond_format.one,
        ),
        table,
    )


def tiled(array: NDArray[Number]) -> NDArray[Number]:
    """The last axis filled with zeros up to whole tiles, and all axes as one; a copy only if it has to be."""
    missing = -array.shape[-1] % TILE
    return (np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array).ravel()


def flattened(bonds: Int64, x: EpochInputs) -> Inputs:
    return Inputs(
        rows=x.weights.shape[-2],
        each=x.bonds_at is not None,
        bonds=tiled(bonds if bonds.flags.aligned else bonds.copy()),
        weights=tiled(x.weights),
        stake=x.stake.ravel(),
        permits=x.permits.ravel(),
        last_update=x.last_update.ravel(),
        registered_at=tiled(x.registered_at),
        earliest_commit=x.earliest_commit.ravel(),
        self_column=x.self_column.ravel(),
        halted=tiled(x.halted),
        now=x.now.ravel(),
        stored_at=(x.previous_epoch if x.bonds_at is None else x.bonds_at).ravel(),
        owner_row=x.owner_row.ravel(),
    )


def room_for_results(runs: int, rows: int, width: int, bonds: int) -> Outputs:
    return Outputs(
        bonds=np.empty(bonds, dtype=INT64),
        permits=np.empty((runs, rows), dtype=BOOL),
        rows=np.empty((4, runs, rows), dtype=INT64),
        columns=np.empty((3, runs, width), dtype=INT64),
        withheld=np.empty((3, runs), dtype=INT64),
    )


def result(out: Outputs, shape: tuple[int, ...]) -> tuple[BondState, EpochResult]:
    """State and result for weights of this shape."""
    bonds, permits, rows, shares, withheld = out
    *batch, _, columns = shape
    bonds = bonds.reshape(*shape[:-1], -1)
    if not batch:
        permits, rows, shares, withheld = permits[0], rows[:, 0], shares[:, 0], withheld[:, 0]
    elif len(batch) > 1:
        permits, rows = permits.reshape(*batch, -1), rows.reshape(4, *batch, -1)
        shares, withheld = shares.reshape(3, *batch, -1), withheld.reshape(3, *batch)
    if shares.shape[-1] != columns:
        bonds, shares = bonds[..., :columns].copy(), shares[..., :columns]
    return BondState(bonds), EpochResult(
        incentive=shares[0],
        dividends=rows[0],
        fallback=rows[1],
        incentive_withheld=withheld[0],
        dividends_withheld=withheld[1],
        fallback_withheld=withheld[2],
        consensus=shares[1],
        rank=shares[2],
        validator_trust=rows[2],
        active_stake=rows[3],
        permits=permits,
    )


class Compiled:
    """A mechanism of `EPOCHS`; `accelerated` makes it."""

    def __init__(self, epoch_of_runs: ByWeights, across: Across, parts: int) -> None:
        self._epoch_of_runs = epoch_of_runs
        self._across = across
        self._parts = parts
        self._rooms: list[Room] = []

    def _room(self, rows: int, tiles: int) -> Room:
        """One that an earlier epoch of this shape left, which saves asking the system for its pages."""
        while self._rooms:
            try:
                left = self._rooms.pop()
            except IndexError:  # another thread was faster
                break
            if left.fits(rows, tiles):
                return left
        return room(rows, tiles)

    def initial(self, shape: tuple[int, ...]) -> BondState:
        """No bonds, of inputs with weights of this shape."""
        return BondState(np.zeros(shape, dtype=INT64))

    def epoch(self, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
        """What the reference computes.

        Raises
        ------
        BadInput
            The state is of another shape than the inputs, or its bonds are not int64 within their format.
        """
        if s.bonds.shape != x.weights.shape:
            raise BadInput(
                f"bonds have shape {s.bonds.shape}, weights {x.weights.shape}: make room with BondState.resized"
            )
        if s.bonds.dtype != np.int64:
            raise BadInput(f"bonds are {s.bonds.dtype}; they must be int64")
        out, valid = self._computed(self._epoch_of_runs, s.bonds, x, p)
        if not valid:
            raise BadInput(f"bonds in {p.bond_format.name} must lie within 0 to {p.bond_format.one}")
        return result(out, x.weights.shape)

    def consensus(self, x: EpochInputs, p: Params) -> Int64:
        """C alone, which hangs on no bonds; [..., M]."""
        out, _ = self._computed(CONSENSUS, np.empty(0, dtype=INT64), x, p)
        *batch, _, columns = x.weights.shape
        return out.columns[1, :, :columns].reshape(*batch, columns)

    def _computed(self, by: ByWeights, bonds: Int64, x: EpochInputs, p: Params) -> tuple[Outputs, bool]:
        inputs, (chosen, sigmoid) = flattened(bonds, x), numbers(p)
        rows, tiles = inputs.rows, -(-x.weights.shape[-1] // TILE)
        runs = len(inputs.weights) // (rows * tiles * TILE)
        out = room_for_results(runs, rows, tiles * TILE, len(inputs.bonds))

        def compute(part: range) -> bool:
            work = self._room(rows, tiles)
            valid = by[x.weights.dtype].call(part.start, part.stop, inputs, chosen, sigmoid, work, out)
            self._rooms.append(work)
            return valid

        parts = min(self._parts, runs)
        ranges = [range(runs * i // parts, runs * (i + 1) // parts) for i in range(parts)]
        return out, compute(ranges[0]) if parts == 1 else all(list(self._across(compute, ranges)))
