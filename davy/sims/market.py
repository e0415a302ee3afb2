"""The market an attack is played in: its parameters, and the world that moves under both arms alike.

Rows are validators and columns miners, the honest first. A miner's quality is what its users get, from 0 to 1; in each
epoch it is drawn anew with probability `churn` (a new checkpoint came out). A validator measures quality · (1 + σz),
with z of its own, not below 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davy.incentive.evidence import MAX_EPOCHS
from davy.incentive.fixed_point import U16, Int64, Weights
from davy.protocol.errors import Misconfigured
from davy.protocol.words import TOKEN
from davy.sims.measuring import measure, narrowed
from davy.sims.noise import UNIT, Draws, Purpose, in_units, normal

MOST_UIDS = 4096


@dataclass(frozen=True, kw_only=True)
class Market:
    """Who is there and what things cost. Tokens here; base units in the arrays.

    Attributes
    ----------
    validators, miners
        Rows and columns, attackers included.
    spread
        Standard deviation of stakes within a side, of their mean.
    quality_low, quality_high
        An honest miner's quality is even between them.
    churn
        Probability that an honest miner's quality is drawn anew in an epoch.
    noise
        σ: standard deviation of one measurement, of the quality measured.
    concealment
        Epochs from a commit to its reveal; 0: weights are set openly.
    unrevealed_penalty
        Part (u16) of its dividends that a validator loses when a commit of its expires.
    tempo
        Blocks an epoch.
    emission
        Tokens an epoch, before the owner's cut (u16).
    stake
        Tokens of stake in all.
    price
        Tokens burned for a registration at the start; it moves by the ledger's rule.
    validating
        Tokens a validator spends in an epoch on measuring.
    serving
        Tokens a miner of quality 1 spends in an epoch; one of quality q spends q times that.
    audits
        Miners audited in an epoch, where the mechanism reads evidence.
    audit_noise
        Standard deviation of an audit's measurement, of the quality measured.
    window
        Epochs of evidence that the mechanism looks back on.
    stakes, qualities
        Of a running network (`Scenario.from_ledger`), words of whole numbers: base units of each validator, instead of
        drawn ones; and each miner's quality, 1 being 16384, from which a new one is drawn too. Attackers come last.

    Raises
    ------
    Misconfigured
        A value out of its range.
    """

    validators: int = 16
    miners: int = 64
    spread: float = 0.3
    quality_low: float = 0.25
    quality_high: float = 1.0
    churn: float = 0.05
    noise: float = 0.2
    concealment: int = 1
    unrevealed_penalty: int = U16
    tempo: int = 360
    emission: float = 100.0
    owner_cut: int = 11_796
    stake: float = 1_000_000.0
    price: float = 1.0
    validating: float = 0.1
    serving: float = 0.2
    audits: int = 32
    audit_noise: float = 0.1
    window: int = 16
    stakes: str = ""
    qualities: str = ""

    def __post_init__(self) -> None:
        within("validators", self.validators, 2, MOST_UIDS)
        within("miners", self.miners, 2, MOST_UIDS)
        within("spread", self.spread, 0, 1)
        within("quality_low", self.quality_low, 0, 1)
        within("quality_high", self.quality_high, self.quality_low, 1)
        within("churn", self.churn, 0, 1)
        within("noise", self.noise, 0, 1)
        within("concealment", self.concealment, 0, 100)
        within("unrevealed_penalty", self.unrevealed_penalty, 0, U16)
        within("tempo", self.tempo, 2, 100_000)
        within("emission", self.emission, 0, 1e6)
        within("owner_cut", self.owner_cut, 0, U16)
        within("stake", self.stake, 1, 2.1e7)
        within("audits", self.audits, 0, MOST_UIDS)
        within("audit_noise", self.audit_noise, 0, 1)
        within("window", self.window, 1, MAX_EPOCHS)
        for name in ("price", "validating", "serving"):
            within(name, getattr(self, name), 0, 1e6)
        for name, count, most in (("stakes", self.validators, 2e16), ("qualities", self.miners, UNIT)):
            listed = whole_numbers(name, getattr(self, name))
            if listed and len(listed) != count:
                raise Misconfigured(f"market.{name} lists {len(listed)} numbers; there are {count}")
            within(f"each of market.{name}", max(listed, default=0), 0, most)


def whole_numbers(name: str, words: str) -> tuple[int, ...]:
    """Whole numbers, not below 0, of a line of words.

    Raises
    ------
    Misconfigured
        One is none.
    """
    listed = words.split()
    if not all(word.isascii() and word.isdigit() and len(word) <= 17 for word in listed):
        raise Misconfigured(f"market.{name} is to be whole numbers with blanks between them")
    return tuple(map(int, listed))


def within(name: str, value: float, low: float, high: float) -> None:
    """Check a parameter.

    Raises
    ------
    Misconfigured
        It is out of its range, or not a number.
    """
    if not low <= value <= high:
        raise Misconfigured(f"{name} is {value}; it must lie within {low:g} to {high:g}")


def base_units(tokens: float) -> int:
    """Tokens in base units, to the nearest."""
    return round(tokens * TOKEN)


@dataclass(frozen=True, slots=True)
class Seats:
    """Which rows and columns are whose: the honest come first."""

    rows: int
    columns: int
    attack_rows: int
    attack_columns: int

    @property
    def honest_rows(self) -> slice:
        return slice(0, self.rows - self.attack_rows)

    @property
    def their_rows(self) -> slice:
        return slice(self.rows - self.attack_rows, self.rows)

    @property
    def honest_columns(self) -> slice:
        return slice(0, self.columns - self.attack_columns)

    @property
    def their_columns(self) -> slice:
        return slice(self.columns - self.attack_columns, self.columns)


class World:
    """What moves by itself, for a chunk of runs: stakes once, qualities and noise epoch by epoch."""

    def __init__(
        self, m: Market, seats: Seats, share: float, seed: int, runs: range, *, compiled: bool = False
    ) -> None:
        self.market, self.seats = m, seats
        self._measure = measure(compiled=compiled)
        self._quality, self._scores = (
            Draws(seed, runs, p, compiled=compiled) for p in (Purpose.QUALITY, Purpose.SCORES)
        )
        self._factor = narrowed(normal(m.noise, 1.0, 0.0))
        self.stake = stakes(m, seats, share, Draws(seed, runs, Purpose.STAKE))
        listed = np.array(whole_numbers("qualities", m.qualities), dtype=np.int64)
        self._listed = listed[seats.honest_columns] if len(listed) else listed
        self.quality = self._fresh()
        if len(listed):
            self.quality[:] = listed

    def _fresh(self) -> Int64:
        if len(self._listed):
            return self._listed[self._quality.below(len(self._listed), self.seats.columns)]
        low, high = in_units(self.market.quality_low), in_units(self.market.quality_high)
        return low + self._quality.below(high - low + 1, self.seats.columns)

    def advance(self) -> None:
        """To the next epoch: some miners' qualities, [runs, M], are drawn anew."""
        if self.market.churn:
            fresh = self._fresh()
            moved = self._quality.chance(self.market.churn, self.seats.columns)
            self.quality = np.where(moved, fresh, self.quality)

    def scores(self, quality: Int64, most: int) -> Weights:
        """This epoch's measurements of `quality` [2, runs, M] by all validators, [2, runs, V, M], no more than `most`.

        Both arms with the same factors max(0, 1 + σz), at most 5.3.
        """
        return self._measure(quality, self._factor, self._scores.words(self.seats.rows, self.seats.columns), most)


def stakes(m: Market, seats: Seats, share: float, draws: Draws) -> Int64:
    """Base units [runs, V]: a side's are max(.01, 1 + spread·z), scaled so that the attackers hold `share` of all."""
    if listed := whole_numbers("stakes", m.stakes):
        return np.tile(np.array(listed, dtype=np.int64), (draws.runs, 1))
    drawn = draws.of(normal(m.spread, 1.0, 0.01), seats.rows)
    total = base_units(m.stake)
    theirs = round(total * share) if seats.attack_rows else 0
    for rows, amount in ((seats.honest_rows, total - theirs), (seats.their_rows, theirs)):
        side = drawn[:, rows]
        # Scaled to 2^20 first: the product of an amount and a draw would not fit.
        parts = (side << 20) // side.sum(axis=1, keepdims=True) if side.shape[1] else side
        drawn[:, rows] = (amount >> 20) * parts
    return drawn
