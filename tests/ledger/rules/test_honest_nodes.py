"""Invariant B3: no honest node can be convicted, under any schedule; and what an honest node must keep to for that.

The node of these histories learns blocks as late as it likes and restrictions from anywhere, its clock says anything,
and callers choose its anchors. Beside it a rogue, whose guard is patched out, signs the same requests. After every
answer each of their receipts is tried against each HALT there is.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.killswitch.brake import BrakeState, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Permitted, verdict
from davy.ledger.rules import convictions
from davy.ledger.rules.brake import brake_of
from davy.ledger.rules.convictions import convict_served_after_halt
from davy.ledger.rules.halts import served_subject
from davy.ledger.rules.records import ORDERS
from davy.protocol.encoding import encode
from davy.protocol.errors import TxFailed
from davy.protocol.limits import DAY_MS, chain_parameters
from davy.protocol.manifest import ModelClass
from davy.protocol.order import (
    Extend,
    Global,
    GroupKey,
    Halt,
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
)
from davy.protocol.transaction import BrakeOrder, ConvictServedAfterHalt, RaiseClass, RegisterModel
from davy.protocol.words import Moment
from tests.ledger.rules.stand import ONE, Stand
from tests.ledger.rules.world import World, genesis, manifest, pub
from tests.twins.keyholders import Keyholders

TARGETS = [
    Models((ONE,), (), ()), Miner(pub("cat-hot")), Miner(pub("rogue")), Global(), Subnet(1),
    Models((), (), (pub("cat"),)), Models((), (manifest("one").files[0].digest,), ()), Models((b"x" * 32,), (), ()),
]  # fmt: skip
HEARD = (Halt, Extend, Raise)
"""What a node acts on from anywhere."""
HOUR = 3_600_000
TERMS = (HOUR, DAY_MS, DAY_MS, 7 * DAY_MS)
SHIFTS = (0, 0, 0, 0, -DAY_MS, -6 * DAY_MS, DAY_MS)
PASSES = (250, 250, 250, 250, HOUR, 10 * HOUR, DAY_MS, 3 * DAY_MS)


class Seen:
    """A block as a node verifies it: its time, and all orders up to it."""

    def __init__(self, w: World, subject: Subject) -> None:
        self.height, self.time = w.machine.height, w.machine.time
        self.brake: BrakeState = brake_of(w.machine.state)
        self.subject = subject


class Schedule:
    """One history, drawn from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.w = Stand.__new__(Stand)
        World.__init__(self.w, genesis(p=chain_parameters(unbonding=1_000)))
        self.w.register("cat", "cat-hot", "rogue")
        self.w.ok("cat", RegisterModel(manifest("one"), (), ModelClass.ORDINARY))
        self.w.ok("cat-hot", self.w.serving("one"))
        self.keyholders = self.w.keyholders
        self.given: list[bytes] = []
        self.pending: list[bytes] = []
        self.heard: list[bytes] = []
        self.blocks: list[Seen] = []
        self.verified = 0
        self.lag = rng.choice((0, 0, 1, 3, 20))
        self.receipts: dict[str, list[int]] = {"cat-hot": [], "rogue": []}
        self.told: Counter[str] = Counter()
        self.advance([], 250)

    def advance(self, raws: list[bytes], passes: int) -> None:
        m = self.w.machine
        m.apply_block(m.height + 1, m.time + passes, raws)
        subject = served_subject(m.state, 1, pub("cat-hot"), pub("cat"), ONE, whole=True)
        self.blocks.append(Seen(self.w, subject))

    def ids(self, *kinds: type) -> list[OrderId]:
        """Orders of these kinds that are recorded."""
        orders = brake_of(self.w.machine.state).orders.items()
        return sorted(i for i, v in orders if isinstance(v.order.action, kinds))

    def give(self, action: OrderAction, term: int = 0, shift: int = 0) -> None:
        """An order is signed; it is recorded in the next block, or later, or when its time is over."""
        raw = self.w.order(action, term, issued=max(0, self.w.machine.time + shift), by=self.keyholders)
        self.given.append(raw)
        if self.rng.random() < 0.7:
            self.advance([encode(BrakeOrder(raw))], 250)
        else:
            self.pending.append(raw)

    # what happens

    def time_passes(self) -> None:
        raws = [raw for raw in self.pending if self.rng.random() < 0.3]
        self.pending = [raw for raw in self.pending if raw not in raws]
        self.advance([encode(BrakeOrder(raw)) for raw in raws], self.rng.choice(PASSES))

    def halt(self) -> None:
        self.give(
            Halt(self.rng.choice(TARGETS), self.rng.choice(tuple(GroupKey))),
            self.rng.choice(TERMS),
            self.rng.choice(SHIFTS),
        )

    def extend(self) -> None:
        ids = self.ids(Halt, Extend)
        if not ids:
            return
        last = brake_of(self.w.machine.state).orders[self.rng.choice(ids)]
        halt = last.order.action.halt if isinstance(last.order.action, Extend) else last.id
        term, end = self.rng.choice(TERMS), last.order.end
        issued = min(end, self.w.machine.time)
        if issued <= end < issued + term:
            self.give(Extend(halt, end), term, issued - self.w.machine.time)

    def lift(self) -> None:
        ids = self.ids(Halt)
        if ids:
            self.give(Lift(tuple(sorted(self.rng.sample(ids, min(len(ids), self.rng.randint(1, 3)))))))

    def classify(self) -> None:
        actions = (Raise(Models((ONE,), (), ())), Lower((ONE,), tuple(self.ids(Raise))), Lease((ONE,)))
        self.give(self.rng.choice(actions), 20 * DAY_MS)

    def raise_class(self) -> None:
        self.advance([self.w.tx("cat", RaiseClass(ONE))], 250)
        self.w.nonces.clear()

    def install(self) -> None:
        """HALTs in force are carried, or only some."""
        k = self.keyholders
        if k.roster.epoch == 2:
            return
        self.keyholders = Keyholders(k.roster.epoch + 1)
        carried = tuple(i for i in self.ids(Halt) if self.rng.random() < 0.7)
        issued = self.w.machine.time - self.rng.choice((0, 0, HOUR, 5 * DAY_MS))  # it was kept back so long
        install = Install(self.keyholders.roster, k.digest, carried)
        raw = self.w.order(install, issued=max(0, issued), by=k, to=self.keyholders)
        self.given.append(raw)
        self.advance([encode(BrakeOrder(raw))], 250)

    # the node

    def verify_blocks(self) -> None:
        newest = len(self.blocks) - 1
        self.verified = max(self.verified, newest - self.rng.randint(0, self.lag))

    def hear(self) -> None:
        """By gossip: a node acts on what restricts at once, and on what permits only when it has seen its block."""
        raw = self.rng.choice(self.given or [b""])
        known = take(self.blocks[self.verified].brake, [raw]).orders
        if known and isinstance(known[0].order.action, HEARD):
            self.heard.append(raw)

    def answer(self) -> None:
        """A caller asks with any anchor that a miner takes; its clock says anything."""
        seen = self.blocks[self.verified]
        most = seen.height + self.w.genesis.parameters.anchor_slack
        anchor = max(0, most - self.rng.choice((0, 0, 0, 1, 2, 5, 30)))
        own = max(0, self.w.machine.time + self.rng.choice((0, 0, -1, 1, -30, 30)) * DAY_MS)
        self.receipts["rogue"].append(anchor)
        known = take(self.blocks[self.verified].brake, self.heard).state
        if isinstance(verdict(known, seen.subject, Clocks(own, seen.time)), Permitted):
            self.told["answered"] += 1
            self.told["answered beside a recorded halt"] += bool(self.ids(Halt))
            self.receipts["cat-hot"].append(anchor)

    def try_everything(self) -> None:
        """Each one's receipt with the highest anchor, which convicts if any does, against every HALT."""
        for hotkey, anchors in self.receipts.items():
            for halt in self.ids(Halt) if anchors else []:
                if convicts(self.w, self.w.evidence(halt, hotkey, max(anchors))):
                    assert hotkey == "rogue", f"the halt of block {_height(self.w, halt)}, and anchor {max(anchors)}"
                    self.told["convicted"] += 1

    def run(self, steps: int) -> None:
        events: dict[Callable[[], None], float] = {
            self.time_passes: 5, self.halt: 1.5, self.lift: 1.5, self.extend: 1, self.classify: 0.5,
            self.raise_class: 0.1, self.install: 0.15, self.hear: 0.5,
        }  # fmt: skip
        for _ in range(steps):
            self.rng.choices(list(events), list(events.values()))[0]()
            self.verify_blocks()
            self.answer()
            self.try_everything()


def _height(w: World, order: OrderId) -> int:
    return w.machine.state.need(ORDERS, order, "").height


def convicts(w: World, evidence: ConvictServedAfterHalt) -> bool:
    s = w.machine.state
    mark = s.savepoint()
    try:
        convict_served_after_halt(s, Moment(w.machine.height + 1, w.machine.time), pub("ann"), evidence)
    except TxFailed:
        return False
    finally:
        s.rollback(mark)
    return True


def test_no_schedule_convicts_an_honest_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even without the grace, which is for those that are slow and not for the proof."""
    monkeypatch.setattr(convictions, "CONVICTION_GRACE", 0)
    told: Counter[str] = Counter()

    @settings(max_examples=120)
    @given(st.integers(0, 2**64))
    def histories(seed: int) -> None:
        schedule = Schedule(random.Random(seed))
        schedule.run(50)
        told.update(schedule.told)

    histories()
    assert told["answered beside a recorded halt"] > 500, "a node that never answers shows nothing"
    assert told["convicted"] > 500, "evidence that never convicts shows nothing"
