"""What carries each claim, switched off one at a time: then the claim must fail, or it is carried by nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from davy.cli.demo.cast import Cast, Role

_PLACE: Final = "davy.sims.adversaries.sabotage"


class Cause(NamedTuple):
    """A cause that can be switched off, and the claim that rests on it."""

    claim: str
    """Name of the claim that must fail without it; empty where none may."""
    means: str = ""
    """What is changed in the validators that examine: a function of `davy.sims.adversaries.sabotage`."""
    sealed: str = ""
    """A hyperparameter of the subnet with commit–reveal."""
    guard: str = ""
    """What is changed in the brake of the good miner whose model is halted."""
    no_book: bool = False
    """Keyholders reach no node: the ledger is the only route left, and every claim must hold nevertheless."""


SABOTAGE: Final = {
    "constant-scorer": Cause("cheat: constant", means="constant_scorer"),
    "no-identity": Cause("cheat: liar", means="no_identity"),
    "no-persistence": Cause("kill -9: a validator", means="no_persistence"),
    "open-commits": Cause("weight copier", sealed="commit_reveal=0"),
    "no-organic": Cause("selective", means="no_organic"),
    "no-guard": Cause("stays halted: a restarted miner", guard="no_guard"),
    "no-book": Cause("", no_book=True),
}


def changes_of(cause: Cause | None, cast: Cast) -> Mapping[str, tuple[str, ...]]:
    """Words to add to each node's command, by its name."""
    if cause is None:
        return {}
    changes: dict[str, tuple[str, ...]] = {}
    if cause.means:
        words = ("--means", f"{_PLACE}:{cause.means}")
        changes |= {v.name: words for v in cast.validators if not v.copies}
    if cause.guard:
        changes[cast.of(Role.FIRST_GOOD).name] = ("--brake", f"{_PLACE}:{cause.guard}")
    return changes
