"""A full subnet whose seats are fought over: the ledger's price, limit, immunity and pruning, and the live epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

import numpy as np

from davy.incentive.emission import emit
from davy.incentive.fixed_point import U16, Int64
from davy.incentive.masks import NO_COMMIT
from davy.incentive.mechanism import EpochInputs, Params
from davy.incentive.registry import mechanism
from davy.sims.attack import as_weights
from davy.sims.beyond.seats import THEIRS, Seat, chain_of
from davy.sims.design import MONEY, MONEY_METRICS, Float, Study
from davy.sims.market import base_units, within
from davy.sims.noise import UNIT, UNIT_BITS, Draws, Purpose, in_units, normal

_TEMPO: Final = 360
_WARM: Final = 10
"""Epochs before the attack begins: bonds build up, and nobody is new any more."""


@dataclass(frozen=True, kw_only=True)
class Registrations(Study):
    """Attackers register UIDs in numbers: to snipe seats while they are cheap, or to sit in them while they are immune.

    The price moves at an epoch's end only, so whoever waits until it has fallen gets as many UIDs as an epoch takes, a
    sixteenth of a full subnet, at the low price and in its first block (`snipe`). No newcomer is pruned until its
    immunity is over, however little it earns, so a steady stream of worthless UIDs drives out the honest ones that earn
    least (`sit`); each epoch that takes all it may doubles the price. Honest miners that lost their seat register again
    where they would stay, and while that costs less than what they would earn in `horizon` epochs; so do newcomers.
    A price on identities is Douceur 2002's only defence; EIP-1559 has the same rule of price. No quantified source was
    found for sniped registrations and immunity abuse: the metrics are davy's own.

    Attributes
    ----------
    plan
        `snipe`: whenever the price is at most `limit`, as many as the epoch takes. `sit`: `each` UIDs an epoch, while
        the price is at most `limit`.
    each
        UIDs an epoch, of `sit`.
    limit
        Tokens.
    most
        UIDs they want to hold at once.
    quality
        Of their one model. All their UIDs are one cluster and share one weight, as the validators' check of originality
        has it, unless `alike` is False.
    seats, validators
        Of the subnet; the validators keep theirs by stake.
    wanted
        Registrations an epoch that leave the price as it is; or a third of a sixteenth of the seats, if that is less.
    immunity
        Blocks; an epoch has 360.
    newcomers
        Probability an epoch that an honest miner comes who was not there before.
    price, low, high
        Tokens: at the start, and the chain's bounds.
    """

    plan: Literal["snipe", "sit"] = "snipe"
    each: int = 4
    limit: float = 0.5
    most: int = 24
    quality: float = 0.5
    alike: bool = True
    seats: int = 64
    validators: int = 8
    wanted: int = 4
    immunity: int = 4_096
    newcomers: float = 0.5
    horizon: int = 30
    noise: float = 0.2
    price: float = 1.0
    low: float = 0.1
    high: float = 100.0
    emission: float = 100.0
    epochs: int = 60

    kind: str = field(default="registrations", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = (*MONEY, "held", "waiting", "price", "fees", "quality")
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = {
        **MONEY_METRICS,
        "harm": ("tokens", "what those honest miners lost who got less than in the honest arm, each over all epochs"),
        "held": ("of miners' seats", "that the attackers hold at the end"),
        "shut_out": ("miners", "honest ones without a seat, beyond the honest arm's, in the mean over epochs"),
        "quality_loss": ("of quality", "1 − the qualities of all models in the subnet / the same in the honest arm"),
        "highest_price": ("tokens", "the highest price of a registration"),
        "fees": ("tokens", "what honest miners burned for registrations, beyond the honest arm"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        within("validators", self.validators, 1, 64)
        within("seats, at least 4 a validator,", self.seats, 4 * self.validators, 1024)
        within("each", self.each, 0, 1024)
        within("most", self.most, 1, self.seats - self.validators)
        within("quality", self.quality, 0, 1)
        within("wanted", self.wanted, 1, 1024)
        within("immunity", self.immunity, 0, 1_000_000)
        within("newcomers", self.newcomers, 0, 1)
        within("horizon", self.horizon, 1, 100_000)
        within("noise", self.noise, 0, 1)
        within("low", self.low, 0, self.high)
        within("high", self.high, 0, 1e6)
        within("price", self.price, self.low, self.high)
        within("limit", self.limit, 0, 1e6)
        within("emission", self.emission, 0, 1e6)
        within("epochs", self.epochs, 1, 10_000)

    @property
    def steps(self) -> int:
        return self.epochs

    @property
    def at_once(self) -> int:
        return 16

    def play(self, runs: range) -> Int64:
        subnet = Subnet(self, runs)
        return np.stack([subnet.epoch(t) for t in range(_WARM + self.epochs)][_WARM:], axis=2)

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        def beyond(name: str) -> Float:
            return (arrays[f"attack.{name}"] - arrays[f"honest.{name}"]).sum(axis=1).astype(np.float64)

        return {
            **super().measure(arrays),
            "held": arrays["attack.held"][:, -1] / (self.seats - self.validators),
            "shut_out": beyond("waiting") / self.epochs,
            "quality_loss": -beyond("quality") / arrays["honest.quality"].sum(axis=1),
            "highest_price": arrays["attack.price"].max(axis=1) / base_units(1),
            "fees": beyond("fees") / base_units(1),
        }


class Subnet:
    """A chunk of runs, both arms side by side, epoch by epoch."""

    def __init__(self, study: Registrations, runs: range) -> None:
        self.study, self.runs = study, len(runs)
        draws = Draws(study.seed, runs, Purpose.QUALITY)
        drawn = draws.below(3 * UNIT // 4, study.seats + _WARM + study.epochs) + UNIT // 4
        self._arrivals = Draws(study.seed, runs, Purpose.ENTRY).chance(study.newcomers, _WARM + study.epochs)
        self._noise, self._factor = Draws(study.seed, runs, Purpose.SCORES), normal(study.noise, 1.0, 0.0)
        self.arms = [[Seat(study, drawn[r].tolist()) for r in range(self.runs)] for _ in range(2)]
        self._mechanism = mechanism("yuma3")
        self._state = self._mechanism.initial((2, self.runs, study.validators, study.seats))
        self._permits = np.ones((2, self.runs, study.validators), dtype=np.bool_)
        self._rate = [[0] * self.runs for _ in range(2)]
        self._seen = [False] * self.runs
        self._lost: list[dict[int, int]] = [{} for _ in range(self.runs)]

    def epoch(self, t: int) -> Int64:
        """`Registrations.columns` of an epoch, [2, runs, columns]."""
        first = t * _TEMPO + 1
        for arm, seats in enumerate(self.arms):
            for r, seat in enumerate(seats):
                if arm and t >= _WARM:
                    seat.attack(first)
                if self._arrivals[r, t]:
                    seat.waiting.append(self.study.seats + t)
                seat.come(first + 1, self._rate[arm][r])
        pay, dividends = self._pay(t)
        return self._told(t, pay, dividends)

    def _pay(self, t: int) -> tuple[Int64, Int64]:
        """By the live epoch: base units [2, runs, seats] by incentive and [2, runs, V] by dividends."""
        study = self.study
        quality = np.array([[seat.quality() for seat in seats] for seats in self.arms])
        factors = self._noise.of(self._factor, study.validators, study.seats)
        weights = as_weights((quality[:, :, None, :] * factors) >> UNIT_BITS)
        now = (t + 1) * _TEMPO
        rows = study.validators
        x = EpochInputs(
            weights=weights,
            stake=np.full(rows, base_units(1_000), dtype=np.int64),
            permits=self._permits,
            last_update=np.full(rows, t * _TEMPO + 1, dtype=np.int64),
            registered_at=np.array([[seat.registered for seat in seats] for seats in self.arms]),
            earliest_commit=np.full(rows, NO_COMMIT, dtype=np.int64),
            self_column=np.arange(rows, dtype=np.int64),
            halted=np.zeros(study.seats, dtype=np.bool_),
            now=np.asarray(now, dtype=np.int64),
            previous_epoch=np.asarray(t * _TEMPO, dtype=np.int64),
            owner_row=np.asarray(-1, dtype=np.int64),
        )
        self._state, result = self._mechanism.epoch(self._state, x, Params(activity_cutoff=U16))
        self._permits = result.permits
        paid = emit(base_units(study.emission), result, chain_of(study).owner_cut)
        return paid.incentive, paid.dividends

    def _told(self, t: int, pay: Int64, dividends: Int64) -> Int64:
        told = np.zeros((2, self.runs, len(self.study.columns)), dtype=np.int64)
        for r in range(self.runs):
            earned: list[dict[int, int]] = []
            for arm, seats in enumerate(self.arms):
                seat, paid = seats[r], pay[arm, r]
                theirs = int(paid[seat.holder == THEIRS].sum())
                holders: list[int] = seat.holder.tolist()
                by = {n: int(p) for n, p in zip(holders, paid.tolist(), strict=True) if n >= 0}
                earned.append(by)
                worth = sum(seat.qualities[n] for n in by)
                self._rate[arm][r] = sum(by.values()) * UNIT // max(worth, 1)
                hurt = self._harm(r, earned) if arm and t >= _WARM else 0
                others = int(paid.sum()) - theirs + int(dividends[arm, r].sum())
                row = (theirs, others, seat.spent, seat.burned + seat.spent, hurt, 0)
                worth += in_units(self.study.quality) if seat.held else 0
                told[arm, r] = (*row, seat.held, sum(n >= 0 for n in seat.waiting), seat.price, seat.fees, worth)
                seat.emission = paid.copy()
            for arm in self.arms:
                arm[r].end()
            self._seen[r] |= t >= _WARM and self.arms[1][r].was_full and not self.arms[0][r].was_full
            told[1, r, MONEY.index("noticed")] = self._seen[r]
        return told

    def _harm(self, r: int, earned: list[dict[int, int]]) -> int:
        """By how much the sum of what honest miners lost over the whole attack grew in this epoch.

        Of each one its own pay in both arms is compared over all epochs, so that luck within an epoch hurts nobody.
        """
        lost = self._lost[r]
        before = sum(max(0, loss) for loss in lost.values())
        for n, had in earned[0].items():
            lost[n] = lost.get(n, 0) + had
        for n, has in earned[1].items():
            lost[n] = lost.get(n, 0) - has
        return sum(max(0, loss) for loss in lost.values()) - before
