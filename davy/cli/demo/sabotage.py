"""What carries each claim, switched off one at a time: then the claim must fail, or it is carried by nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from davy.cli.demo.cast import Cast


class Cause(NamedTuple):
    """A cause that can be switched off, and the claim that rests on it."""

    claim: str
    """Name of the claim that must fail without it."""
    means: str = ""
    """What is changed in the validators that examine: a function of `davy.sims.adversaries.sabotage`."""
    sealed: str = ""
    """A hyperparameter of the subnet with commit–reveal."""


SABOTAGE: Final = {
    "constant-scorer": Cause("cheat: constant", means="constant_scorer"),
    "no-identity": Cause("cheat: liar", means="no_identity"),
    "no-persistence": Cause("kill -9: a validator", means="no_persistence"),
    "open-commits": Cause("weight copier", sealed="commit_reveal=0"),
}


def changes_of(cause: Cause | None, cast: Cast) -> Mapping[str, tuple[str, ...]]:
    """Words to add to each node's command, by its name."""
    if cause is None or not cause.means:
        return {}
    words = ("--means", f"davy.sims.adversaries.sabotage:{cause.means}")
    return {v.name: words for v in cast.validators if not v.copies}
