"""Emission: from an amount of an epoch to base units per UID, to the last one. DESIGN §5.

owner's cut first; of the rest, half goes by incentive and half by dividends; the odd unit to the validators' half. A half without
shares is paid by stake. What halted UIDs would have had is not minted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davy.incentive.fixed_point import U16, Int64, apportion
from davy.incentive.mechanism import BadInput, EpochResult

MAX_AMOUNT = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """Base units: owner [...], incentive [..., M] to miners, dividends [..., V] to validators, unminted [...]; together the amount."""

    owner: Int64
    incentive: Int64
    dividends: Int64
    unminted: Int64

    def per_uid(self) -> Int64:
        """[..., n] of a square subnet, where row u and column u are one neuron; without the owner's cut.

        Raises
        ------
        BadInput
            V ≠ M: rows and columns are not the same neurons.
        """
        if self.incentive.shape[-1] != self.dividends.shape[-1]:
            raise BadInput("rows and columns are different neurons here; read `incentive` and `dividends` apart")
        return self.incentive + self.dividends


def _share_out(amount: Int64, shares: Int64, withheld: Int64) -> Int64:
    """`amount` [...] by shares [..., N], as if what is withheld were one more claimant whose part is then dropped."""
    claims = np.concatenate((shares, np.broadcast_to(withheld[..., None], (*shares.shape[:-1], 1))), axis=-1)
    return apportion(amount, claims)[..., :-1]


def emit(amount: Int64 | int, result: EpochResult, owner_cut: int) -> Emission:
    """What everybody gets of an epoch's `amount`; `Emission.unminted` is what nobody gets, so that the parts sum to the amount.

    Parameters
    ----------
    amount : int or int64 [...], base units, 0 to 2^60.
    result : of the same batch axes.
    owner_cut : u16, the part of the subnet's owner.

    Raises
    ------
    BadInput
        An amount or a cut out of range, or not an integer.
    """
    whole = np.asarray(amount)
    if whole.dtype != np.int64 or (whole.size and not 0 <= int(whole.min()) <= int(whole.max()) <= MAX_AMOUNT):
        raise BadInput(f"amount must be int64 within 0 to {MAX_AMOUNT} base units")
    if not 0 <= owner_cut <= U16:
        raise BadInput(f"owner_cut is {owner_cut}; it must lie within 0 to {U16}")
    owner = cut(whole, owner_cut)
    miners = (whole - owner) // 2
    validators = whole - owner - miners
    no_incentive = result.incentive.sum(axis=-1) + result.incentive_withheld == 0
    no_dividends = result.dividends.sum(axis=-1) + result.dividends_withheld == 0
    by_stake = np.where(no_incentive, miners, 0) + np.where(no_dividends, validators, 0)
    incentive = _share_out(np.where(no_incentive, 0, miners), result.incentive, result.incentive_withheld)
    dividends = _share_out(np.where(no_dividends, 0, validators), result.dividends, result.dividends_withheld)
    dividends = dividends + _share_out(by_stake, result.fallback, result.fallback_withheld)
    unminted = whole - owner - incentive.sum(axis=-1) - dividends.sum(axis=-1)
    return Emission(owner=owner, incentive=incentive, dividends=dividends, unminted=unminted)


def cut(amount: Int64 | int, part: int) -> Int64:
    """floor(amount · part / 65535), part a u16; the amount ≤ 2^60 may not be multiplied by it in one go."""
    whole, rest = np.divmod(np.asarray(amount, dtype=np.int64), U16)
    return whole * part + rest * part // U16


def delegate(amount: Int64 | int, take: int, stakes: Int64) -> tuple[Int64, Int64]:
    """A validator's dividends between its take and those who staked with it (itself among them), to the last unit.

    Parameters
    ----------
    amount : int or int64 [...], base units.
    take : u16.
    stakes : int64 [..., N], what each staked. Where all are 0 the take is everything.

    Returns
    -------
    (taken [...], parts [..., N]), which sum to the amount.
    """
    whole = np.asarray(amount, dtype=np.int64)
    taken = cut(whole, take)
    parts = apportion(whole - taken, stakes)
    return whole - parts.sum(axis=-1), parts


def block_emission(issued: int, *, supply: int, initial: int) -> int:
    """Base units a block may mint: `initial`, halved each time half of what was left of `supply` has been issued.

    initial · 2^-h with h the largest number for which issued ≥ supply·(1 − 2^-h); never more than what is left.
    """
    if not 0 <= issued <= supply:
        raise BadInput(f"issued is {issued}; it must lie within 0 to the supply of {supply}")
    left = supply - issued
    halvings = (supply // left).bit_length() - 1 if left else initial.bit_length()
    return min(initial >> halvings, left)
