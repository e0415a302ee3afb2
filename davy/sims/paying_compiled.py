"""`davy.sims.paying` in one pass: shares of ONE need no division, and nothing is laid aside but a row of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from davy.incentive.compiled.jit import compiled, making_arrays
from davy.incentive.compiled.shares import mark_largest
from davy.incentive.emission import cut
from davy.incentive.fixed_point import ONE, ONE_BITS, U16, Bool, Int64
from davy.incentive.mechanism import EpochResult
from davy.sims.paying import SIDES, Paid, Paying

THEIR_ROWS, THEIR_COLUMNS, HONEST_ROWS, HONEST_COLUMNS, OWNER, LOST, BOUGHT, HURT = range(len(SIDES))


class Amounts(NamedTuple):
    """Base units of an epoch, the penalty (u16), and how many rows and columns are honest."""

    owner: int
    miners: int
    validators: int
    penalty: int
    rows: int
    columns: int


class Shares(NamedTuple):
    """Of an `EpochResult`: incentive [2, runs, M], dividends and fallback [2, runs, V], withheld [2, runs] each."""

    incentive: Int64
    dividends: Int64
    fallback: Int64
    incentive_withheld: Int64
    dividends_withheld: Int64
    fallback_withheld: Int64


@dataclass(frozen=True, slots=True)
class PayingCompiled(Paying):
    """The same bits for a result whose shares sum to ONE, or are all 0, as every mechanism's do."""

    def paid(self, result: EpochResult, used: Int64, missed: Bool) -> Paid:
        owner = int(cut(np.asarray(self.amount), self.owner_cut))
        miners, honest = (self.amount - owner) // 2, self.seats
        amounts = Amounts(
            owner, miners, self.amount - owner - miners, self.penalty, honest.honest_rows.stop,
            honest.honest_columns.stop,
        )  # fmt: skip
        shares = Shares(*(np.ascontiguousarray(getattr(result, name)) for name in Shares._fields))
        sides = np.empty((*missed.shape[:-1], len(SIDES)), dtype=np.int64)
        dividends = np.empty_like(shares.dividends)
        _pay(amounts, shares, used, missed, sides, dividends)
        return Paid(sides, dividends)


@making_arrays
def _pay(a: Amounts, s: Shares, used: Int64, missed: Bool, sides: Int64, dividends: Int64) -> None:
    arms, runs, rows = missed.shape
    columns = used.shape[2]
    incentive = np.empty((arms, columns), dtype=np.int64)
    more = np.empty(rows, dtype=np.int64)
    remainder = np.empty(max(rows, columns) + 1, dtype=np.int64)
    chosen = np.empty(len(remainder), dtype=np.bool_)
    for run in range(runs):
        for arm in range(arms):
            paid, told = dividends[arm, run], sides[arm, run]
            held_back, kept_back = s.incentive_withheld[arm, run], s.dividends_withheld[arm, run]
            mined = _share_out(a.miners, s.incentive[arm, run], held_back, incentive[arm], remainder, chosen)
            earned = _share_out(a.validators, s.dividends[arm, run], kept_back, paid, remainder, chosen)
            unminted = a.miners - mined + a.validators - earned
            empty = (a.miners if mined + held_back == 0 else 0) + (a.validators if earned + kept_back == 0 else 0)
            if empty > 0:
                unminted -= _share_out(
                    empty, s.fallback[arm, run], s.fallback_withheld[arm, run], more, remainder, chosen
                )
                for i in range(rows):
                    paid[i] += more[i]
            told[OWNER], told[LOST] = a.owner, unminted + _fine(paid, missed[arm, run], a.penalty)
            told[BOUGHT] = _bought(s.incentive[arm, run], used[arm, run])
            told[HONEST_ROWS], told[HONEST_COLUMNS] = paid[: a.rows].sum(), incentive[arm, : a.columns].sum()
            told[THEIR_ROWS], told[THEIR_COLUMNS] = paid[a.rows :].sum(), incentive[arm, a.columns :].sum()
        sides[0, run, HURT] = 0
        sides[1, run, HURT] = _lost(dividends[0, run, : a.rows], dividends[1, run, : a.rows])
        sides[1, run, HURT] += _lost(incentive[0, : a.columns], incentive[1, : a.columns])


@compiled
def _share_out(amount: int, shares: Int64, withheld: int, parts: Int64, remainder: Int64, chosen: Bool) -> int:
    """`emission.share_out` of one half, and the sum of the parts.

    amount·share has up to 90 bits: floor(amount·share / ONE) = share·high + floor(share·low / ONE).
    """
    n, high, low = len(shares), amount >> ONE_BITS, amount & (ONE - 1)
    claimed, missing = withheld, amount - withheld * high - (withheld * low >> ONE_BITS)
    for i in range(n):
        parts[i] = shares[i] * high + (shares[i] * low >> ONE_BITS)
        remainder[i] = shares[i] * low & (ONE - 1)
        missing -= parts[i]
        claimed += shares[i]
    if claimed == 0:
        return 0
    remainder[n] = withheld * low & (ONE - 1)
    mark_largest(remainder, n + 1, missing, False, chosen)
    total = 0
    for i in range(n):
        parts[i] += chosen[i]
        total += parts[i]
    return total


@compiled
def _fine(paid: Int64, missed: Bool, penalty: int) -> int:
    """Takes `emission.cut` of what each row that missed is paid; returns the sum."""
    total = 0
    for i in range(len(paid)):
        if missed[i]:
            fined = (paid[i] // U16) * penalty + (paid[i] % U16) * penalty // U16
            paid[i] -= fined
            total += fined
    return total


@compiled
def _bought(incentive: Int64, used: Int64) -> int:
    """The mean quality that incentive went to."""
    weighed, whole = 0, 0
    for j in range(len(used)):
        weighed += incentive[j] * used[j]
        whole += incentive[j]
    return weighed // max(whole, 1)


@compiled
def _lost(honest: Int64, attacked: Int64) -> int:
    """`paying.lost` of one run."""
    total = 0
    for i in range(len(honest)):
        total += max(honest[i] - attacked[i], 0)
    return total
