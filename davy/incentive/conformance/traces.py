"""Traces of subtensor's Yuma 2 tests: what each step of each epoch printed.

A trace prints a value once and again only when it changed. Some are of an older consensus (they print "W (threshold)");
of these, consensus, clipped weights and trust are not compared. A UID that was replaced in between prints no
registration: the epoch whose "outdate" stage drops its column tells it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from davy.incentive import bonds, masks
from davy.incentive.agreement import agree, trust
from davy.incentive.conformance.cases import parameters, variant
from davy.incentive.conformance.report import Report, count, member, scaled
from davy.incentive.door import BadInput
from davy.incentive.emission import EmptyHalf, emit
from davy.incentive.fixed_point import (
    MAX_N,
    ONE,
    ONE_BITS,
    U16,
    Int64,
    column_normalise,
    column_normalise_products,
)
from davy.incentive.masks import NO_COMMIT
from davy.incentive.mechanism import BondState, EpochInputs, EpochResult, Params
from davy.incentive.registry import mechanism

TOLERANCE = 1e-4

_STAKE_ONE = 10**15
_AMOUNT = 10**9

Stage = tuple[Int64, int]
Sparse = list[list[tuple[int, float]]]
"""Rows of (column, value)."""


def _dense(sparse: Sparse, n: int) -> list[list[float]]:
    """Rows as n x n."""
    dense = [[0.0] * n for _ in range(n)]
    for row, pairs in enumerate(sparse):
        for column, value in pairs:
            if not 0 <= column < n:
                raise BadInput(f"a row names column {column!r}; there are {n}")
            dense[row][column] = value
    return dense


def _u16(sparse: Sparse, n: int) -> Int64:
    """u16 numbers, which some traces print as proportions."""
    dense = _dense(sparse, n)
    return scaled(dense, U16 if max(map(max, dense)) <= 1 else 1)


def _counts(name: str, values: list[float]) -> Int64:
    return np.array([count(name, value) for value in values], dtype=np.int64)


def _dropped(epoch: dict[str, Any]) -> list[int]:
    """Columns that have weights at the self-weight stage and no longer at the outdated stage."""
    before: Sparse = epoch.get("W (permit+diag)") or epoch.get("W (diagmask)") or []
    after: Sparse = epoch.get("W (permit+diag+outdate)") or epoch.get("W (diag+outdatemask)") or []
    return sorted(
        {column for row, kept in zip(before, after, strict=True) for column, _ in row if column not in dict(kept)}
    )


def _inputs(epoch: dict[str, Any], registered_at: Int64, n: int) -> EpochInputs:
    last_update = _counts("Last update", epoch["Last update"])
    return EpochInputs(
        weights=_u16(epoch["W"], n),
        stake=scaled(epoch["S"], _STAKE_ONE),
        permits=np.array(epoch.get("validator_permits", [True] * n)),
        last_update=last_update,
        registered_at=registered_at,
        earliest_commit=np.full(n, NO_COMMIT, dtype=np.int64),
        self_column=np.arange(n, dtype=np.int64),
        halted=np.zeros(n, dtype=np.bool_),
        now=np.asarray(count("current_block", epoch["current_block"]), dtype=np.int64),
        previous_epoch=np.asarray(0, dtype=np.int64),
        owner_row=np.asarray(-1, dtype=np.int64),
        bonds_at=last_update,
    )


def _stages(x: EpochInputs, p: Params, before: BondState, result: EpochResult) -> dict[str, Stage]:
    """What each printed stage is in davy, and the integer that stands for 1."""
    a = agree(x, p)
    bought = a.W_bonds * a.S[:, None]
    # A trace prints the moving average before the rows that lose their permit are cleared: as if none did.
    moved, _ = mechanism("yuma2").epoch(before, x, replace(p, max_validators=MAX_N))
    return {
        "Inactive": (masks.inactive(x.last_update, p.activity_cutoff, x.now).astype(np.int64), 1),
        "S (mask+norm)": (a.S, ONE),
        "new_validator_permits": (a.permits.astype(np.int64), 1),
        "W (mask+norm)": (a.W, ONE),
        "C": (a.C, ONE),
        "W#2": (a.W_clipped, ONE),
        "Tv": (result.validator_trust, ONE),
        "R (before)": (a.S @ a.W >> ONE_BITS, ONE),
        "R": (result.rank, ONE),
        "R (after)": (result.rank, ONE),
        "T": (trust(x, result), ONE),
        "I": (a.I, ONE),
        "I (=R)": (a.I, ONE),
        "B": (before.bonds, U16),
        "B (mask+norm)": (column_normalise(bonds.standing(before, x, p.bond_format)), ONE),
        "dB": (bought >> ONE_BITS, ONE),
        "dB (norm)": (column_normalise_products(bought), ONE),
        "emaB": (column_normalise(moved.bonds), ONE),
        "emaB#2": (moved.bonds, U16),
        "D": (result.dividends, ONE),
        "E": (emit(_AMOUNT, result, 0, empty_half=EmptyHalf.OTHER, whole_units=False).per_uid(), 1),
    }


def _compare(name: str, printed: dict[str, Any], stages: dict[str, Stage], n: int, report: Report) -> None:
    """Every stage that this epoch printed, but consensus where it is of the older kind."""
    for stage, (got, one) in stages.items():
        if stage not in printed or ("W (threshold)" in printed and stage in ("C", "W#2", "Tv", "T")):
            continue
        expected = printed[stage]
        if stage == "B":
            expected = (_u16(expected, n) / U16).tolist()
        elif got.ndim == 2:
            expected = _dense(expected, n)
        elif stage == "E":
            one, expected = _AMOUNT, [amount / _AMOUNT for amount in expected]
        report.compare(name, stage, got, one, expected)


def _asserted(trace: Any) -> list[list[tuple[int, int, int]]]:
    """Bonds that the test asserts in order, as (row, column, u16), split into epochs where the rows start again."""
    epochs: list[list[tuple[int, int, int]]] = []
    for place, value in trace.get("asserted_bonds_u16_in_order", []):
        row, column = (int(index) for index in re.findall(r"\[(\d+)\]", place))
        if not epochs or row <= epochs[-1][-1][0]:
            epochs.append([])
        epochs[-1].append((row, column, value))
    return epochs


def _stated(*places: Any) -> Params:
    """Hyperparameters of a trace: the tests' own, but for what the file's `params` say, or the trace's."""
    stated = {name: value for place in places for name, value in place.get("params", {}).items()}
    usual = {"bonds_penalty": 1, "bonds_moving_avg": 0.9} | ({} if "kappa" in stated else {"kappa_u16": U16 // 2})
    if "bonds_moving_average" in stated:
        del usual["bonds_moving_avg"]
    if variant({"yuma3": False} | stated) != "yuma2":
        raise BadInput("params state Yuma 3, or nothing of it; traces are of Yuma 2")
    return parameters(usual | stated, MAX_N)


def _replay(name: str, trace: Any, stated: Params, report: Report) -> None:
    if not member(trace, "trace"):
        raise BadInput(f"{name} has no epochs to compare")
    known: dict[str, Any] = {}
    asserted = _asserted(trace)
    state: BondState | None = None
    registered_at = np.zeros(0, dtype=np.int64)
    for number, printed in enumerate(member(trace, "trace")):
        known |= printed
        if (n := len(known["S"])) > MAX_N:
            raise BadInput(f"{name} has {n} UIDs; there may be {MAX_N}")
        state = state or BondState(_u16(known.get("B", []), n))
        if "Block at registration" in printed:
            registered_at = _counts("Block at registration", printed["Block at registration"])
        else:
            registered_at = registered_at.copy()
            registered_at[_dropped(printed)] = known["current_block"]
        p = replace(
            stated,
            activity_cutoff=known["activity_cutoff"],
            max_validators=known.get("max_allowed_validators", n),
        )
        x = _inputs(known, registered_at, n)
        before = state
        state, result = mechanism("yuma2").epoch(before, x, p)
        _compare(name, printed, _stages(x, p, before, result), n, report)
        for row, column, value in asserted[number] if number < len(asserted) else []:
            report.compare(name, "asserted bonds", state.bonds[row, column], U16, value / U16)


def check(traces: Any, report: Report) -> None:
    """Replay each trace from the bonds it begins with, epoch by epoch."""
    for name, trace in traces.items():
        if name != "params":
            _replay(name, trace, _stated(traces, trace), report)
