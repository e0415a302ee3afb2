"""A batch of runs, a few at a time: the same bits, for no run touches another, from arrays that stay in cache."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields
from typing import Any

import numpy as np

from davy.incentive.evidence import Evidence
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params

CHUNK_ELEMENTS = 1 << 17
"""1 MiB of int64: enough runs to share the price of a call, few enough that temporaries stay in a cache."""

np.empty(1 << 24, dtype=np.int8)
# glibc's malloc gives memory of this size back, and asks for it again, and the system clears every page of it: half of
# a batch's time. It keeps twice as much as the largest block that was ever freed, and one has been now, untouched.

Epoch = Callable[[BondState, EpochInputs, Params], tuple[BondState, EpochResult]]

_OWN_AXES = {"weights": 2, "now": 0, "previous_epoch": 0, "owner_row": 0}
"""Axes of a field of `EpochInputs` that are not the batch's; the others have one."""
_RESULTS = [field.name for field in fields(EpochResult)]


def _flat(x: EpochInputs) -> dict[str, Any]:
    """The fields that have batch axes, with one axis for all of them; what serves all runs is not among them."""
    flat: dict[str, Any] = {}
    for field in fields(x):
        values = getattr(x, field.name)
        own = _OWN_AXES.get(field.name, 1)
        if isinstance(values, Evidence):
            flat[field.name] = values
        elif values is not None and values.ndim > own:
            flat[field.name] = values.reshape(-1, *values.shape[values.ndim - own :])
    return flat


def _some_runs(x: EpochInputs, flat: dict[str, Any], runs: slice | int) -> EpochInputs:
    """Part of a batch. What was checked as a whole is not checked again."""
    part = copy(x)
    for name, values in flat.items():
        piece = values.of_runs(runs) if isinstance(values, Evidence) else np.asarray(values[runs])
        object.__setattr__(part, name, piece)
    return part


def in_chunks(epoch: Epoch, s: BondState, x: EpochInputs, p: Params) -> tuple[BondState, EpochResult]:
    """`epoch` of as many runs at a time as a chunk holds, at least one; results have all the batch axes."""
    *batch, rows, columns = x.weights.shape
    if not batch or s.bonds.shape != x.weights.shape:
        return epoch(s, x, p)
    at_once = max(1, CHUNK_ELEMENTS // (rows * columns))
    bonds, flat = s.bonds.reshape(-1, rows, columns), _flat(x)
    runs = len(bonds)
    # A single run goes without a batch axis, which is the faster path.
    parts = range(runs) if at_once == 1 else [slice(i, i + at_once) for i in range(0, runs, at_once)]
    moved = np.empty(bonds.shape, dtype=np.int64)
    gathered: dict[str, Any] = {}
    for part in parts:
        state, result = epoch(BondState(bonds[part]), _some_runs(x, flat, part), p)
        moved[part] = state.bonds
        for name in _RESULTS:
            piece = getattr(result, name)
            if name not in gathered:
                own = () if name.endswith("_withheld") else piece.shape[-1:]
                gathered[name] = np.empty((runs, *own), dtype=piece.dtype)
            gathered[name][part] = piece  # what all runs share comes without the batch axis
    whole: Any = {name: values.reshape(*batch, *values.shape[1:]) for name, values in gathered.items()}
    return BondState(moved.reshape(x.weights.shape)), EpochResult(**whole)
