"""One attack under several mechanisms: what the attackers are paid against honest pay, and how well miners are ranked.

The same runs, seats and draws under each mechanism, so what differs is the mechanism's doing. Attackers were honest
until the attack begins, and what a mechanism looks back on says so for a while: *settled* is the second half of the
counted epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from davy.incentive.fixed_point import Int64
from davy.incentive.mechanism import EpochResult
from davy.sims.experiment import Scenario
from davy.sims.metrics import Float
from davy.sims.paying import Paid
from davy.sims.play import COLUMNS, Play

COMPARED: Final = ("yuma3", "correlated", "audited")

MEASURES: Final = {
    "validators": "the attackers' dividends / their honest ones",
    "validators_settled": "the same, over the second half of the epochs",
    "attackers": "all that the attackers are paid / their honest pay",
    "attackers_settled": "the same, over the second half of the epochs",
    "tau": "Kendall's tau of miners' incentive and their quality under attack, mean over epochs",
    "tau_honest": "the same with the attackers honest",
    "tau_gain": "tau less that of the first mechanism compared, run by run",
    "unevenness": "standard deviation of honest validators' dividends a unit of stake, of their mean; all epochs",
}
"""Name → definition; each is a number a run."""


def kendall(a: Int64, b: Int64) -> Float:
    """Kendall's tau-b of the last axes, [..., M] and [..., M] to [...]: ties count neither way; 0 without any."""
    first, second = np.triu_indices(a.shape[-1], 1)
    x, y = (np.sign(v[..., first] - v[..., second]) for v in (a, b))
    untied: Float = np.sqrt((x != 0).sum(axis=-1) * (y != 0).sum(axis=-1).astype(np.float64))
    found: Float = (x * y).sum(axis=-1) / np.maximum(untied, 1)
    return found


class _Ranked(Play):
    """A chunk of runs that also remembers taus and what honest validators got, epoch by epoch."""

    def __init__(self, s: Scenario, runs: range) -> None:
        super().__init__(s, runs)
        self.taus: list[Float] = []
        self.rates: list[Float] = []

    def told(self, paid: Paid, result: EpochResult, used: Int64, since: int) -> Int64:
        self.taus.append(kendall(result.incentive, used))
        rows = self.s.seats.honest_rows
        self.rates.append(paid.dividends[..., rows] / np.maximum(self.stake[..., rows], 1))
        return super().told(paid, result, used, since)


@dataclass(frozen=True)
class Compared:
    """A scenario under one mechanism.

    Attributes
    ----------
    scenario
        As it was played.
    measures
        Each of `MEASURES`, [runs]; NaN where the attackers have no validators, or no honest pay.
    """

    scenario: Scenario
    measures: dict[str, Float]

    def row(self) -> dict[str, Any]:
        """The name, the mechanism, and of each measure the mean over runs and its standard error."""
        told: dict[str, Any] = {"attack": self.scenario.attack.kind, "mechanism": self.scenario.mechanism}
        for name, values in self.measures.items():
            told[name] = float(values.mean())
            told[f"{name}_error"] = (
                float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
            )
        return told


def measured(s: Scenario) -> Compared:
    """Play a scenario under its own mechanism, all runs at once and without the watch."""
    p = _Ranked(s, range(s.runs))
    told = [p.epoch(t) for t in range(s.start + s.epochs)]
    numbers = np.stack([each for each in told if each is not None], axis=2)
    pay, miners = (numbers[..., COLUMNS.index(name)] for name in ("attack_validators", "attack_miners"))
    half = s.epochs // 2
    taus = np.stack(p.taus).mean(axis=0)
    rates = np.stack(p.rates).mean(axis=0)[1]  # [runs, honest rows]
    return Compared(
        s,
        {
            "validators": _ratio(pay),
            "validators_settled": _ratio(pay[..., half:]),
            "attackers": _ratio(pay + miners),
            "attackers_settled": _ratio((pay + miners)[..., half:]),
            "tau": taus[1],
            "tau_honest": taus[0],
            "unevenness": rates.std(axis=-1) / rates.mean(axis=-1),
        },
    )


def _ratio(pay: Int64) -> Float:
    """Of the attacked arm to the honest one, [2, runs, epochs] to [runs]."""
    sums: Float = pay.sum(axis=-1).astype(np.float64)
    honest, attacked = sums[0], sums[1]
    return np.where(honest > 0, attacked / np.maximum(honest, 1), np.nan)


def compare(s: Scenario, mechanisms: Sequence[str] = COMPARED) -> list[Compared]:
    """Play a scenario under each mechanism, with the same draws.

    Raises
    ------
    Misconfigured
        There is no such mechanism.
    """
    found = [measured(s.having({"mechanism": name})) for name in mechanisms]
    first = found[0].measures["tau"]
    for each in found:
        each.measures["tau_gain"] = each.measures["tau"] - first
    return found


def table(found: Sequence[Compared]) -> pl.DataFrame:
    """A row a scenario and mechanism: `Compared.row` with every parameter."""
    return pl.DataFrame([each.row() | each.scenario.parameters() for each in found])


def page(found: Sequence[Compared]) -> str:
    """The table of docs/peer-prediction.md, in Markdown: a line for each scenario, of what `compare` found for each.

    *Pay* is the validators' among the attackers; where there are none, all that the attackers are paid. τ is that under
    the first mechanism, settled pay and what is gained of τ are those under the last one.
    """
    names = list(dict.fromkeys(each.scenario.mechanism for each in found))
    first, last = names[0], names[-1]
    head = ["attack", *(f"{name}: pay" for name in names), f"{last}: settled", f"{first}: τ", f"{last}: τ gained"]
    lines = [head, ["---"] * len(head)]
    for at in range(0, len(found), len(names)):
        told = [each.row() for each in found[at : at + len(names)]]
        whose = "validators" if told[0]["validators"] == told[0]["validators"] else "attackers"
        wanted = [(row, whose) for row in told]
        wanted += [(told[-1], f"{whose}_settled"), (told[0], "tau"), (told[-1], "tau_gain")]
        numbers = [f"{row[measure]:.3f} ±{row[f'{measure}_error']:.3f}" for row, measure in wanted]
        lines.append([f"`{told[0]['attack']}`", *numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
