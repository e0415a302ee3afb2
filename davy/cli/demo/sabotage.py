"""What carries each claim, switched off one at a time: then the claim must fail, or it is carried by nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from davy.cli.demo.cast import Cast


class Cause(NamedTuple):
    """A cause that can be switched off, and the claim that rests on it."""

    claim: str
    """Name of the claim that must fail without it."""
    ledger: tuple[str, ...]
    """Words added to the ledger's command."""
    validators: tuple[str, ...]
    """Words added to the commands of the validators that examine."""


_SOURCES: Final = "davy.sims.adversaries.sabotage"

SABOTAGE: Final = {
    "constant-scorer": Cause("weak", (), ("--means", f"{_SOURCES}:constant_scorer")),
    "open-commits": Cause("weight copier", ("--subnet-default", "commit_reveal=0"), ()),
    "receipts-unchecked": Cause("receipts", (), ("--means", f"{_SOURCES}:receipts_unchecked")),
    "no-persistence": Cause("kill -9: a validator", (), ("--means", f"{_SOURCES}:no_persistence")),
    "no-identity": Cause("cheat: liar", (), ("--means", f"{_SOURCES}:no_identity")),
}


def changes_of(name: str | None, cast: Cast) -> Mapping[str, tuple[str, ...]]:
    """Words to add to each node's command, by its name."""
    if name is None:
        return {}
    cause = SABOTAGE[name]
    return {v.name: cause.validators for v in cast.validators if not v.copies} | {"ledger": cause.ledger}
