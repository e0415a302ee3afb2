"""Emission: an epoch's amount in base units, to the last one.

First the owner's cut, then miners and validators half and half; the odd unit goes to the validators. A half for which
nobody has a share is paid by stake. What halted UIDs would have had is not minted.

Sources: subtensor's coinbase/run_coinbase.rs and the end of epoch/run_epoch.rs, which `EmptyHalf.OTHER` and
`whole=False` follow. (There the owner's own miners have their part burned; here they are miners like others.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from davy.incentive.door import BadInput, integers, whole
from davy.incentive.fixed_point import MAX_AMOUNT, MAX_TOTAL_STAKE, U16, Int64, apportion, multiply_divide
from davy.incentive.mechanism import EpochResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """Base units: `owner` [...], miners' `incentive` [..., M], validators' `dividends` [..., V], and `unminted` [...].

    They sum to the epoch's amount.
    """

    owner: Int64
    incentive: Int64
    dividends: Int64
    unminted: Int64

    def per_uid(self) -> Int64:
        """Incentive and dividends together, [..., n], where row u and column u are one neuron.

        Raises
        ------
        BadInput
            Rows and columns differ in number, so they are not the same neurons.
        """
        if self.incentive.shape[-1] != self.dividends.shape[-1]:
            raise BadInput("rows and columns are different neurons here: read `incentive` and `dividends` apart")
        return self.incentive + self.dividends


def cut(amount: Int64, part: int | Int64) -> Int64:
    """floor(amount · part / 65535), part a u16, without the product of 76 bits (as in `consensus.minority`)."""
    quotient, rest = np.divmod(amount, U16)
    return quotient * part + rest * part // U16


class EmptyHalf(Enum):
    """Who is paid the half of miners, or of validators, in an epoch in which none of them has a share."""

    STAKE = "stake"
    """Stake, by `EpochResult.fallback`: the other half stays what it is."""
    OTHER = "other"
    """The other half's shares, as under subtensor; stake only where there are none either."""


def share_out(amount: Int64, shares: Int64, withheld: Int64, *, whole: bool = True) -> Int64:
    """`amount` [...] by `shares` [..., N], with what is withheld as one more claimant, whose part is dropped.

    To the last unit; not `whole`: each part rounded down, up to N units less.
    """
    claims = np.concatenate((shares, withheld[..., None]), axis=-1)
    if whole:
        return apportion(amount, claims)[..., :-1]
    return multiply_divide(claims, amount[..., None], claims.sum(axis=-1, keepdims=True))[0][..., :-1]


def emit(
    amount: Int64 | int,
    result: EpochResult,
    owner_cut: int,
    *,
    empty_half: EmptyHalf = EmptyHalf.STAKE,
    whole_units: bool = True,
) -> Emission:
    """What everybody gets of an epoch's `amount` of 0 to 2^60 base units, [...]; `owner_cut` is a u16.

    Parameters
    ----------
    empty_half
        Who gets a half that nobody has a share of.
    whole_units
        Whether the units that rounding down leaves go to the largest remainders, or, as under subtensor, to nobody:
        then they are among the `unminted`.

    Raises
    ------
    BadInput
        An amount or a cut that is no integer or out of range.
    """
    total = integers("amount", amount, 0, MAX_AMOUNT)
    owner = cut(total, whole("owner_cut", owner_cut, 0, U16))
    for_miners = (total - owner) // 2
    for_validators = total - owner - for_miners
    no_incentive = result.incentive.sum(axis=-1) + result.incentive_withheld == 0
    no_dividends = result.dividends.sum(axis=-1) + result.dividends_withheld == 0
    to_miners, to_validators = for_miners * ~no_incentive, for_validators * ~no_dividends
    if empty_half is EmptyHalf.OTHER:
        to_miners += for_validators * (no_dividends & ~no_incentive)
        to_validators += for_miners * (no_incentive & ~no_dividends)
    by_stake = total - owner - to_miners - to_validators
    incentive = share_out(to_miners, result.incentive, result.incentive_withheld, whole=whole_units)
    dividends = share_out(to_validators, result.dividends, result.dividends_withheld, whole=whole_units)
    if by_stake.any():
        dividends += share_out(by_stake, result.fallback, result.fallback_withheld, whole=whole_units)
    unminted = total - owner - incentive.sum(axis=-1) - dividends.sum(axis=-1)
    return Emission(owner=owner, incentive=incentive, dividends=dividends, unminted=unminted)


def delegate(amount: Int64 | int, take: int, stakes: Int64) -> tuple[Int64, Int64]:
    """A validator's dividends [...] as (its take [...], parts of those who staked with it [..., N]), to the last unit.

    The rest after the take goes by stake, the validator's own among `stakes`; with no stake at all it is the take's.

    Raises
    ------
    BadInput
        An amount, a take (u16) or a stake that is no integer or out of range.
    """
    total = integers("amount", amount, 0, MAX_AMOUNT)
    claims = integers("stakes", stakes, 0, MAX_TOTAL_STAKE)
    if int((claims >> 12).sum(axis=-1).max()) > MAX_TOTAL_STAKE >> 12:
        raise BadInput(f"stakes sum to more than {MAX_TOTAL_STAKE} base units, which is all there can be")
    parts = apportion(total - cut(total, whole("take", take, 0, U16)), claims)
    return total - parts.sum(axis=-1), parts
