"""The seam between a subnet and what pays it: a mechanism turns an epoch's inputs and its own state into shares.

A new mechanism is one file with a class that has `initial` and `epoch`, and a line in `registry.py`. `EpochInputs` and
`Params` check themselves when they are made; no rule behind them checks again.

Shapes: V rows (validators), M columns (miners) and any number of batch axes in front, written `...`. On a ledger every
neuron of a subnet is both: V = M = n, row u and column u are UID u, and `self_column` is 0 to n − 1. A simulation may
keep validators and miners apart: V x M, with `self_column` −1. Numbers are int64 and masks bool, and nothing else;
weights may be u16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from davy.incentive.door import BadInput, any_weights, flags, integers, of_shape, whole
from davy.incentive.evidence import Evidence
from davy.incentive.fixed_point import MAX_N, MAX_TOTAL_STAKE, PPM, U16, BondFormat, Bool, Int64, Weights
from davy.incentive.masks import NO_COMMIT

MAX_BLOCK = 1 << 53
MAX_ROW_WEIGHT = (1 << 32) - 1
_KINDS: dict[str, type] = {
    "liquid_alpha": bool,
    "permit_zero_stake": bool,
    "permit_tie_to_newer": bool,
    "bond_format": BondFormat,
}

State = TypeVar("State")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochInputs:
    """What one epoch depends on, besides the mechanism's state. Arrays have the batch axes of `weights`, or none.

    Attributes
    ----------
    weights : uint16 or int64 [..., V, M]
        As revealed, u16 on a ledger; or any integers whose rows sum to 2^32 − 1 at most. Rows need not be normalised.
    stake : int64 [..., V]
        Base units that count this epoch, own and delegated; 2.1·10^16 in total at most.
    permits : bool [..., V]
        Validator permits that the epoch before handed out.
    last_update : int64 [..., V]
        Block at which the row's weights were set.
    registered_at : int64 [..., M]
        Block at which the column's present holder registered.
    earliest_commit : int64 [..., V]
        Block of the row's earliest commit neither revealed nor expired; `masks.NO_COMMIT` where there is none.
    self_column : int64 [..., V]
        The row's own column, or −1.
    halted : bool [..., M]
        Columns under a halt: they earn nothing, and what they would have earned is not minted.
    now : int64 [...]
        Block of this epoch.
    previous_epoch : int64 [...]
        Block of the epoch before, at which bonds were stored; UIDs that registered at it or later hold none.
    owner_row : int64 [...]
        Row of the subnet's owner, whose weight on itself counts, or −1.
    bonds_at : int64 [..., V] or None
        Block at which each row's bonds were stored, where rows differ; None: `previous_epoch`.
    evidence : Evidence or None
        Reports, this epoch's and earlier ones, and audited labels, for mechanisms that read them.

    Raises
    ------
    BadInput
        A field of the wrong type, shape or range.
    """

    weights: Weights
    stake: Int64
    permits: Bool
    last_update: Int64
    registered_at: Int64
    earliest_commit: Int64
    self_column: Int64
    halted: Bool
    now: Int64
    previous_epoch: Int64
    owner_row: Int64
    bonds_at: Int64 | None = None
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        weights = any_weights(self.weights, MAX_ROW_WEIGHT)
        if weights.ndim < 2 or max(weights.shape[-2:]) > MAX_N:
            raise BadInput(f"weights has shape {weights.shape}; it must be [..., V, M], neither above {MAX_N}")
        batch, (rows, columns) = weights.shape[:-2], weights.shape[-2:]

        def admit(name: str, array: NDArray[np.generic], *ending: int) -> None:
            of_shape(name, array, batch, ending)
            object.__setattr__(self, name, array)

        admit("weights", weights, rows, columns)
        admit("stake", integers("stake", self.stake, 0, MAX_TOTAL_STAKE), rows)
        admit("permits", flags("permits", self.permits), rows)
        admit("last_update", integers("last_update", self.last_update, 0, MAX_BLOCK), rows)
        admit("registered_at", integers("registered_at", self.registered_at, 0, MAX_BLOCK), columns)
        admit("earliest_commit", integers("earliest_commit", self.earliest_commit, 0, NO_COMMIT), rows)
        admit("self_column", integers("self_column", self.self_column, -1, columns - 1), rows)
        admit("halted", flags("halted", self.halted), columns)
        admit("now", integers("now", self.now, 0, MAX_BLOCK))
        admit("previous_epoch", integers("previous_epoch", self.previous_epoch, 0, MAX_BLOCK))
        admit("owner_row", integers("owner_row", self.owner_row, -1, rows - 1))
        if self.bonds_at is not None:
            admit("bonds_at", integers("bonds_at", self.bonds_at, 0, MAX_BLOCK), rows)
        if self.evidence is not None:
            self.evidence.require(batch, rows, columns)
        self._check_totals()

    def _check_totals(self) -> None:
        """The sums that the number formats rely on. 4096 stakes might overflow int64; without 12 bits they cannot."""
        coarse = int((self.stake >> 12).sum(axis=-1).max())
        if coarse > MAX_TOTAL_STAKE >> 12 or int(self.stake.sum(axis=-1).max()) > MAX_TOTAL_STAKE:
            raise BadInput(f"stake sums to more than {MAX_TOTAL_STAKE} base units, which is all there can be")
        if self.weights.dtype != np.uint16 and (most := int(self.weights.sum(axis=-1).max())) > MAX_ROW_WEIGHT:
            raise BadInput(f"a row of weights sums to {most}; it must not exceed {MAX_ROW_WEIGHT}")

    @classmethod
    def unmasked(cls, weights: Weights, stake: Int64) -> Self:
        """Inputs on which no mask bites: all rows permitted and active, no own columns, nothing halted."""
        rows, columns = int(weights.shape[-2]), int(weights.shape[-1])
        return cls(
            weights=weights,
            stake=stake,
            permits=np.ones(rows, dtype=np.bool_),
            last_update=np.full(rows, 2, dtype=np.int64),
            registered_at=np.zeros(columns, dtype=np.int64),
            earliest_commit=np.full(rows, NO_COMMIT, dtype=np.int64),
            self_column=np.full(rows, -1, dtype=np.int64),
            halted=np.zeros(columns, dtype=np.bool_),
            now=np.asarray(2, dtype=np.int64),
            previous_epoch=np.asarray(1, dtype=np.int64),
            owner_row=np.asarray(-1, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """A subnet's hyperparameters that a mechanism reads; defaults are subtensor's, but for `bond_format`.

    Attributes
    ----------
    kappa : u16, at least 1
        κ: the share of stake that makes a weight consensus.
    bond_penalty : u16
        β: how much of what stands above consensus is lost to bonds.
    moving_average : ppm
        m: what is kept of the old bonds in an epoch; α = 1 − m.
    liquid_alpha : bool
        Yuma 3: α per pair, from `alpha_low` to `alpha_high` (u16) with a steepness k of 1 to 100.
    activity_cutoff : blocks
    max_validators : permits handed out
    stake_threshold : base units
    permit_zero_stake : bool
        Whether rows without stake may hold a permit, as under subtensor's older `is_topk`.
    permit_tie_to_newer : bool
        Whether of equal stakes the higher UID gets the last permit, as under subtensor, instead of the older seat.
    bond_format : BondFormat
        Of the bonds in the state; it may not change while a state lives.
    audit_tolerance : places, of 100
        `audited`: how far from what was known a report has to be to be news.
    audit_penalty : u16
        `audited`: what a report of news that was none costs, of a true one.
    audit_low, audit_high : u16
        `audited`: the parts of the reference's gain at which a gate begins to open, and is open.
    audit_wrong, audit_lost : u16
        `audited`: the parts of a row's audited reports that may be wrong before it loses votes, and has lost them.
    audit_floor : u16
        `audited`: what a closed gate lets through.
    audit_enough : 1 to 4096
        `audited`: the reference's gain, in audits, from which on gates close altogether.

    Raises
    ------
    BadInput
        A value of another type or out of its range.
    """

    kappa: int = 32_767
    bond_penalty: int = U16
    moving_average: int = 900_000
    liquid_alpha: bool = False
    alpha_low: int = 45_875
    alpha_high: int = 58_982
    alpha_steepness: int = 10
    activity_cutoff: int = 5000
    max_validators: int = 128
    stake_threshold: int = 0
    permit_zero_stake: bool = False
    permit_tie_to_newer: bool = False
    bond_format: BondFormat = BondFormat.U32
    audit_tolerance: int = 30
    audit_penalty: int = 10_923
    audit_low: int = 26_214
    audit_high: int = 45_875
    audit_wrong: int = 8192
    audit_lost: int = 13_107
    audit_floor: int = 1311
    audit_enough: int = 4

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            if not isinstance(value := getattr(self, name), kind):
                raise BadInput(f"{name} is {value!r}; it must be a {kind.__name__}")
        whole("kappa", self.kappa, 1, U16)
        whole("bond_penalty", self.bond_penalty, 0, U16)
        whole("moving_average", self.moving_average, 0, PPM)
        whole("alpha_low", self.alpha_low, 0, U16)
        whole("alpha_high", self.alpha_high, self.alpha_low, U16)
        whole("alpha_steepness", self.alpha_steepness, 1, 100)
        whole("activity_cutoff", self.activity_cutoff, 0, MAX_BLOCK)
        whole("max_validators", self.max_validators, 1, MAX_N)
        whole("stake_threshold", self.stake_threshold, 0, MAX_TOTAL_STAKE)
        whole("audit_tolerance", self.audit_tolerance, 1, 100)
        whole("audit_penalty", self.audit_penalty, 0, U16)
        whole("audit_low", self.audit_low, 0, U16)
        whole("audit_high", self.audit_high, self.audit_low, U16)
        whole("audit_wrong", self.audit_wrong, 0, U16)
        whole("audit_lost", self.audit_lost, self.audit_wrong, U16)
        whole("audit_floor", self.audit_floor, 0, U16)
        whole("audit_enough", self.audit_enough, 1, MAX_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """What an epoch decided. Shares are Q30: `fixed_point.ONE` is 1.

    Attributes
    ----------
    incentive : int64 [..., M]
        Miners' shares. With `incentive_withheld` they sum to ONE exactly, or all are 0 where no column has a rank.
    dividends : int64 [..., V]
        Validators' shares. With `dividends_withheld` they sum to ONE exactly, or all are 0.
    fallback : int64 [..., V]
        What a half of the emission without shares of its own is paid by: active stake, or stake where none is active.
        With `fallback_withheld` it sums to ONE exactly, or is 0 where there is no stake.
    incentive_withheld, dividends_withheld, fallback_withheld : int64 [...]
        Shares of halted UIDs, which are not minted.
    consensus, rank : int64 [..., M]
        C, and R = SᵀW̄.
    validator_trust : int64 [..., V]
        Row sums of W̄.
    active_stake : int64 [..., V]
        Shares of the stake that voted; sums to ONE exactly, or is 0.
    permits : bool [..., V]
        Handed out for the next epoch.
    """

    incentive: Int64
    dividends: Int64
    fallback: Int64
    incentive_withheld: Int64
    dividends_withheld: Int64
    fallback_withheld: Int64
    consensus: Int64
    rank: Int64
    validator_trust: Int64
    active_stake: Int64
    permits: Bool


class Mechanism(Protocol[State]):
    """A plug that a subnet chooses by name. Pure: the same state, inputs and parameters give the same bits."""

    def initial(self, shape: tuple[int, ...]) -> State:
        """The state before the first epoch, for weights of this shape."""
        ...

    def epoch(self, s: State, x: EpochInputs, p: Params) -> tuple[State, EpochResult]:
        """One epoch. Writes to no array of `s` or `x`."""
        ...


@dataclass(frozen=True, slots=True)
class BondState:
    """The state of both Yumas: bonds int64 [..., V, M], in the format that the subnet's `Params` name."""

    bonds: Int64

    def resized(self, rows: int, columns: int) -> BondState:
        """Room for UIDs that registered since, without bonds yet. A subnet never shrinks.

        Raises
        ------
        BadInput
            Fewer rows or columns than there are.
        """
        *front, had_rows, had_columns = self.bonds.shape
        if rows < had_rows or columns < had_columns:
            raise BadInput(f"bonds of {had_rows} x {had_columns} do not fit in {rows} x {columns}")
        grown = np.zeros((*front, rows, columns), dtype=np.int64)
        grown[..., :had_rows, :had_columns] = self.bonds
        return BondState(grown)


__all__ = ["BadInput", "BondState", "EpochInputs", "EpochResult", "Mechanism", "Params"]
