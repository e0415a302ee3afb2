"""The seam of a study: what is played where no epoch's market is enough, such as a brake, a full subnet or a vote.

A study is a frozen dataclass with a story and flat parameters. Like a `Scenario` it is played twice under the same
draws, attacked and not, comes as integers with runs on axis 0, and goes through the same `run` and `sweep`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

import davy
from davy.incentive.fixed_point import Int64
from davy.protocol.errors import Misconfigured
from davy.protocol.words import TOKEN
from davy.sims.experiment import REVISION, as_field, digest_of
from davy.sims.market import within

Float = NDArray[np.float64]

MONEY: Final = ("pay", "others", "spent", "capital", "hurt", "noticed")
"""Columns of a study about money, base units an arm, run and step.

What the attackers are paid, and all others; spent, and put up (kept or burned) by the attackers; what those of the
others lost who got less than in the honest arm; and 1 from the step on in which anybody can see the attack.
"""
MONEY_METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "roi": ("of capital, over the attack", "(profit − honest profit) / capital"),
    "relative_pay": ("ratio", "attackers' pay / their honest pay"),
    "emission_share": ("of all pay", "attackers' pay / all pay"),
    "capital": ("tokens", "what the attack has to hold or to burn before it can begin"),
    "cost": ("tokens", "outlays beyond the honest ones + pay forgone; each not below 0"),
    "harm": ("tokens", "what the others lost who got less than in the honest arm, step by step"),
    "honest_loss": ("of what the others had", "(the others' honest pay − their pay) / their honest pay"),
    "griefing": ("tokens a token", "harm / (honest profit − profit); inf where the attack pays, 0 without harm"),
    "noticed": ("steps", "from the start until anybody can see the attack; NaN: never"),
}


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """Base of all studies; `play` is what each one writes.

    Attributes
    ----------
    runs, seed
        As of a `Scenario`: run r of a seed is the same whatever `runs` is.
    """

    runs: int = 32
    seed: int = 1

    kind: str = field(default="study", init=False, repr=False)

    columns: ClassVar[tuple[str, ...]] = MONEY
    """Names of the integers that `play` tells."""
    metrics: ClassVar[Mapping[str, tuple[str, str]]] = MONEY_METRICS
    """Name → unit and definition of what `measure` makes of them."""

    def __post_init__(self) -> None:
        within("runs", self.runs, 1, 1_000_000)
        within("seed", self.seed, 0, (1 << 63) - 1)

    @property
    def steps(self) -> int:
        """Steps of a run that are told."""
        return 1

    @property
    def at_once(self) -> int:
        """Runs that are best played together."""
        return 8

    @abstractmethod
    def play(self, runs: range) -> Int64:
        """Runs of the study, [2, runs, steps, columns]: the honest arm, then the attacked one."""

    def measure(self, arrays: Mapping[str, Int64]) -> dict[str, Float]:
        """Each of `metrics`, [runs], from `honest.NAME` and `attack.NAME`, [runs, steps]."""
        return money(arrays)

    def having(self, changes: Mapping[str, Any]) -> Self:
        """The study with other values of its fields; words are read as a command line has them.

        Raises
        ------
        Misconfigured
            There is no such field, or it cannot have that value.
        """
        return replace(self, **{name: as_field(self, name, value, name) for name, value in changes.items()})

    def parameters(self) -> dict[str, bool | int | float | str]:
        """Every parameter by its name, as `having` takes it; with the version and the revision of the simulation."""
        own = {name: value for name, value in asdict(self).items() if name != "kind"}
        return {"davy": davy.__version__, "revision": REVISION, "attack.kind": self.kind, **own}

    def digest(self) -> str:
        return digest_of(self.parameters())

    @property
    def story(self) -> str:
        """The attack in a paragraph, with its literature."""
        return " ".join((self.__doc__ or "").split("\n\n    Attributes")[0].split())


def money(arrays: Mapping[str, Int64]) -> dict[str, Float]:
    """Each of `MONEY_METRICS`, [runs], from the columns `MONEY` of both arms, [runs, steps]."""
    pay, honest_pay = (total(arrays, arm, "pay") for arm in ("attack", "honest"))
    others, honest_others = (total(arrays, arm, "others") for arm in ("attack", "honest"))
    outlays, honest_outlays = (total(arrays, arm, "spent") for arm in ("attack", "honest"))
    capital = arrays["attack.capital"].max(axis=1) / TOKEN
    gain = (pay - outlays) - (honest_pay - honest_outlays)
    harm = total(arrays, "attack", "hurt")
    noticed = arrays["attack.noticed"] > 0
    return {
        "roi": ratio(gain, capital),
        "relative_pay": ratio(pay, honest_pay),
        "emission_share": ratio(pay, pay + others),
        "capital": capital,
        "cost": np.maximum(outlays - honest_outlays, 0) + np.maximum(honest_pay - pay, 0),
        "harm": harm,
        "honest_loss": ratio(honest_others - others, honest_others),
        "griefing": np.where(harm <= 0, 0.0, np.where(gain >= 0, np.inf, ratio(harm, -gain))),
        "noticed": np.where(noticed.any(axis=1), noticed.argmax(axis=1) + 1.0, np.nan),
    }


def total(arrays: Mapping[str, Int64], arm: str, name: str) -> Float:
    """A column of base units as tokens over all steps, [runs]."""
    return arrays[f"{arm}.{name}"].sum(axis=1) / TOKEN


def ratio(a: Float, b: Float) -> Float:
    """The quotient; NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b != 0)


def chosen(name: str, value: str, among: tuple[str, ...]) -> None:
    """Check a word.

    Raises
    ------
    Misconfigured
        It is none of `among`.
    """
    if value not in among:
        raise Misconfigured(f"{name} is '{value[:64]}'; choose one of {', '.join(among)}")
