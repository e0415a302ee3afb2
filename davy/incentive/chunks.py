"""A batch of runs, a few at a time: the same bits, for no run touches another, from arrays that stay in cache."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields
from typing import Any

import numpy as np

from davy.incentive.evidence import Evidence
from davy.incentive.fixed_point import Int64
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params

CHUNK_ELEMENTS = 1 << 15
"""256 KiB of int64, of which a second-level cache holds several."""

Epoch = Callable[[BondState, EpochInputs, Params], tuple[BondState, EpochResult]]

_OWN_AXES = {"weights": 2, "now": 0, "previous_epoch": 0, "owner_row": 0}
"""Axes of a field of `EpochInputs` that are not the batch's; the others have one."""


def _some_runs(x: EpochInputs, runs: slice | int) -> EpochInputs:
    """Part of a batch, counted through all its axes. What was checked as a whole is not checked again."""
    part = copy(x)
    for field in fields(x):
        values = getattr(x, field.name)
        if isinstance(values, Evidence):
            object.__setattr__(part, field.name, values.of_runs(runs))
            continue
        own = _OWN_AXES.get(field.name, 1)
        if values is not None and values.ndim > own:
            flat = values.reshape(-1, *values.shape[values.ndim - own :])
            object.__setattr__(part, field.name, np.asarray(flat[runs]))
    return part


def in_chunks(epoch: Epoch, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """`epoch` of as many runs at a time as a chunk holds, at least one; results have all the batch axes."""
    *batch, rows, columns = x.weights.shape
    if not batch or s.bonds.shape != x.weights.shape:
        return epoch(s, x, p)
    at_once = max(1, CHUNK_ELEMENTS // (rows * columns))
    bonds = s.bonds.reshape(-1, rows, columns)
    # A single run goes without a batch axis, which is the faster path.
    parts = range(len(bonds)) if at_once == 1 else [slice(i, i + at_once) for i in range(0, len(bonds), at_once)]
    done = [epoch(BondState(bonds[part]), _some_runs(x, part), p) for part in parts]
    moved = [state.bonds.reshape(-1, rows, columns) for state, _ in done]

    def gathered(name: str) -> Int64:
        pieces = [getattr(result, name) for _, result in done]
        own = () if name.endswith("_withheld") else pieces[0].shape[-1:]
        # What all runs share comes without the batch axis.
        whole = [np.broadcast_to(piece, (len(part), *own)) for piece, part in zip(pieces, moved, strict=True)]
        return np.concatenate(whole).reshape(*batch, *own)

    result: Any = {field.name: gathered(field.name) for field in fields(EpochResult)}
    return BondState(np.concatenate(moved).reshape(x.weights.shape)), EpochResult(**result)
