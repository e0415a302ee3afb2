"""What an attack earned, cost and hurt, a number a run.

Pay, outlays and harm are sums over all epochs of the attack. *Honest* means the same run, seats and draws with the
attackers honest; the difference is what the attack did, and nothing else. Profit is pay − outlays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from davy.incentive.fixed_point import Int64
from davy.protocol.words import TOKEN
from davy.sims.experiment import Scenario
from davy.sims.market import base_units

Float = NDArray[np.float64]

METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "roi": ("of capital, over the attack", "(profit − honest profit) / capital"),
    "relative_pay": ("ratio", "attackers' pay / their honest pay"),
    "relative_dividend": ("ratio", "attackers' dividends a token of their stake / the same of the other validators"),
    "emission_share": ("of what miners and validators get", "attackers' pay / all pay"),
    "honest_share": ("of what miners and validators get", "the same, had they been honest"),
    "capital": ("tokens", "stake that has to be held + registrations burned"),
    "cost": ("tokens", "outlays beyond the honest ones + pay forgone; each not below 0"),
    "harm": ("tokens", "what the others lost who got less than in the honest arm, epoch by epoch; no gain offsets it"),
    "honest_loss": ("of what the others had", "(the others' honest pay − their pay) / their honest pay"),
    "griefing": ("tokens a token", "harm / (honest profit − profit); inf where the attack pays, 0 without harm"),
    "quality_loss": ("of quality", "1 − quality that incentive went to / the same in the honest arm"),
    "noticed": ("epochs", "from the start to the first attacker that `watch`, or most validators, notice; NaN: never"),
    "alarms": ("of validators", "noticed in the honest arm by the end: all of them wrongly"),
}
"""Name → unit and definition."""


def metrics(s: Scenario, arrays: Mapping[str, Int64]) -> dict[str, Float]:
    """Each of `METRICS` [runs], from `Result.arrays`."""

    def total(arm: str, *names: str) -> Float:
        units = np.stack([arrays[f"{arm}.{name}"] for name in names]).sum(axis=(0, 2))
        return units / TOKEN

    pay, honest_pay = (total(arm, "attack_validators", "attack_miners") for arm in ("attack", "honest"))
    others, honest_others = (total(arm, "honest_validators", "honest_miners") for arm in ("attack", "honest"))
    outlays, honest_outlays = (total(arm, "spent", "invested") for arm in ("attack", "honest"))
    share = s.attack.stake if s.attack.validators else 0.0
    dividends, honest_dividends = (total("attack", f"{side}_validators") for side in ("attack", "honest"))
    capital = base_units(s.market.stake * share) / TOKEN + total("attack", "invested")
    gain = (pay - outlays) - (honest_pay - honest_outlays)
    harm = total("attack", "hurt")
    bought, honest_bought = (arrays[f"{arm}.bought"].sum(axis=1) for arm in ("attack", "honest"))
    noticed = arrays["attack.noticed"] > 0
    found: dict[str, Float] = {
        "roi": _ratio(gain, capital),
        "relative_pay": _ratio(pay, honest_pay),
        "relative_dividend": _ratio(dividends * (1 - share), honest_dividends * share),
        "emission_share": _ratio(pay, pay + others),
        "honest_share": _ratio(honest_pay, honest_pay + honest_others),
        "capital": capital,
        "cost": np.maximum(outlays - honest_outlays, 0) + np.maximum(honest_pay - pay, 0),
        "harm": harm,
        "honest_loss": _ratio(honest_others - others, honest_others),
        "griefing": np.where(harm <= 0, 0.0, np.where(gain >= 0, np.inf, _ratio(harm, -gain))),
        "quality_loss": 1 - _ratio(bought.astype(np.float64), honest_bought.astype(np.float64)),
        "noticed": np.where(noticed.any(axis=1), noticed.argmax(axis=1) + 1.0, np.nan),
        "alarms": arrays["honest.noticed"][:, -1] / s.market.validators,
    }
    return found


def _ratio(a: Float, b: Float) -> Float:
    """The quotient; NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b != 0)
