"""Invariant B3: no honest node can be convicted, under any schedule; and what an honest node must keep to for that.

The node of these histories learns blocks as late as it likes and restrictions from anywhere, its clock says anything,
and callers choose its anchors. Beside it a rogue, whose guard is patched out, signs the same requests. After every
answer each of their receipts is tried against each HALT there is.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from davy.killswitch.brake import BrakeState, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Permitted, verdict
from davy.ledger.rules import convictions
from davy.ledger.rules.brake import brake_of
from davy.ledger.rules.convictions import convict_served_after_halt
from davy.ledger.rules.halts import served_subject
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
TERMS = st.sampled_from([3_600_000, DAY_MS, 7 * DAY_MS])
ISSUED = st.sampled_from([0, 0, 0, -DAY_MS, DAY_MS, -6 * DAY_MS])
SOON = st.sampled_from([True, True, False])
PASSES = st.sampled_from([250, 250, 3_600_000, 10 * 3_600_000, 3 * DAY_MS, 20 * DAY_MS])


class Seen:
    """A block as a node verifies it: its time, and all orders up to it."""

    def __init__(self, w: World, subject: Subject) -> None:
        self.height, self.time = w.machine.height, w.machine.time
        self.brake: BrakeState = brake_of(w.machine.state)
        self.subject = subject


class Schedules(RuleBasedStateMachine):
    convicted: ClassVar[int] = 0
    """Receipts of rogues that convicted."""
    answered: ClassVar[int] = 0

    @initialize(systemic=st.booleans())
    def a_market(self, systemic: bool) -> None:
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
        self.receipts: dict[str, set[int]] = {"cat-hot": set(), "rogue": set()}
        self.advance([], 250)

    def advance(self, raws: list[bytes], passes: int) -> None:
        m = self.w.machine
        m.apply_block(m.height + 1, m.time + passes, raws)
        state = m.state
        self.blocks.append(Seen(self.w, served_subject(state, 1, pub("cat-hot"), pub("cat"), ONE, whole=True)))

    def ids(self, kind: type) -> list[OrderId]:
        return sorted(i for i, v in brake_of(self.w.machine.state).orders.items() if isinstance(v.order.action, kind))

    # the ledger

    @rule(raws=st.integers(0, 3), passes=PASSES)
    def block(self, raws: int, passes: int) -> None:
        """Some of the orders that were given are recorded."""
        taken, self.pending = self.pending[:raws], self.pending[raws:]
        self.advance([encode(BrakeOrder(raw)) for raw in taken], passes)

    @rule(data=st.data(), count=st.integers(1, 4))
    def blocks_pass(self, data: st.DataObject, count: int) -> None:
        """The rogue goes on answering; so does the node, as far as it may."""
        for _ in range(count):
            self.advance([], 250)
            self.receipts["rogue"].add(self.w.machine.height)
        self.verify_blocks(data)
        self.answer(data, 0)

    @rule()
    def raise_class(self) -> None:
        self.advance([self.w.tx("cat", RaiseClass(ONE))], 250)
        self.w.nonces.clear()

    # keyholders

    def give(self, action: Any, term: int, shift: int, *, soon: bool = False) -> None:
        """An order reaches the ledger's next block, or waits for a later one."""
        issued = max(0, self.w.machine.time + shift)
        raw = self.w.order(action, term, issued=issued, by=self.keyholders)
        self.given.append(raw)
        if soon:
            self.advance([encode(BrakeOrder(raw))], 250)
        else:
            self.pending.append(raw)

    @rule(scope=st.sampled_from(TARGETS), by=st.sampled_from(GroupKey), term=TERMS, shift=ISSUED, soon=SOON)
    def halt(self, scope: Any, by: GroupKey, term: int, shift: int, soon: bool) -> None:
        self.give(Halt(scope, by), term, shift, soon=soon)

    @rule(data=st.data(), term=TERMS, shift=st.sampled_from([0, -DAY_MS]), soon=SOON)
    def extend(self, data: st.DataObject, term: int, shift: int, soon: bool) -> None:
        orders = brake_of(self.w.machine.state).orders
        ids = self.ids(Halt) + self.ids(Extend)
        if ids:
            last = orders[data.draw(st.sampled_from(ids))]
            action = last.order.action
            halt = action.halt if isinstance(action, Extend) else last.id
            issued = self.w.machine.time + shift
            if 0 <= issued <= last.order.end < issued + term:
                self.give(Extend(halt, last.order.end), term, shift, soon=soon)

    @rule(data=st.data(), shift=ISSUED)
    def lift(self, data: st.DataObject, shift: int) -> None:
        ids = self.ids(Halt)
        if ids:
            self.give(Lift((data.draw(st.sampled_from(ids)),)), 0, shift)

    @rule(kind=st.sampled_from(["raise", "lower", "lease"]), shift=ISSUED)
    def classify(self, kind: str, shift: int) -> None:
        action = {"raise": Raise(Models((ONE,), (), ())), "lower": Lower((ONE,), ()), "lease": Lease((ONE,))}[kind]
        self.give(action, 20 * DAY_MS, shift)

    @precondition(lambda self: self.keyholders.roster.epoch < 2)
    @rule(carry=st.booleans())
    def install(self, carry: bool) -> None:
        successor = Keyholders(self.keyholders.roster.epoch + 1)
        carried = tuple(self.ids(Halt)) if carry else ()
        raw = self.w.order(Install(successor.roster, self.keyholders.digest, carried), by=self.keyholders, to=successor)
        self.advance([encode(BrakeOrder(raw))], 250)
        self.given.append(raw)
        self.keyholders = successor

    # the node

    @rule(data=st.data())
    def verify_blocks(self, data: st.DataObject) -> None:
        newest = len(self.blocks) - 1
        self.verified = data.draw(st.just(newest) | st.integers(self.verified, newest))

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """By gossip: a node acts on what restricts at once, and on what permits only when it has seen its block."""
        if self.given:
            raw = data.draw(st.sampled_from(self.given))
            seen = self.blocks[self.verified].brake
            known = take(seen, [raw]).orders
            if known and isinstance(known[0].order.action, Halt | Extend | Raise):
                self.heard.append(raw)

    def knows(self) -> BrakeState:
        return take(self.blocks[self.verified].brake, self.heard).state

    @rule(data=st.data(), clock=st.sampled_from([-30, -1, 0, 0, 1, 30]))
    def answer(self, data: st.DataObject, clock: int) -> None:
        """A caller asks with any anchor that a miner takes."""
        seen = self.blocks[self.verified]
        anchor = data.draw(
            st.integers(0, seen.height + self.w.genesis.parameters.anchor_slack) | st.just(seen.height + 1)
        )
        own = max(0, self.w.machine.time + clock * DAY_MS)
        self.receipts["rogue"].add(anchor)
        if isinstance(verdict(self.knows(), seen.subject, Clocks(own, seen.time)), Permitted):
            self.receipts["cat-hot"].add(anchor)
            type(self).answered += 1
        self.try_everything()

    @rule()
    def try_everything(self) -> None:
        for hotkey, anchors in self.receipts.items():
            for anchor in sorted(anchors):
                for halt in self.ids(Halt):
                    evidence = self.w.evidence(halt, hotkey, anchor)
                    if convicts(self.w, evidence):
                        assert hotkey == "rogue", (halt.hex(), anchor)
                        type(self).convicted += 1


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
    Schedules.convicted = Schedules.answered = 0
    run_state_machine_as_test(Schedules, settings=settings(max_examples=100, stateful_step_count=40))
    assert Schedules.answered > 100, "an honest node that never answers shows nothing"
    assert Schedules.convicted > 100, "evidence that never convicts shows nothing"
