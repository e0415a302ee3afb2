"""A brake and its keyholders, to tell short stories: orders are given by the day, and time is said in days."""

from __future__ import annotations

import hashlib

from davy.killswitch.brake import BrakeState, first_state, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import ModelFacts, Subject
from davy.killswitch.verdict import Verdict, verdict
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import DAY_MS, chain_parameters
from davy.protocol.manifest import ModelClass
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Install,
    Lease,
    Lift,
    Lower,
    Miner,
    Models,
    OrderAction,
    OrderId,
    Raise,
    Subnet,
    Target,
    VerifiedOrder,
    open_order,
    order_id,
)
from davy.protocol.roster import Roster
from tests.twins.keyholders import Keyholders

START = 1_800_000_000_000
MINUTE = 1 / 1440
SAME = -9_999.0
"""In place of a block's day: the day of the own clock."""


def ms(day: float) -> int:
    return START + round(day * DAY_MS)


def name(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


def facts(word: str, registrant: str = "") -> ModelFacts:
    """A model with two files of its own."""
    return ModelFacts(name(word), frozenset({name(f"{word} 1"), name(f"{word} 2")}), name(registrant or f"{word}'s"))


def models(*words: str) -> Models:
    return Models(tuple(sorted(map(name, words))), (), ())


def subject(word: str = "model", **changes: object) -> Subject:
    """An ordinary model, served on subnet 1 by its miner."""
    return Subject(1, name(f"{word}'s miner"), facts(word))._replace(**changes)


def systemic(word: str = "model", **changes: object) -> Subject:
    return subject(word, model_class=ModelClass.SYSTEMIC, **changes)


TARGETS: dict[str, Target] = {
    "global": Global(),
    "subnet": Subnet(1),
    "miner": Miner(name("model's miner")),
    "model by id": models("model"),
    "model by file": Models((), (name("model 2"),), ()),
    "model by registrant": Models((), (), (name("model's"),)),
}
"""Each covers `subject()`."""


def genesis(first: tuple[Roster, ...], note: str = "brake") -> Genesis:
    return Genesis(1, note, START, chain_parameters(), (bytes(32),), (), (), first)


def order_of(raw: bytes) -> VerifiedOrder:
    signed, order = open_order(raw)
    return VerifiedOrder(order_id(signed.order), raw, order)


class Story:
    """One node's brake. What a method gives, it also takes in, unless `quietly`; it answers with the order's id."""

    def __init__(self) -> None:
        self.keyholders = Keyholders()
        self.genesis = genesis((self.keyholders.roster,))
        self.chain = chain_id(self.genesis)
        self.state: BrakeState = first_state(self.genesis)
        self.given: dict[OrderId, bytes] = {}

    def give(
        self, action: OrderAction, day: float, end: float | None = None, *, by: Keyholders | None = None,
        to: Keyholders | None = None, quietly: bool = False, recorded: bool = True,
    ) -> OrderId:  # fmt: skip
        by = by or self.keyholders
        raw = by.sign(by.order(self.chain, action, ms(day), 0 if end is None else ms(end)), to)
        i = order_of(raw).id
        self.given[i] = raw
        if not quietly:
            self.hear(i)
            if recorded:
                self.state = record(self.state, {i: ms(day)})
        return i

    def hear(self, *ids: OrderId) -> None:
        """Take orders in, all of which are good."""
        taken = take(self.state, [self.given[i] for i in ids])
        assert taken.refused == ()
        self.state = taken.state

    def halt(self, day: float, end: float, target: Target | None = None, **how: object) -> OrderId:
        return self.give(Halt(target or models("model"), GroupKey.HALT), day, end, **how)  # type: ignore[arg-type]

    def halt_beyond(self, day: float, end: float, target: Target | None = None, **how: object) -> OrderId:
        return self.give(Halt(target or models("model"), GroupKey.LIFT), day, end, **how)  # type: ignore[arg-type]

    def extend(self, day: float, halt: OrderId, previous: float, end: float, **how: object) -> OrderId:
        return self.give(Extend(halt, ms(previous)), day, end, **how)  # type: ignore[arg-type]

    def lift(self, day: float, *halts: OrderId, **how: object) -> OrderId:
        return self.give(Lift(tuple(sorted(halts))), day, **how)  # type: ignore[arg-type]

    def lease(self, day: float, end: float, *words: str, **how: object) -> OrderId:
        return self.give(Lease(tuple(sorted(map(name, words or ("model",))))), day, end, **how)  # type: ignore[arg-type]

    def drill(self, day: float, end: float, target: Target | None = None, **how: object) -> OrderId:
        return self.give(Drill(target or models("model")), day, end, **how)  # type: ignore[arg-type]

    def heartbeat(self, day: float, **how: object) -> OrderId:
        return self.give(Heartbeat(bytes(32)), day, **how)  # type: ignore[arg-type]

    def raise_class(self, day: float, *words: str, **how: object) -> OrderId:
        return self.give(Raise(models(*(words or ("model",)))), day, **how)  # type: ignore[arg-type]

    def lower(self, day: float, words: tuple[str, ...], raises: tuple[OrderId, ...] = (), **how: object) -> OrderId:
        action = Lower(tuple(sorted(map(name, words))), tuple(sorted(raises)))
        return self.give(action, day, **how)  # type: ignore[arg-type]

    def install(self, day: float, successor: Keyholders, *carried: OrderId, **how: object) -> OrderId:
        by = how.get("by", self.keyholders)
        assert isinstance(by, Keyholders)
        action = Install(successor.roster, by.digest, tuple(sorted(carried)))
        return self.give(action, day, to=successor, **how)  # type: ignore[arg-type]

    def at(
        self, day: float, block: float | None = SAME, heartbeat: float | None = None, x: Subject | None = None
    ) -> Verdict:
        """The verdict on a day; by block time too, unless another day, or None, is given for it."""
        seen = None if block is None else ms(day if block == SAME else block)
        beat = None if heartbeat is None else ms(heartbeat)
        return verdict(self.state, subject() if x is None else x, Clocks(ms(day), seen, beat))
