"""The seam between a subnet and what pays it: a mechanism turns the inputs of an epoch and its own state into shares.

A new mechanism is one file with a class that has `initial` and `epoch`, and a line in `registry.py`. Inputs are checked once, here, at
the door (`EpochInputs` and `Params` check themselves); no rule behind it checks again.

Shapes: V rows (validators), M columns (miners), and any number of batch axes in front, written `...`. On a ledger every neuron of a
subnet is both, so V = M = n, row u is column u, and `self_column` is 0..n−1. A simulation keeps validators and miners apart: V×M,
`self_column` −1. All numbers are int64 and all masks bool; nothing else is accepted, above all no float and no unsigned.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from davy.incentive.bonds import BondFormat
from davy.incentive.fixed_point import MAX_N, MAX_TOTAL_STAKE, ONE, PPM, U16, Bool, Int64
from davy.incentive.masks import NO_COMMIT

MAX_BLOCK = 1 << 53
MAX_WEIGHT = (1 << 32) - 1

State = TypeVar("State")


class BadInput(ValueError):
    """An input of an epoch has the wrong shape, type or range; the message names the field and what it must be."""


def _integers(name: str, value: ArrayLike, *, low: int, high: int) -> Int64:
    """`value` as an int64 array within [low, high]; a list of Python integers is taken, a float or unsigned array is not."""
    array = np.asarray(value)
    if array.size == 0 and array.dtype == np.float64:  # an empty list
        array = array.astype(np.int64)
    if array.dtype != np.int64:
        raise BadInput(f"{name} is {array.dtype}; it must be int64: convert it yourself, so that no rounding is hidden")
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise BadInput(f"{name} holds {int(array.min())} to {int(array.max())}; it must lie within {low} to {high}")
    return array


def _flags(name: str, value: ArrayLike) -> Bool:
    array = np.asarray(value)
    if array.dtype != np.bool_:
        raise BadInput(f"{name} is {array.dtype}; it must be bool")
    return array


def _shape(name: str, array: NDArray[np.generic], ending: tuple[int, ...], batch: tuple[int, ...]) -> None:
    """The last axes must be `ending`, the ones in front must be absent or those of the batch."""
    split = array.ndim - len(ending)
    if split < 0 or array.shape[split:] != ending or array.shape[:split] not in ((), batch):
        raise BadInput(f"{name} has shape {array.shape}; it must be {(*batch, *ending)}, or {ending} for all of the batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochInputs:
    """What one epoch of one subnet depends on. Every array may carry the batch axes of `weights` in front, or none of them.

    Attributes
    ----------
    weights : int64 [..., V, M]
        Row i's weights as revealed; u16 on a ledger, up to 2^32 − 1 here. Rows need no normalisation, zeros mean none.
    stake : int64 [..., V]
        Base units that count for this epoch, own and delegated; ≤ 2.1·10^16 in total.
    permits : bool [..., V]
        Validator permits that the epoch before handed out.
    last_update : int64 [..., V]
        Block at which row i's weights were set.
    registered_at : int64 [..., M]
        Block at which the present holder of column j registered.
    earliest_commit : int64 [..., V]
        Block of row i's earliest commit that is neither revealed nor expired; `masks.NO_COMMIT` where there is none.
    self_column : int64 [..., V]
        The column that is row i's own, or −1.
    halted : bool [..., M]
        Columns under a halt: they earn nothing, as miner and as validator, and their share is not minted.
    now : int64 [...]
        This epoch's block.
    previous_epoch : int64 [...]
        Block of the epoch before, in which bonds were stored; bonds of columns registered at or after it are forgotten.
    owner_row : int64 [...]
        Row of the subnet's owner, whose weight on itself counts, or −1.
    bonds_at : int64 [..., V] or None
        The block that row i's bonds are of, where rows differ; None takes `previous_epoch` for all.

    Raises
    ------
    BadInput
        Any array that is not of its dtype, shape or range.
    """

    weights: Int64
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

    def __post_init__(self) -> None:
        weights = _integers("weights", self.weights, low=0, high=MAX_WEIGHT)
        if weights.ndim < 2 or not (0 < weights.shape[-2] <= MAX_N and 0 < weights.shape[-1] <= MAX_N):
            raise BadInput(f"weights has shape {weights.shape}; it must be [..., V, M] with V and M within 1 to {MAX_N}")
        *front, rows, columns = weights.shape
        batch = tuple(front)

        def check(name: str, array: NDArray[np.generic], ending: tuple[int, ...]) -> None:
            _shape(name, array, ending, batch)
            object.__setattr__(self, name, array)

        check("weights", weights, (rows, columns))
        check("stake", _integers("stake", self.stake, low=0, high=MAX_TOTAL_STAKE), (rows,))
        check("permits", _flags("permits", self.permits), (rows,))
        check("last_update", _integers("last_update", self.last_update, low=0, high=MAX_BLOCK), (rows,))
        check("registered_at", _integers("registered_at", self.registered_at, low=0, high=MAX_BLOCK), (columns,))
        check("earliest_commit", _integers("earliest_commit", self.earliest_commit, low=0, high=NO_COMMIT), (rows,))
        check("self_column", _integers("self_column", self.self_column, low=-1, high=columns - 1), (rows,))
        check("halted", _flags("halted", self.halted), (columns,))
        check("now", _integers("now", self.now, low=0, high=MAX_BLOCK), ())
        check("previous_epoch", _integers("previous_epoch", self.previous_epoch, low=0, high=MAX_BLOCK), ())
        check("owner_row", _integers("owner_row", self.owner_row, low=-1, high=rows - 1), ())
        if self.bonds_at is not None:
            check("bonds_at", _integers("bonds_at", self.bonds_at, low=0, high=MAX_BLOCK), (rows,))
        total = int(self.stake.sum(axis=-1).max())
        if total > MAX_TOTAL_STAKE:
            raise BadInput(f"stake sums to {total} base units; there are at most {MAX_TOTAL_STAKE}")

    @property
    def shape(self) -> tuple[int, ...]:
        """[..., V, M], the shape of a mechanism's state."""
        return self.weights.shape

    @classmethod
    def unmasked(cls, weights: Int64, stake: Int64) -> Self:
        """Inputs in which no mask bites: all rows permitted and active, no own columns, no halts. What a simulation starts from."""
        *_, rows, columns = weights.shape
        return cls(
            weights=weights,
            stake=stake,
            permits=np.ones(rows, dtype=np.bool_),
            last_update=np.full(rows, 2, dtype=np.int64),
            registered_at=np.zeros(columns, dtype=np.int64),
            earliest_commit=np.full(rows, NO_COMMIT, dtype=np.int64),
            self_column=np.full(rows, -1, dtype=np.int64),
            halted=np.zeros(columns, dtype=np.bool_),
            now=np.array(2, dtype=np.int64),
            previous_epoch=np.array(1, dtype=np.int64),
            owner_row=np.array(-1, dtype=np.int64),
        )

    def with_(self, **changes: ArrayLike) -> Self:
        """These inputs with some fields changed, checked again."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """A subnet's hyperparameters that a mechanism reads. Defaults are subtensor's, but for `bond_format`.

    Attributes
    ----------
    kappa : u16, 1 to 65535
        κ, the majority of stake that consensus needs.
    bond_penalty : u16
        β: how much of what stands above consensus is lost for bonds.
    moving_average : ppm
        m: the part of the old bonds kept in an epoch; α = 1 − m.
    liquid_alpha, alpha_low, alpha_high, alpha_steepness : bool, u16, u16, 1 to 100
        α per pair between lo and hi (Yuma 3 only).
    activity_cutoff : blocks
    max_validators : permits handed out.
    stake_threshold : base units
        Stake below it counts 0.
    permit_zero_stake : bool
        False: no permit without stake. True is the older `is_topk`, which conformance traces need.
    bond_format : BondFormat

    Raises
    ------
    BadInput
        A value out of its range.
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
    bond_format: BondFormat = BondFormat.U32

    def __post_init__(self) -> None:
        for name, low, high in (
            ("kappa", 1, U16),
            ("bond_penalty", 0, U16),
            ("moving_average", 0, PPM),
            ("alpha_low", 0, U16),
            ("alpha_high", self.alpha_low, U16),
            ("alpha_steepness", 1, 100),
            ("activity_cutoff", 0, MAX_BLOCK),
            ("max_validators", 1, MAX_N),
            ("stake_threshold", 0, MAX_TOTAL_STAKE),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise BadInput(f"{name} is {value!r}; it must be an integer within {low} to {high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """What an epoch decided. Shares are Q30 (`fixed_point.ONE` is 1).

    Attributes
    ----------
    incentive : int64 [..., M]
        Miners' shares; with `incentive_withheld` they sum to ONE, or all are 0 where no column has a rank.
    dividends : int64 [..., V]
        Validators' shares; with `dividends_withheld` they sum to ONE, or all are 0.
    fallback : int64 [..., V]
        Shares by active stake, by stake where none is active: what a half without shares of its own is paid by. With
        `fallback_withheld` they sum to ONE, or all are 0 where there is no stake.
    incentive_withheld, dividends_withheld, fallback_withheld : int64 [...]
        The sum of what halted UIDs would have had. It is not minted.
    consensus, rank, trust : int64 [..., M]
        C; R = SᵀW̄; and R divided by what it was before clipping.
    validator_trust : int64 [..., V]
        Row sums of W̄.
    active_stake : int64 [..., V]
        Normalised stake that voted; sums to ONE exactly, or is all 0.
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
    trust: Int64
    validator_trust: Int64
    active_stake: Int64
    permits: Bool


class Mechanism(Protocol[State]):
    """A plug, chosen by name per subnet. Pure: same state, inputs and parameters, same bits."""

    def initial(self, shape: tuple[int, ...]) -> State:
        """The state before the first epoch of inputs of this shape [..., V, M]."""
        ...

    def epoch(self, s: State, x: EpochInputs, p: Params) -> tuple[State, EpochResult]:
        """One epoch. The arrays of `s` and `x` are not written to."""
        ...


@dataclass(frozen=True, slots=True)
class BondState:
    """The state of both Yumas: bonds int64 [..., V, M] in the stored format of the subnet's `Params`."""

    bonds: Int64 = field()

    def resized(self, rows: int, columns: int) -> BondState:
        """Room for UIDs that registered since; new bonds are 0. A subnet never shrinks."""
        *front, had_rows, had_columns = self.bonds.shape
        if rows < had_rows or columns < had_columns:
            raise BadInput(f"bonds of {had_rows}x{had_columns} do not fit {rows}x{columns}")
        grown = np.zeros((*front, rows, columns), dtype=np.int64)
        grown[..., :had_rows, :had_columns] = self.bonds
        return BondState(grown)


__all__ = ["ONE", "BadInput", "BondState", "EpochInputs", "EpochResult", "Mechanism", "Params"]
