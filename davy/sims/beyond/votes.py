"""Votes by stake: borrowed for a moment, or bought from who holds it.

davy has no token votes yet: governance transactions answer NOT_ENABLED. What counts as stake is the ledger's own rule,
the least held over an epoch; the vote itself, its quorum and its turnout are modelled here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.protocol.limits import ChainParameters, chain_parameters
from davy.sims.design import MONEY, MONEY_METRICS, Float, Study
from davy.sims.holding import Holding
from davy.sims.market import base_units, within
from davy.sims.noise import LEVELS, UNIT, Purpose, Stream, lognormal

_CHAIN: Final[ChainParameters] = chain_parameters()
_YEAR_MS: Final = 365 * 86_400_000
_MONEY: Final = {n: MONEY_METRICS[n] for n in ("roi", "capital", "cost", "harm", "griefing")}


@dataclass(frozen=True, kw_only=True)
class FlashStake(Study):
    """Somebody borrows enough stake to win a vote, and gives it back.

    Where a vote counts what is held at one block (`snapshot`), a loan of that block is enough: Beanstalk lost 182
    million dollars in 2022 to 67% of the votes, held for 13 seconds. On davy's ledger stake counts as the least that
    was held over a whole epoch, so what was borrowed for a block counts nothing; whoever borrows for an epoch pays its
    interest, and that of the unbonding after it. Before that epoch ends everybody can see the stake. The vote is
    modelled, since davy has none; the stake that counts is the ledger's own.

    Attributes
    ----------
    rule
        `snapshot`: what is held in the block of the count. `least-held`: the ledger's.
    plan
        `flash`: borrow in the block of the count and give back in it. `epoch`: from the end of the epoch before.
    needed
        Part of the votes cast that wins.
    turnout, spread
        Part of all other stake that votes, against: mean, and σ.
    stake
        Tokens of all other stake.
    fee
        Of the loan, for one within a block.
    interest
        A year, for a longer one.
    worth
        Tokens that the vote gives the attackers, and takes from the others.
    tempo, block_ms
        Blocks an epoch; milliseconds a block.
    """

    rule: Literal["snapshot", "least-held"] = "least-held"
    plan: Literal["flash", "epoch"] = "flash"
    needed: float = 0.5
    turnout: float = 0.3
    spread: float = 0.1
    stake: float = 1_000_000.0
    fee: float = 0.0009
    interest: float = 0.1
    worth: float = 10_000.0
    tempo: int = 360
    block_ms: int = 12_000

    kind: str = field(default="flash-stake", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = (*MONEY, "passed", "counted", "borrowed", "held", "seen", "against")
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = {
        **_MONEY,
        "passed": ("probability", "the vote is won"),
        "counted": ("of the votes cast", "the attackers' stake that counted"),
        "borrowed": ("of all other stake", "the loan"),
        "held": ("blocks", "for which the loan was needed, unbonding included"),
        "noticed": ("blocks", "before the count, in which everybody could see the stake; NaN: none"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        within("needed", self.needed, 0.01, 0.95)
        within("turnout", self.turnout, 0.01, 1)
        within("spread", self.spread, 0, 0.5)
        within("stake", self.stake, 1, 2e6)
        within("tempo", self.tempo, 2, 100_000)
        within("block_ms", self.block_ms, 1, 600_000)
        for name in ("fee", "interest", "worth"):
            within(name, getattr(self, name), 0, 1e6)

    def play(self, runs: range) -> Int64:
        told = np.zeros((2, len(runs), 1, len(self.columns)), dtype=np.int64)
        for i, run in enumerate(runs):
            told[1, i, 0] = self._vote(Stream(self.seed, run, Purpose.PRICES))
        return told

    def _vote(self, s: Stream) -> tuple[int, ...]:
        turnout = min(1.0, max(0.01, self.turnout + self.spread * math.log(s.of(lognormal(UNIT, 1.0)) / UNIT)))
        against = base_units(self.stake * turnout)
        # Whoever borrows does not know the turnout: enough for two deviations above its mean.
        likely = base_units(self.stake * min(1.0, self.turnout + 2 * self.spread))
        loan = round(likely * self.needed / (1 - self.needed)) + 1
        counted, held, seen = self._counted(loan)
        passed = counted > (counted + against) * self.needed
        worth = base_units(self.worth) if passed else 0
        spent = round(loan * (self.fee if held <= 1 else self.interest * held * self.block_ms / _YEAR_MS))
        share = counted * UNIT // (counted + against)
        return (worth, 0, spent, spent, worth, seen > 0, int(passed), share, loan, held, seen, against)

    def _counted(self, loan: int) -> tuple[int, int, int]:
        """Stake that counts at the end of the epoch, blocks that the loan lasts, and blocks in which it is seen."""
        holding = Holding([0], tempo=self.tempo)
        if self.plan == "epoch":
            holding.add(0, loan)
            holding.end_epoch()
            return holding.end_epoch()[0], self.tempo + _CHAIN.unbonding, self.tempo
        holding.add(0, loan)
        now = holding.held(0)
        if self.rule == "snapshot":
            return now, 1, 0
        return holding.end_epoch()[0], 1, 0

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        found = super().measure(arrays)
        one = {name: arrays[f"attack.{name}"][:, 0].astype(np.float64) for name in self.columns}
        return {
            **{name: found[name] for name in _MONEY},
            "passed": one["passed"],
            "counted": one["counted"] / UNIT,
            "borrowed": one["borrowed"] / base_units(self.stake),
            "held": one["held"],
            "noticed": np.where(one["seen"] > 0, one["seen"], np.nan),
        }


@dataclass(frozen=True, kw_only=True)
class VoteBuying(Study):
    """Somebody buys votes from their holders, each of whom thinks that its own does not matter.

    A bad outcome costs every holder `damage` of its stake. A holder sells where the offer is above what its own vote
    changes of that: the damage times the probability that it decides, which is small for all but the largest. So a
    majority is bought for far less than the damage, the cheaper the more evenly stake is spread; and where the
    payment is due only if the vote is lost (P+ε: Buterin 2015, George and Lesaege 2021), it costs nothing at all if it
    works. Dark DAOs (Daian et al. 2018) make the purchase unseen. Stakes are Pareto with exponent `tail`, as heavy as
    2507.02951 finds them. A model throughout, since davy has no votes.

    Attributes
    ----------
    voters
        Holders.
    tail
        Exponent of the Pareto distribution of their stakes.
    stake
        Tokens of all of them.
    loyal
        Probability that a holder sells at no price.
    turnout
        Probability that a holder who did not sell votes, against.
    damage
        Of each stake, what the outcome costs; of all stake together it is what the briber gains.
    doubt
        A holder believes that the others' votes are split evenly, to within this part of all stake: the narrower, the
        more its own seems to decide.
    effort
        Tokens that a sale costs its holder, whatever its stake.
    sure
        Whether the payment is due in any case; else only to sellers of a lost vote, with `effort` on top (P+ε).
    """

    voters: int = 500
    tail: float = 1.2
    stake: float = 1_000_000.0
    loyal: float = 0.1
    turnout: float = 0.3
    damage: float = 0.1
    doubt: float = 0.2
    effort: float = 1.0
    sure: bool = True

    kind: str = field(default="vote-buying", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = (*MONEY, "passed", "sellers", "bought", "largest")
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = {
        **_MONEY,
        "passed": ("probability", "the vote is won"),
        "price": ("of the damage", "paid / what the outcome costs all holders"),
        "sellers": ("of holders", "who sold"),
        "bought": ("of all stake", "whose votes were sold"),
        "largest": ("of all stake", "that one holder has"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        within("voters", self.voters, 2, 100_000)
        within("tail", self.tail, 0.5, 20)
        within("stake", self.stake, 1, 2.1e7)
        for name in ("loyal", "turnout", "damage"):
            within(name, getattr(self, name), 0, 1)
        within("doubt", self.doubt, 0.001, 1)
        within("effort", self.effort, 0, 1e6)

    def play(self, runs: range) -> Int64:
        told = np.zeros((2, len(runs), 1, len(self.columns)), dtype=np.int64)
        for i, run in enumerate(runs):
            told[1, i, 0] = self._vote(Stream(self.seed, run, Purpose.PRICES))
        return told

    def stakes(self, s: Stream) -> list[int]:
        """Base units of each holder."""
        drawn = [math.exp(-math.log((s.below(LEVELS) + 0.5) / LEVELS) / self.tail) for _ in range(self.voters)]
        unit = base_units(self.stake) / sum(drawn)
        return [round(x * unit) for x in drawn]

    def asks(self, stake: int, whole: int) -> int:
        """The least for which a holder sells: its damage · the probability that its vote decides, and the effort."""
        decides = min(1.0, stake / (self.doubt * whole))
        return round(self.damage * stake * decides) + base_units(self.effort)

    def _vote(self, s: Stream) -> tuple[int, ...]:
        stakes = self.stakes(s)
        whole = sum(stakes)
        loyal = [s.chance(self.loyal) for _ in stakes]
        votes = [s.chance(self.turnout) for _ in stakes]
        offers = sorted((self.asks(x, whole) / max(x, 1), n) for n, x in enumerate(stakes) if not loyal[n])
        against = sum(x for n, x in enumerate(stakes) if votes[n])
        bought = paid = sellers = 0
        for _, n in offers:  # the cheapest a token first, until more is bought than votes against
            if bought > against:
                break
            bought, paid, sellers = bought + stakes[n], paid + self.asks(stakes[n], whole), sellers + 1
            against -= stakes[n] if votes[n] else 0
        passed = bought > against
        gain = round(self.damage * whole) if passed else 0
        due = paid if self.sure or not passed else 0
        return (gain, 0, due, paid, gain, 0, int(passed), sellers, bought, max(stakes))

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        found = super().measure(arrays)
        one = {name: arrays[f"attack.{name}"][:, 0].astype(np.float64) for name in self.columns}
        whole = base_units(self.stake)
        return {
            **{name: found[name] for name in _MONEY},
            "passed": one["passed"],
            "price": one["spent"] / max(self.damage * whole, 1.0),
            "sellers": one["sellers"] / self.voters,
            "bought": one["bought"] / whole,
            "largest": one["largest"] / whole,
        }
