"""What it costs to own the keyholders, and what one owns then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final, Literal

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.limits import DAY_MS, HALT_TERM_MS, LEASE_TERM_MS
from davy.protocol.roster import check_thresholds
from davy.sims.brake import START, Brake
from davy.sims.design import MONEY, MONEY_METRICS, Float, Study
from davy.sims.market import base_units, within
from davy.sims.noise import Purpose, Stream, lognormal

GOALS: Final = ("halt", "lift", "veto-lift", "veto-halt")
_DAYS: Final = 90
_RENEWED: Final = LEASE_TERM_MS // DAY_MS // 2


@dataclass(frozen=True, kw_only=True)
class KeyholderBribery(Study):
    """Somebody bribes keyholders one after the other until there are enough for what it wants.

    Each keyholder has a price, lognormal around `price`, and with probability `honest` none at all. The briber does not
    know them: it asks in random order, offers `offer`, and whoever is not won may tell the others, with probability
    `reports`; then the roster is replaced and all that was paid is lost. It stops when it has enough for its goal: a
    HALT of its rivals, a LIFT of its own halted model, or a veto on either, for which n − t + 1 are enough. Shamir's
    threshold says how many have to collude and not what each costs; that collusion of signers leaves no trace and how
    to price it is ia.cr/2025/1582, and bribery of a quorum with a sure payoff is Buterin's P+ε (2015). What each goal
    gives is played out on the live brake: days of 90 on which the target runs or does not.

    Attributes
    ----------
    goal
        `halt`: stop a rival. `lift`: end a halt of one's own model. `veto-lift`: keep a rival stopped that was halted.
        `veto-halt`: not be halted oneself.
    keyholders, halt_threshold, lift_threshold
        Of the roster.
    systemic
        Class of the model it is about.
    price, spread
        Tokens that a keyholder asks: median, and σ of the logarithm.
    honest
        Probability that a keyholder takes no bribe.
    offer
        Tokens offered to each.
    reports
        Probability that a keyholder who was asked and not won tells.
    worth
        Tokens that a day of what it wants is worth to the briber, and that it costs the others.
    """

    goal: Literal["halt", "lift", "veto-lift", "veto-halt"] = "halt"
    keyholders: int = 5
    halt_threshold: int = 3
    lift_threshold: int = 4
    systemic: bool = False
    price: float = 100.0
    spread: float = 1.0
    honest: float = 0.3
    offer: float = 300.0
    reports: float = 0.5
    worth: float = 10.0

    kind: str = field(default="keyholder-bribery", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = (*MONEY, "captured", "reported", "asked", "days", "least")
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = {
        **{n: MONEY_METRICS[n] for n in ("roi", "capital", "cost", "harm", "griefing")},
        "captured": ("probability", "the goal is reached: enough are bribed, and nobody has told"),
        "reported": ("probability", "somebody tells before"),
        "asked": ("keyholders", "asked until it ends either way"),
        "days": ("of 90 days", "on which the briber has what it wants, by the live verdict"),
        "cheapest": ("tokens", "what the goal would cost if every price were known; inf where too few have one"),
        "needed": ("keyholders", "that have to be bribed"),
        "noticed": ("keyholders asked", "when somebody tells; NaN: nobody does"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_thresholds(self.halt_threshold, self.lift_threshold, self.keyholders)
        except Malformed as e:
            raise Misconfigured(str(e)) from None
        within("halt_threshold", self.halt_threshold, 2, 255)
        within("keyholders", self.keyholders, 2, 255)
        within("spread", self.spread, 0, 3)
        for name in ("honest", "reports"):
            within(name, getattr(self, name), 0, 1)
        for name in ("price", "offer", "worth"):
            within(name, getattr(self, name), 0, 1e6)

    @property
    def needed(self) -> int:
        """Keyholders that the goal takes."""
        n, halt, lift = self.keyholders, self.halt_threshold, self.lift_threshold
        return {"halt": halt, "lift": lift, "veto-lift": n - lift + 1, "veto-halt": n - halt + 1}[self.goal]

    def play(self, runs: range) -> Int64:
        told = np.zeros((2, len(runs), 1, len(self.columns)), dtype=np.int64)
        for i, run in enumerate(runs):
            told[1, i, 0] = self._bribed(Stream(self.seed, run, Purpose.PRICES))
        return told

    def _bribed(self, s: Stream) -> tuple[int, ...]:
        table = lognormal(base_units(self.price), self.spread)
        prices = [None if s.chance(self.honest) else s.of(table) for _ in range(self.keyholders)]
        offer, needed, spent, won, asked, told = base_units(self.offer), self.needed, 0, 0, 0, 0
        for price in s.sample(prices, self.keyholders):
            if won == needed or told:
                break
            asked += 1
            accepts = price is not None and price <= offer
            if accepts:
                won, spent = won + 1, spent + offer
            elif s.chance(self.reports):
                told = asked
        captured = won == needed and not told
        days = held(self) if captured else 0
        gained = days * base_units(self.worth)
        for_sale = sorted(p for p in prices if p is not None)
        least = sum(for_sale[:needed]) if len(for_sale) >= needed else -1
        return (gained, 0, spent, needed * offer, gained, told, captured, told > 0, asked, days, least)

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        found = super().measure(arrays)
        one = {name: arrays[f"attack.{name}"][:, 0].astype(np.float64) for name in self.columns}
        return {
            **{name: found[name] for name in ("roi", "capital", "cost", "harm", "griefing")},
            "captured": one["captured"],
            "reported": one["reported"],
            "asked": one["asked"],
            "days": one["days"],
            "cheapest": np.where(one["least"] < 0, np.inf, one["least"] / base_units(1)),
            "needed": np.full(len(one["days"]), float(self.needed)),
            "noticed": np.where(one["noticed"] > 0, one["noticed"], np.nan),
        }


def held(s: KeyholderBribery) -> int:
    """Days of 90 on which the briber has what it wants, on the live brake."""
    return _held(s.goal, s.keyholders, s.halt_threshold, s.lift_threshold, s.systemic)


@lru_cache(maxsize=256)
def _held(goal: str, keyholders: int, halt: int, lift: int, systemic: bool) -> int:
    """Play 90 days: what the bribed can sign they sign, and the others are too few for anything against it.

    For halt and veto-lift the target is a rival, and days count on which it is stopped: halted anew each week, or once
    by mistake. For lift and veto-halt it is the briber's own model, and days count on which it runs: halted once and
    lifted at once, or never halted. Leases are given by whoever holds the LIFT key: the briber under `lift`, else
    nobody after the first, since neither side is enough.
    """
    brake = Brake(keyholders, halt, lift, systemic=systemic)
    own = goal in ("lift", "veto-halt")
    if systemic:
        brake.lease(START)
    days = 0
    for day in range(_DAYS):
        at = START + (day + 1) * DAY_MS
        if day == 0 and goal in ("lift", "veto-lift"):
            first = brake.halt(at - 2)
            if goal == "lift":
                brake.lift(at - 1, [first])
        if goal == "halt" and day % (HALT_TERM_MS // DAY_MS) == 0:
            brake.halt(at - 1)
        if goal == "lift" and systemic and day % _RENEWED == 0:
            brake.lease(at)
        days += brake.runs(at) == own
    return days
