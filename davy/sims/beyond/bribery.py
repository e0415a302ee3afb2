"""P+ε: validators are promised that voting for the briber's miners never pays less than honesty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from davy.incentive.fixed_point import Int64
from davy.protocol.words import TOKEN
from davy.sims.attacks.cartel import Cartel
from davy.sims.design import MONEY, MONEY_METRICS, Float, Study
from davy.sims.experiment import Scenario
from davy.sims.market import Market, within
from davy.sims.noise import UNIT, UNIT_BITS, in_units
from davy.sims.play import COLUMNS, play


@dataclass(frozen=True, kw_only=True)
class PlusEpsilon(Study):
    """A briber with miners promises validators what refusing would pay them and ε more, if its attack fails.

    Whoever gives `favour` of its weight to the briber's miners gets from the briber, in each epoch in which that earned
    it less than those earn who refuse, the difference, and `epsilon` of what they earn on top. Both are public when the
    epoch is over. So to accept is never worse than to refuse and sometimes better, whatever the others do: refusing
    while others accept pays more than honesty among the honest, since clipping takes from those who accept. If enough
    accept, the attack succeeds and the promise costs nothing (Buterin 2015, the P+ε attack; George and Lesaege, CES
    2021, on Kleros). What it costs below that, as `bribed` of the stake accept, is what Yuma's clipping is for. The
    epochs are the live mechanism's; that everybody who is asked believes the promise, and that none of them alone turns
    the median, is assumed, and the deposit that makes it credible is the capital.

    Attributes
    ----------
    bribed
        Part of all stake whose holders accept.
    acceptors
        Validators that they are.
    miners, quality
        Of the briber.
    favour
        Part of each bribed row.
    epsilon
        Of what refusing pays.
    validators, uids, noise, epochs
        Of the market; everything else is as in a `Market`.
    """

    bribed: float = 0.4
    acceptors: int = 6
    miners: int = 8
    quality: float = 0.3
    favour: float = 0.9
    epsilon: float = 0.1
    validators: int = 16
    uids: int = 64
    noise: float = 0.2
    epochs: int = 40

    kind: str = field(default="plus-epsilon", init=False, repr=False)
    columns: ClassVar[tuple[str, ...]] = (*MONEY, "bribe", "acceptors", "refusing")
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = {
        **MONEY_METRICS,
        "relative_pay": ("ratio", "pay of the briber's miners / their honest pay"),
        "emission_share": ("of all pay", "pay of the briber's miners / all pay of miners and validators"),
        "capital": ("tokens", "the promise of an epoch in full, on deposit"),
        "harm": ("tokens", "lost by the honest who got less than in the honest arm, epoch by epoch"),
        "bribe": ("tokens", "paid to those who accepted"),
        "bribe_rate": ("of their honest pay", "the same"),
        "accepting": ("ratio", "pay and bribe of those who accepted / their honest pay"),
        "refusing": ("ratio", "what the same stake earns among those who refused / their honest pay"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        within("epsilon", self.epsilon, 0, 100)
        within("epochs", self.epochs, 1, 100_000)
        _ = self.scenario

    @property
    def scenario(self) -> Scenario:
        """The market in which the bribed are a cartel with the briber's miners."""
        cartel = Cartel(
            validators=self.acceptors, stake=self.bribed, miners=self.miners, quality=self.quality, favour=self.favour
        )
        market = Market(validators=self.validators, miners=self.uids, noise=self.noise)
        return Scenario(attack=cartel, market=market, epochs=self.epochs, seed=self.seed, watch=False)

    @property
    def steps(self) -> int:
        return self.epochs

    def play(self, runs: range) -> Int64:
        numbers = play(self.scenario, runs)
        of = {name: numbers[..., i] for i, name in enumerate(COLUMNS)}
        honest, accepted = of["attack_validators"]
        part = in_units(self.bribed)
        refused = of["honest_validators"][1] * part // (UNIT - part)
        promised = refused + (refused * in_units(self.epsilon) >> UNIT_BITS)
        bribe = np.where(accepted < refused, promised - accepted, 0)
        told = np.zeros((*numbers.shape[:-1], len(self.columns)), dtype=np.int64)
        told[..., 0] = of["attack_miners"]
        told[..., 1] = of["honest_validators"] + of["honest_miners"] + of["attack_validators"]
        told[1, ..., 1] += bribe
        told[1, ..., 2] = bribe
        told[1, ..., 3] = promised
        told[1, ..., 4] = of["hurt"][1]
        told[1, ..., 5] = 1  # a promise is of no use unless all are told
        told[1, ..., 6] = bribe
        told[0, ..., 7], told[1, ..., 7] = honest, accepted + bribe
        told[0, ..., 8], told[1, ..., 8] = honest, refused
        return told

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        paid, honest = (arrays[f"{arm}.acceptors"].sum(axis=1) for arm in ("attack", "honest"))
        bribe = arrays["attack.bribe"].sum(axis=1)
        return {
            **super().measure(arrays),
            "bribe": bribe / TOKEN,
            "bribe_rate": bribe / honest,
            "accepting": paid / honest,
            "refusing": arrays["attack.refusing"].sum(axis=1) / honest,
        }
