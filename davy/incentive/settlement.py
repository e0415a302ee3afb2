"""Both ends of an epoch that the Yumas share: which stored bonds still stand, and what of the shares is withheld."""

from __future__ import annotations

from davy.incentive import bonds, masks
from davy.incentive.agreement import Agreement
from davy.incentive.dividends import fallback, withhold
from davy.incentive.fixed_point import ONE_BITS, Int64
from davy.incentive.mechanism import BadInput, BondState, EpochInputs, EpochResult


def standing_bonds(s: BondState, x: EpochInputs) -> Int64:
    """Stored bonds of pairs in which neither side changed hands since they were stored."""
    if s.bonds.shape != x.shape:
        raise BadInput(f"the state has bonds of shape {s.bonds.shape}, the inputs {x.shape}: use BondState.resized")
    stored_at = x.previous_epoch[..., None] if x.bonds_at is None else x.bonds_at
    return bonds.reset(s.bonds, masks.replaced(stored_at, x.registered_at, x.self_column))


def settle(a: Agreement, dividends: Int64, x: EpochInputs) -> EpochResult:
    """The result, with the shares of halted UIDs set apart: as miners, and as validators where the column is their own."""
    halted_rows = masks.own_column(x.halted, x.self_column, False)
    incentive_kept, incentive_withheld = withhold(a.I, x.halted)
    dividends_kept, dividends_withheld = withhold(dividends, halted_rows)
    fallback_kept, fallback_withheld = withhold(fallback(a.S, a.stake), halted_rows)
    return EpochResult(
        incentive=incentive_kept,
        dividends=dividends_kept,
        fallback=fallback_kept,
        incentive_withheld=incentive_withheld,
        dividends_withheld=dividends_withheld,
        fallback_withheld=fallback_withheld,
        consensus=a.C,
        rank=a.R >> ONE_BITS,
        trust=a.trust,
        validator_trust=a.W_clipped.sum(axis=-1),
        active_stake=a.S,
        permits=a.permits,
    )
