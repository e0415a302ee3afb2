"""From which height on which rules hold: nodes that differ in it are on two chains, so it stands in the code.

Rules are numbered in editions. A new chain begins with the newest. A chain that began under an older one goes on under
it until the height that `CHAINS` names for it; so its old blocks give the hashes they gave, whatever has come since.

===  ==================================================================================================================
1    what there was at first
2    child keys, models that retire, hotkeys and coldkeys that are replaced, budgets
3    producers that join, leave, and are convicted
4    silent producers lose their seat; a roster is replaced when its INSTALL is recorded, not from when that was signed
5    the state tells all changes of the producers; what a registrant made systemic keeps no UID; keys of coldkeys that
     are replaced, and of subnets' owners, stay apart; three votes tell the middle time, not the earliest
6    a subnet grows no larger than an epoch can bear with the permits of before one that failed; LEASEs fill no brake
7    who may ask for a model; places for votes; what a `serve` looks up counts as work
8    what made blocks long for little counts as work; what filled the state for nothing, and what took others' places,
     has a price; a child leaves its parent
===  ==================================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from davy.protocol.transaction import (
    AnnounceColdkeySwap,
    CloseBudget,
    ConvictDoubleSpend,
    Execute,
    ExecuteColdkeySwap,
    OpenBudget,
    Propose,
    RegisterProducer,
    RetireModel,
    RetireProducer,
    RotateHotkey,
    SetAccess,
    SetChildren,
    Vote,
)
from davy.protocol.words import ChainId

NEWEST: Final = 8
PRODUCERS_SINCE: Final = 3
"""The edition from which on the engine's evidence counts."""
REPLACED_WHEN_RECORDED: Final = 4
"""The edition from which on a roster's time ends with the block of the INSTALL after it."""
ABSENCES_SINCE: Final = 4
"""The edition from which on it counts who is missing in commits, and evidence expires before a bond comes back."""
CHANGES_TOLD_SINCE: Final = 5
"""The edition from which on the state tells which changes of the producers there were (`producers.note_change`)."""
MIDDLE_TIME_SINCE: Final = 5
"""The edition from whose chains on engines' votes count two each (`davy.ledger.commits.power`)."""
RAISED_ARE_PRUNED_SINCE: Final = 5
"""The edition from which on a UID is not kept by a model that its registrant made systemic after it was served."""
COLDKEYS_APART_SINCE: Final = 5
"""The edition from which on no key that owns a subnet, or is being followed itself, is taken for something else too."""
SKIPPED_COUNT_SINCE: Final = 6
"""The edition from which on permits from before a failed epoch count in what a subnet's owner may set."""
LEASES_APART_SINCE: Final = 6
"""The edition from which on LEASEs are bounded for themselves, and fill no brake."""

ACCESS_SINCE: Final = 7
"""The edition from which on a registrant says who may ask for a model, and proposals, votes and executions are read."""
SERVING_IS_WORK_SINCE: Final = 7
"""The edition from which on a `serve` spends work for the kin of the models that it names."""

ALL_WORK_COUNTS_SINCE: Final = 8
"""The edition from which on positions and kin count wherever they are looked at, and nobody spends others' work."""
PLACES_COST_SINCE: Final = 8
"""The edition from which on an account, a place in a queue and another's place cost something."""
CHILDREN_LEAVE_SINCE: Final = 8
"""The edition from which on a child's owner takes it from its parent, which needs its consent to lend to it again."""
SERVED_COUNTS_SINCE: Final = 8
"""The edition from which on a key that was replaced convicts of what the ledger said it served only."""
OWN_CLASS_SINCE: Final = 8
"""The edition from which on a model keeps no class that a registrant of before gave it."""
TAKES_HOLD_SINCE: Final = 8
"""The edition from which on a child's take is paid from its parent's."""

CHAINS: Final[Mapping[ChainId, tuple[int, ...]]] = MappingProxyType({})
"""Of chains that began under an older edition: the heights at which editions 1, 2, … begin; others never do."""

FROM_THE_START: Final = (0,) * NEWEST

SINCE: Final[Mapping[type, int]] = MappingProxyType(
    dict.fromkeys(
        (
            SetChildren,
            RetireModel,
            RotateHotkey,
            AnnounceColdkeySwap,
            ExecuteColdkeySwap,
            OpenBudget,
            CloseBudget,
            ConvictDoubleSpend,
        ),
        2,
    )
    | dict.fromkeys((RegisterProducer, RetireProducer), PRODUCERS_SINCE)
    | dict.fromkeys((SetAccess, Propose, Vote, Execute), ACCESS_SINCE)
)
"""The edition in which an action came; before it its bytes were no transaction at all."""


def edition(begins: tuple[int, ...], height: int) -> int:
    """The edition that a block of this height is made under."""
    return max(n for n, at in enumerate(begins, 1) if at <= height)


def begins(chain: ChainId) -> tuple[int, ...]:
    """The heights at which the editions begin on a chain."""
    return CHAINS.get(chain, FROM_THE_START)
