"""Any history of orders, losses, duplicates, partitions and clocks, on three nodes, and one that hears all at once.

After every step: no node takes a verdict of Halted back but by the LIFT key or by a verified end. After a healing: all
nodes hold one set, with one head, and give one verdict.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from davy.killswitch.brake import BrakeState, first_state, forget, head, join, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Cause, Halted, Verdict, verdict
from davy.protocol.order import Extend, GroupKey, Halt, OrderId, Raise, Target, signing_key
from tests.killswitch.story import TARGETS, Story, facts, models, ms, order_of, subject, systemic
from tests.twins.keyholders import Keyholders

SUBJECTS = [
    subject(), systemic(), subject("other"), systemic("other"),
    subject("child", ancestors=(facts("model"),)), Subject(2), Subject(),
]  # fmt: skip
NODES = 3
ANY = st.randoms(use_true_random=False)
TARGET = st.sampled_from([*TARGETS.values(), models("other"), models("model", "other")])


class Node:
    """What one node knows: its brake, and its clocks, which only rise."""

    def __init__(self, state: BrakeState) -> None:
        self.state = state
        self.own, self.block = ms(0), ms(0)
        self.blind = True

    @property
    def at(self) -> Clocks:
        return Clocks(self.own, None if self.blind else self.block)

    def verdicts(self) -> list[Verdict]:
        return [verdict(self.state, x, self.at) for x in SUBJECTS]


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.day = 0.0
        self.rosters = [self.story.keyholders]
        self.ledger: dict[OrderId, int] = {}
        self.nodes = [Node(first_state(self.story.genesis)) for _ in range(NODES)]
        self.reference = first_state(self.story.genesis)

    @initialize(start=st.floats(0, 2))
    def begin(self, start: float) -> None:
        self.day = start

    # keyholders

    def give(self, how: str, *args: Any, by: Keyholders, back: float) -> None:
        """Sign an order, honestly or dated back or ahead; it reaches nobody yet, but the reference."""
        i = getattr(self.story, how)(self.day - back, *args, by=by, quietly=True)
        taken = take(self.reference, [self.story.given[i]])
        assert taken.refused == ()
        self.reference = taken.state

    def ids(self, kind: type, rng: Any, most: int) -> list[OrderId]:
        found = sorted(i for i, v in self.reference.orders.items() if isinstance(v.order.action, kind))
        return rng.sample(found, min(most, len(found)))

    BY = st.integers(0, 1)
    BACK = st.sampled_from([0.0, 0.0, 0.5, 4.0, 30.0, -1.0])

    def signer(self, back: int) -> Keyholders:
        return self.rosters[max(0, len(self.rosters) - 1 - back)]

    @rule(scope=TARGET, term=st.floats(0.1, 6.9), by=BY, back=BACK, beyond=st.booleans())
    def halt(self, scope: Target, term: float, by: int, back: float, beyond: bool) -> None:
        end = self.day - back + term
        self.give("halt_beyond" if beyond else "halt", end, scope, by=self.signer(by), back=back)

    @rule(rng=ANY, by=BY)
    def extend(self, rng: Any, by: int) -> None:
        """From the end that a HALT, or an EXTEND of it, has now."""
        ends = [(v.id, v.order.end) for v in self.reference.orders.values() if isinstance(v.order.action, Halt)]
        ends += [
            (v.order.action.halt, v.order.end)
            for v in self.reference.orders.values()
            if isinstance(v.order.action, Extend)
        ]
        running = [(i, end) for i, end in sorted(ends) if ms(self.day) <= end < ms(self.day + 6.5)]
        if running:
            i, end = rng.choice(running)
            signer = self.signer(by)
            order = signer.order(self.story.chain, Extend(i, end), ms(self.day), ms(self.day + 6.9))
            raw = signer.sign(order)
            self.story.given[order_of(raw).id] = raw
            self.reference = take(self.reference, [raw]).state

    @rule(rng=ANY, by=BY, back=BACK, most=st.integers(1, 3))
    def lift(self, rng: Any, by: int, back: float, most: int) -> None:
        halts = self.ids(Halt, rng, most)
        if halts:
            self.give("lift", *halts, by=self.signer(by), back=back)

    @rule(word=st.sampled_from(["model", "other"]), by=BY, back=BACK, term=st.floats(1, 29))
    def lease(self, word: str, by: int, back: float, term: float) -> None:
        self.give("lease", self.day - back + term, word, by=self.signer(by), back=back)

    @rule(word=st.sampled_from(["model", "other"]), by=BY, back=BACK)
    def raise_class(self, word: str, by: int, back: float) -> None:
        self.give("raise_class", word, by=self.signer(by), back=back)

    @rule(rng=ANY, words=st.sampled_from([(), ("model",), ("model", "other")]), by=BY, back=BACK)
    def lower(self, rng: Any, words: tuple[str, ...], by: int, back: float) -> None:
        raises = tuple(self.ids(Raise, rng, 2))
        if words or raises:
            self.give("lower", words, raises, by=self.signer(by), back=back)

    @rule(scope=TARGET)
    def drill(self, scope: Target) -> None:
        self.give("drill", self.day + 1, scope, by=self.signer(0), back=0)

    @rule(rng=ANY, most=st.integers(0, 4))
    def install(self, rng: Any, most: int) -> None:
        if len(self.rosters) < 4:
            old, new = self.rosters[-1], Keyholders(len(self.rosters))
            ids = sorted(self.reference.orders)
            carried = rng.sample(ids, min(most, len(ids)))
            i = self.story.install(self.day, new, *carried, by=old, quietly=True)
            self.reference = take(self.reference, [self.story.given[i]]).state
            self.rosters.append(new)

    # the network

    def watched(self, node: Node, change: Any, *, lifting: bool, clocks: bool) -> None:
        """Change a node, and look that it took no Halted back without a reason for it."""
        before, then = node.verdicts(), node.at
        change()
        for x, a, b in zip(SUBJECTS, before, node.verdicts(), strict=True):
            if not isinstance(a, Halted) or isinstance(b, Halted) or lifting:
                continue
            assert clocks, (x, a, b, "an order of the HALT key permitted something")
            assert a.cause is not Cause.FULL
            raised = [r.until for r in node.state.book.raises if r.until > then.behind]
            ends = [end for end in (a.ends, *raised) if end is not None]
            assert any(node.at.behind >= end for end in ends), (x, a, b, then, node.at)

    @rule(rng=ANY, n=st.integers(0, NODES - 1), most=st.integers(1, 6))
    def deliver(self, rng: Any, n: int, most: int) -> None:
        """Some orders reach a node, by whatever route, perhaps again, with junk between."""
        node, ids = self.nodes[n], sorted(self.story.given)
        if not ids:
            return
        raws = [self.story.given[i] for i in rng.choices(ids, k=most)]
        lifting = any(signing_key(order_of(raw).order.action) is GroupKey.LIFT for raw in raws)
        junk = bytearray(rng.choice(raws))
        junk[rng.randrange(len(junk))] ^= 1 << rng.randrange(8)

        def change() -> None:
            taken = take(node.state, [*raws, bytes(junk), b"junk"])
            assert len(taken.refused) >= 2
            node.state = taken.state

        self.watched(node, change, lifting=lifting, clocks=False)

    @rule(rng=ANY, most=st.integers(1, 5))
    def commit(self, rng: Any, most: int) -> None:
        """The ledger records some orders, sooner or later."""
        for i in rng.sample(sorted(self.reference.orders), min(most, len(self.reference.orders))):
            self.ledger.setdefault(i, ms(self.day))

    @rule(n=st.integers(0, NODES - 1))
    def see_the_ledger(self, n: int) -> None:
        """A node verifies the newest block: its time and what was recorded may show that an allowance is used up."""
        node = self.nodes[n]
        node.state = record(node.state, self.ledger)
        node.blind, node.block = False, max(node.block, ms(self.day))

    @rule(days=st.sampled_from([0.01, 0.3, 1.0, 5.0, 20.0]))
    def wait(self, days: float) -> None:
        self.day += days

    @rule(n=st.integers(0, NODES - 1), skew=st.floats(-0.2, 0.2))
    def tick(self, n: int, skew: float) -> None:
        """A node's own clock goes on, wrong by up to five hours."""
        node = self.nodes[n]

        def change() -> None:
            node.own = max(node.own, ms(self.day + skew))

        self.watched(node, change, lifting=False, clocks=True)

    @rule(n=st.integers(0, NODES - 1))
    def block(self, n: int) -> None:
        """A block's time reaches a node that follows the ledger; with it what was recorded before."""
        node = self.nodes[n]
        if node.blind or record(node.state, self.ledger) != node.state:
            return

        def change() -> None:
            node.block = max(node.block, ms(self.day))

        self.watched(node, change, lifting=False, clocks=True)

    @rule(n=st.integers(0, NODES - 1))
    def forget(self, n: int) -> None:
        node = self.nodes[n]
        before = node.verdicts()
        node.state = forget(node.state, node.at)
        assert node.verdicts() == before

    @rule(a=st.integers(0, NODES - 1), b=st.integers(0, NODES - 1))
    def exchange(self, a: int, b: int) -> None:
        """Two nodes whose heads differ tell each other all."""
        one, two = self.nodes[a], self.nodes[b]
        both = [take(x.state, [v.raw for v in y.state.orders.values()]) for x, y in ((one, two), (two, one))]
        assert [t.refused for t in both] == [(), ()], "a set holds the INSTALLs that it needs"
        one.state, two.state = (t.state for t in both)
        assert head(one.state) == head(two.state)

    @rule()
    def heal(self) -> None:
        """Everything reaches everybody, in another sequence for each."""
        raws = list(self.story.given.values())
        for n, node in enumerate(self.nodes):
            for raw in raws[n:] + raws[:n]:
                node.state = take(node.state, [raw]).state
            node.state = take(node.state, raws[::-1]).state
            node.state = record(node.state, self.ledger)
        reference = record(self.reference, self.ledger)
        clocks = [
            Clocks(ms(self.day), ms(self.day)),
            Clocks(ms(self.day + 3), ms(self.day)),
            Clocks(ms(self.day), None),
        ]
        for node in self.nodes:
            assert dict(node.state.orders) == dict(reference.orders)
            assert head(node.state) == head(reference)
            assert join(node.state, reference) == reference
            for at in clocks:
                for x in SUBJECTS:
                    assert verdict(node.state, x, at) == verdict(reference, x, at)

    @invariant()
    def nothing_unverified_is_known(self) -> None:
        for node in self.nodes:
            assert node.state.orders.keys() <= self.reference.orders.keys()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40)
