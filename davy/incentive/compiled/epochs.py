"""From the arrays of an epoch to what the compiled rules work on, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from davy.incentive.compiled.arrays import Inputs, Numbers, Outputs, Room, room
from davy.incentive.compiled.median import TILE
from davy.incentive.compiled.yuma2 import yuma2
from davy.incentive.compiled.yuma3 import yuma3
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import ONE, U16, Int64, from_ppm, from_u16, sigmoid_cells
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params

Runs = Callable[[int, int, Inputs, Numbers, Int64, Room, Outputs], bool]
Across = Callable[[Callable[[range], bool], list[range]], Iterable[bool]]
Number = TypeVar("Number", bound=np.generic)

EPOCHS: Mapping[str, Runs] = {"yuma2": yuma2, "yuma3": yuma3}


@lru_cache(maxsize=256)
def numbers(p: Params) -> tuple[Numbers, Int64]:
    """What the rules read of the parameters, and the sigmoid's table [3, cells] (a single cell without liquid α)."""
    table = np.stack(sigmoid_cells(p.alpha_steepness)) if p.liquid_alpha else np.zeros((3, 1), dtype=np.int64)
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


def plain(array: NDArray[Number]) -> NDArray[Number]:
    """Itself, or a copy that is contiguous and writable: numba compiles anew for any other kind of array."""
    return array if array.flags.carray else array.copy(order="C")


def tiled(array: NDArray[Number]) -> NDArray[Number]:
    """The last axis filled with zeros up to whole tiles; itself where it is whole."""
    missing = -array.shape[-1] % TILE
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array


def flattened(s: BondState, x: EpochInputs) -> Inputs:
    """All batch axes as one, of length 1 where there are none."""
    rows, columns = x.weights.shape[-2:]
    tiles = -(-columns // TILE)
    stored_at, per_row = (x.previous_epoch, 1) if x.bonds_at is None else (x.bonds_at, rows)
    return Inputs(
        bonds=plain(tiled(s.bonds)).reshape(-1, rows, tiles, TILE),
        weights=plain(tiled(x.weights)).reshape(-1, rows, tiles, TILE),
        stake=plain(x.stake).reshape(-1, rows),
        permits=plain(x.permits).reshape(-1, rows),
        last_update=plain(x.last_update).reshape(-1, rows),
        registered_at=plain(tiled(x.registered_at)).reshape(-1, tiles, TILE),
        earliest_commit=plain(x.earliest_commit).reshape(-1, rows),
        self_column=plain(x.self_column).reshape(-1, rows),
        halted=plain(tiled(x.halted)).reshape(-1, tiles * TILE),
        now=plain(x.now).reshape(-1),
        stored_at=plain(stored_at).reshape(-1, per_row),
        owner_row=plain(x.owner_row).reshape(-1),
    )


def room_for_results(runs: int, rows: int, tiles: int) -> Outputs:
    return Outputs(
        bonds=np.empty((runs, rows, tiles, TILE), dtype=np.int64),
        permits=np.empty((runs, rows), dtype=np.bool_),
        rows=np.empty((4, runs, rows), dtype=np.int64),
        columns=np.empty((3, runs, tiles * TILE), dtype=np.int64),
        withheld=np.empty((3, runs), dtype=np.int64),
    )


def result(out: Outputs, shape: tuple[int, ...]) -> tuple[BondState, EpochResult]:
    """State and result for weights of this shape."""
    *batch, rows, columns = shape
    bonds = out.bonds.reshape(*batch, rows, -1)
    dividends, fallback, trust, active = out.rows.reshape(4, *batch, rows)
    incentive, consensus, rank = out.columns.reshape(3, *batch, -1)[..., :columns]
    incentive_withheld, dividends_withheld, fallback_withheld = out.withheld.reshape(3, *batch)
    return BondState(bonds if bonds.shape == shape else bonds[..., :columns].copy()), EpochResult(
        incentive=incentive,
        dividends=dividends,
        fallback=fallback,
        incentive_withheld=incentive_withheld,
        dividends_withheld=dividends_withheld,
        fallback_withheld=fallback_withheld,
        consensus=consensus,
        rank=rank,
        validator_trust=trust,
        active_stake=active,
        permits=out.permits.reshape(*batch, rows),
    )


class Compiled:
    """A mechanism of `EPOCHS`; `accelerated` makes it."""

    def __init__(self, epoch_of_runs: Runs, across: Across, parts: int) -> None:
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
        return BondState(np.zeros(shape, dtype=np.int64))

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
        inputs = flattened(s, x)
        runs, rows, tiles, _ = inputs.bonds.shape
        out = room_for_results(runs, rows, tiles)
        chosen, sigmoid = numbers(p)

        def compute(part: range) -> bool:
            work = self._room(rows, tiles)
            within = self._epoch_of_runs(part.start, part.stop, inputs, chosen, sigmoid, work, out)
            self._rooms.append(work)
            return within

        parts = min(self._parts, runs)
        ranges = [range(runs * i // parts, runs * (i + 1) // parts) for i in range(parts)]
        if not all(list(self._across(compute, ranges))):
            raise BadInput(f"bonds in {p.bond_format.name} must lie within 0 to {p.bond_format.one}")
        return result(out, x.weights.shape)
