"""A scenario of each attack, by name, with parameters that make its story visible."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

import davy
from davy.protocol.errors import Misconfigured
from davy.sims.attack import Attack
from davy.sims.attacks.answers import Relaying, Sybils
from davy.sims.attacks.cartel import Cartel, SelfDealing
from davy.sims.attacks.copying import FrontRunningReveals, WeightCopying
from davy.sims.attacks.griefing import CommitWithoutReveal, UnderWeighing
from davy.sims.attacks.halting import FalseHalts, RefusingToLift, SilenceUnderLeases
from davy.sims.attacks.lazy import LazyConstant, LazyRandom, SharedNoise
from davy.sims.attacks.moving import ChildKeyShuffling, StakeGrinding
from davy.sims.attacks.presence import Caching, Timing
from davy.sims.attacks.two_faced import SelectiveQuality
from davy.sims.beyond.bribery import PlusEpsilon
from davy.sims.beyond.registration import Registrations
from davy.sims.beyond.roster import KeyholderBribery
from davy.sims.beyond.spreading import TimeToStop
from davy.sims.beyond.votes import FlashStake, VoteBuying
from davy.sims.design import Study
from davy.sims.experiment import REVISION, Scenario
from davy.sims.kinds import Experiment
from davy.sims.market import Market

_ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(),
    Cartel(),
    SelfDealing(),
    WeightCopying(),
    FrontRunningReveals(),
    LazyConstant(),
    LazyRandom(),
    SharedNoise(),
    UnderWeighing(),
    CommitWithoutReveal(),
    StakeGrinding(),
    ChildKeyShuffling(),
    Sybils(),
    Relaying(),
    SelectiveQuality(),
    Caching(),
    Timing(),
    FalseHalts(),
    RefusingToLift(),
    SilenceUnderLeases(),
)
_STUDIES: Final[tuple[Study, ...]] = (
    TimeToStop(),
    Registrations(),
    KeyholderBribery(),
    VoteBuying(),
    FlashStake(),
    PlusEpsilon(),
)
_MARKETS: Final[Mapping[str, Market]] = MappingProxyType({"weight-copying": Market(concealment=0)})


def scenarios() -> dict[str, Scenario]:
    """All of them, by name."""
    return {a.kind: Scenario(attack=a, market=_MARKETS.get(a.kind, Market())) for a in _ATTACKS}


def scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises
    ------
    Misconfigured
        There is none; the message lists those there are.
    """
    known = scenarios()
    if name not in known:
        raise Misconfigured(f"there is no scenario '{name[:64]}'; there is {', '.join(known)}")
    return known[name]


def studies() -> dict[str, Study]:
    """All studies, by name."""
    return {s.kind: s for s in _STUDIES}


def study(name: str) -> Study:
    """The study of that name.

    Raises
    ------
    Misconfigured
        There is none; the message lists those there are.
    """
    known = studies()
    if name not in known:
        raise Misconfigured(f"there is no study '{name[:64]}'; there is {', '.join(known)}")
    return known[name]


def experiments() -> dict[str, Experiment]:
    """All scenarios and studies, by name."""
    return {**scenarios(), **studies()}


def experiment(name: str) -> Experiment:
    """The scenario or the study of that name.

    Raises
    ------
    Misconfigured
        There is none; the message lists those there are.
    """
    known = experiments()
    if name not in known:
        raise Misconfigured(f"there is no scenario '{name[:64]}'; there is {', '.join(known)}")
    return known[name]


def check_kind(s: Experiment) -> None:
    """Check that results of a scenario or study may be kept by its kind.

    Raises
    ------
    Misconfigured
        Its class is not the catalogue's, and its kind is.
    """
    own, kind = (type(s), s.kind) if isinstance(s, Study) else (type(s.attack), s.attack.kind)
    known = experiments().get(kind)
    if known is not None and own is not type(known if isinstance(known, Study) else known.attack):
        raise Misconfigured(f"{own.__name__} has the kind of another, '{kind}': give it one of its own")


def read_experiment(written: bytes) -> Experiment:
    """A scenario or a study from its parameters as JSON.

    Raises
    ------
    Misconfigured
        They are those of none, or another davy wrote them: its runs might not be continued bit for bit.
    """
    try:
        told = msgspec.json.decode(written, type=dict[str, Any])
        version, revision, kind = told.pop("davy"), told.pop("revision"), told.pop("attack.kind")
    except (msgspec.DecodeError, KeyError) as e:
        raise Misconfigured(f"these are no parameters of a scenario ({str(e)[:80]}); remove the folder") from None
    if (version, revision) != (davy.__version__, REVISION):
        raise Misconfigured(f"davy {version}, revision {revision} made this; read it with that version, or run it anew")
    if kind not in experiments():
        raise Misconfigured(f"'{str(kind)[:64]}' is of no catalogue: `run` reads its folder, given its class")
    return experiment(str(kind)).having(told)
