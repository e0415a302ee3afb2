"""Emission: an epoch's amount in base units, to the last one.

First the owner's cut, then miners and validators half and half; the odd unit goes to the validators. A half for which
nobody has a share is paid by stake. What halted UIDs would have had is not minted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davy.incentive.door import BadInput, integers, whole
from davy.incentive.fixed_point import MAX_AMOUNT, MAX_TOTAL_STAKE, U16, Int64, apportion
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


def cut(amount: Int64, part: int) -> Int64:
    """floor(amount · part / 65535), part a u16, without the product of 76 bits (as in `consensus.minority`)."""
    quotient, rest = np.divmod(amount, U16)
    return quotient * part + rest * part // U16


def share_out(amount: Int64, shares: Int64, withheld: Int64) -> Int64:
    """`amount` [...] by `shares` [..., N], with what is withheld as one more claimant, whose part is dropped."""
    claims = np.concatenate((shares, withheld[..., None]), axis=-1)
    return apportion(amount, claims)[..., :-1]


def emit(amount: Int64 | int, result: EpochResult, owner_cut: int) -> Emission:
    """What everybody gets of an epoch's `amount` of 0 to 2^60 base units, [...]; `owner_cut` is a u16.

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
    by_stake = for_miners * no_incentive + for_validators * no_dividends
    incentive = share_out(for_miners * ~no_incentive, result.incentive, result.incentive_withheld)
    dividends = share_out(for_validators * ~no_dividends, result.dividends, result.dividends_withheld)
    dividends += share_out(by_stake, result.fallback, result.fallback_withheld)
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


def block_emission(issued: int, *, supply: int, initial: int) -> int:
    """Base units that a block may mint: `initial`, halved whenever half of what was left of the supply is issued.

    initial · 2^-h for the largest h with issued ≥ supply·(1 − 2^-h), and never more than what is left.

    Raises
    ------
    BadInput
        More issued than the supply.
    """
    left = supply - whole("issued", issued, 0, supply)
    return min(initial >> ((supply // left).bit_length() - 1), left) if left else 0
