"""Who plays what. Roles are dealt to homes and ports by the seed, so that no claim rests on who came first."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final, NamedTuple


class Role(StrEnum):
    """What a miner of the demo does."""

    FIRST_GOOD = "good A"
    SECOND_GOOD = "good B"
    WEAK = "weak"
    CONSTANT = "constant"
    LOOKUP = "lookup"
    RELAY = "relay"
    LIAR = "liar"
    SELECTIVE = "selective"


GOOD: Final = (Role.FIRST_GOOD, Role.SECOND_GOOD)
CHEATS: Final = (Role.CONSTANT, Role.LOOKUP, Role.RELAY, Role.LIAR)
STORY: Final = {
    Role.FIRST_GOOD: "runs what it says; in mid-run its checkpoint is swapped for the other good one",
    Role.SECOND_GOOD: "likewise, with the other checkpoint",
    Role.WEAK: "runs a weak checkpoint and says so",
    Role.CONSTANT: "gives every prompt the same answer",
    Role.LOOKUP: "searches all public text for the prompt's end",
    Role.RELAY: "asks a good miner in time and passes its answer on",
    Role.LIAR: "claims the good model and runs an int8 copy of it",
    Role.SELECTIVE: "runs a good checkpoint for validators, a weak one for everybody else",
}


class Miner(NamedTuple):
    """A miner of the demo: its name is its home's and its log's."""

    name: str
    role: Role


class Validator(NamedTuple):
    """A validator of the demo."""

    name: str
    copies: bool


class Cast(NamedTuple):
    """Everybody, in the order in which they register."""

    miners: tuple[Miner, ...]
    validators: tuple[Validator, ...]

    def of(self, role: Role) -> Miner:
        return next(m for m in self.miners if m.role is role)


def deal(seed: int) -> Cast:
    """Deal the roles: which miner, and which of three validators, does what."""
    rng = random.Random(seed)
    roles = list(Role)
    rng.shuffle(roles)
    copier = rng.randrange(3)
    return Cast(
        tuple(Miner(f"miner-{i}", role) for i, role in enumerate(roles)),
        tuple(Validator(f"validator-{i}", i == copier) for i in range(3)),
    )
