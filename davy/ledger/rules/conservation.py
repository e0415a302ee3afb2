"""issued = balances + stakes + unbonding + escrows + deposits + pending + burned: the witness of every part of a block.

No rule keeps these sums. They follow from the records: what a part of a block wrote, minus what stood there before,
must leave issued − everything held at zero. A part that breaks this is rolled back like one that raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import astuple

from davy.ledger.rules.records import (
    ISSUANCE,
    AccountRecord,
    ProducerRecord,
    RegisteredModel,
    RunningRecord,
    StakeRecord,
    SupplyRecord,
)
from davy.ledger.rules.state import State
from davy.protocol.chain import Budget, Issuance
from davy.protocol.encoding import Wire


class NotConserved(Exception):
    """A part of a block made or lost base units: a bug in a rule, never a sender's fault."""


Held = tuple[tuple[str, str], ...]

HELD: Final = MappingProxyType[type[Wire | None], Held](
    {
        AccountRecord: (("balances", "free"), ("unbonding", "unbonding")),
        StakeRecord: (("stakes", "amount"),),
        RegisteredModel: (("deposits", "bond"),),
        ProducerRecord: (("deposits", "bond"),),
        Budget: (("escrows", "deposit"),),
        RunningRecord: (("pending", "pending"),),
        SupplyRecord: (("issued", "issued"), ("burned", "burned"), ("unminted", "unminted")),
    }
)
"""Which fields of which records are base units, and the name of the place they are in."""


_COUNTS: Final = MappingProxyType({"issued": -1, "unminted": 0})
_FIELDS: Final[Mapping[type[Wire | None], Held]] = dict(HELD)  # asked for each record that a block writes
_SIGNED: Final[Mapping[type[Wire | None], tuple[tuple[str, int], ...]]] = {
    kind: tuple((field, _COUNTS.get(place, 1)) for place, field in held) for kind, held in HELD.items()
}


def places(records: Iterable[Wire | None]) -> dict[str, int]:
    """Sum what records hold, by place; names are `Issuance`'s."""
    sums = dict.fromkeys(Issuance.__struct_fields__, 0)
    for record in records:
        for place, field in _FIELDS.get(type(record), ()):
            sums[place] += getattr(record, field)
    return sums


def conserved(s: State, mark: int) -> None:
    """Check that what was written since `mark` neither made nor lost base units.

    Raises
    ------
    NotConserved
    """
    difference = 0
    for key, before in s.touched(mark).items():
        difference += _held(s.records.get(key)) - _held(before)
    if difference:
        raise NotConserved(f"issued and held differ by {difference} base units")


def issuance(s: State, height: int) -> Issuance:
    """Where every issued unit is after this block, from where it was before and what the block wrote."""
    before = s.need(ISSUANCE, b"", "the chain has no issuance")
    touched = s.touched(0)
    old, new = places(touched.values()), places(s.records.get(key) for key in touched)
    sums = dict(zip(Issuance.__struct_fields__, astuple(before), strict=True))
    moved = {place: sums[place] + new[place] - old[place] for place in sums}
    return Issuance(**{**moved, "height": height})


def _held(record: Wire | None) -> int:
    """What a record holds; what it says was issued counts against it, what was not minted is nowhere."""
    held = 0
    for field, sign in _SIGNED.get(type(record), ()):
        held += sign * getattr(record, field)
    return held
