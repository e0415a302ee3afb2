"""Mechanisms, by the name a subnet chooses. A new one needs its own file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from davy.incentive.audited import Audited
from davy.incentive.correlated import Correlated
from davy.incentive.door import BadInput
from davy.incentive.mechanism import BondState, Mechanism
from davy.incentive.yuma2 import Yuma2
from davy.incentive.yuma3 import Yuma3

MECHANISMS: Mapping[str, Mechanism[BondState]] = MappingProxyType(
    {"yuma2": Yuma2(), "yuma3": Yuma3(), "correlated": Correlated(), "audited": Audited()}
)


def mechanism(name: str) -> Mechanism[BondState]:
    """The mechanism of that name.

    Raises
    ------
    BadInput
        There is none; the message lists those there are.
    """
    if name not in MECHANISMS:
        raise BadInput(f"there is no mechanism {name!r}: choose one of {', '.join(sorted(MECHANISMS))}")
    return MECHANISMS[name]
