"""Who is asked about, and whether a target covers it.

A model is reached by its id, by the digest of any of its weight files, and by its registrant; and while it is halted,
so are its declared descendants and all that its registrant registers or serves. One changed byte does not end a halt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from davy.protocol.manifest import ModelClass
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    Halt,
    Miner,
    Models,
    OrderId,
    Raise,
    Subnet,
    Target,
    VerifiedOrder,
)
from davy.protocol.words import Coldkey, Digest, Hotkey, ModelId, Netuid


class ModelFacts(NamedTuple):
    """What a target can know a model by. A registrant without a model has an empty `id`."""

    id: ModelId
    files: frozenset[Digest]
    registrant: Coldkey


class Subject(NamedTuple):
    """What somebody wants to do something with; what it does not concern is left out.

    `Subject()` is the network itself, ``Subject(netuid=1)`` an epoch of subnet 1.
    """

    netuid: Netuid | None = None
    hotkey: Hotkey | None = None
    model: ModelFacts | None = None
    ancestors: tuple[ModelFacts, ...] = ()
    """Declared ones, and theirs."""
    siblings: tuple[ModelFacts, ...] = ()
    """The other models of the same registrant."""
    model_class: ModelClass = ModelClass.ORDINARY
    """The higher of what its subnet sets and its registrant chose."""

    @property
    def lineage(self) -> tuple[ModelFacts, ...]:
        """The model and what it descends from."""
        return self.ancestors if self.model is None else (self.model, *self.ancestors)


def covers(target: Target, x: Subject) -> bool:
    """Whether a HALT of `target` stops `x`."""
    match target:
        case Global():
            return True
        case Subnet(netuid=netuid):
            return x.netuid == netuid
        case Miner(hotkey=hotkey):
            return x.hotkey == hotkey
        case Models():
            return any(names(target, m) for m in (*x.lineage, *x.siblings))


def target_of(v: VerifiedOrder, orders: Mapping[OrderId, VerifiedOrder]) -> Target | None:
    """What an order stops, or a drill rehearses to stop: of an EXTEND what its HALT does, if that is among `orders`."""
    match v.order.action:
        case Halt(target=target) | Drill(target=target):
            return target
        case Raise(models=models):
            return models
        case Extend(halt=halt) if halt in orders and halt != v.id:
            return target_of(orders[halt], orders)
        case _:
            return None


def names(models: Models, m: ModelFacts) -> bool:
    """Whether a target names a model by id, by a file or by its registrant."""
    return m.id in models.ids or m.registrant in models.registrants or not m.files.isdisjoint(models.files)
