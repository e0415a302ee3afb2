"""Any history of orders, losses, duplicates, partitions and clocks, on three nodes, and one that hears all at once.

After every step: no node takes a verdict of Halted back but by the LIFT key or by a verified end. After a healing: all
nodes hold one set, with one head, and give one verdict.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from davy.killswitch.brake import BrakeState, first_state, forget, head, join, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Halted, Lapsed, Verdict, verdict
from davy.protocol.limits import HALT_TERM_MS, SIGNER_SKEW_MS
from davy.protocol.order import (
    Extend,
    Global,
    GroupKey,
    Halt,
    Install,
    OrderId,
    Raise,
    Target,
    VerifiedOrder,
    signing_key,
)
from tests.killswitch.story import TARGETS, Story, facts, models, ms, order_of, subject, systemic
from tests.twins.keyholders import Keyholders

SUBJECTS = [
    subject(), systemic(), subject("other"), systemic("other"),
    subject("child", ancestors=(facts("model"),)), Subject(2), Subject(),
]  # fmt: skip
NODES = 3
ANY = st.randoms(use_true_random=True)
WORD = st.sampled_from(["model", "other"])
BACK = st.sampled_from([0.0, 0.0, 0.0, 0.5, 4.0, 30.0, -1.0])
"""By how many days an order is dated back."""
TARGET = st.sampled_from([*TARGETS.values(), models("other"), models("model", "other")])


class Node:
    """What one node knows: its brake, and its clocks, which only rise."""

    def __init__(self, state: BrakeState) -> None:
        self.state = state
        self.own, self.block = ms(0), ms(0)
        self.follows = False
        """Whether it ever saw the ledger."""

    @property
    def at(self) -> Clocks:
        return Clocks(self.own, self.block if self.follows else None)

    @property
    def behind(self) -> int:
        """What all its clocks are past."""
        return min(self.own, self.block) if self.follows else 0

    def verdicts(self) -> list[Verdict]:
        return [verdict(self.state, x, self.at) for x in SUBJECTS]


def _halts_or_installs(v: VerifiedOrder) -> bool:
    return isinstance(v.order.action, Install) or signing_key(v.order.action) is GroupKey.HALT


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.day = 0.0
        self.rosters = [self.story.keyholders]
        self.kept_back: OrderId | None = None
        self.ledger: dict[OrderId, int] = {}
        self.nodes = [Node(first_state(self.story.genesis)) for _ in range(NODES)]
        self.reference = first_state(self.story.genesis)

    @initialize(start=st.floats(0, 2))
    def begin(self, start: float) -> None:
        self.day = start
        for node in self.nodes[1:]:
            node.follows, node.block = True, ms(start)

    # keyholders: what they sign reaches some nodes at once, the others later, if ever

    def give(self, how: str, *args: Any, by: Keyholders, back: float, rng: Random) -> None:
        """Sign an order, honestly or dated back or ahead."""
        self.send(getattr(self.story, how)(self.day - back, *args, by=by, quietly=True), rng)

    def send(self, i: OrderId, rng: Random) -> None:
        raw = self.story.given[i]
        taken = take(self.reference, [raw])
        assert taken.refused == ()
        self.reference = taken.state
        for node in self.nodes:
            if rng.random() < 0.6:
                self.hears(node, [raw])

    def ids(self, kind: type, rng: Random, most: int) -> list[OrderId]:
        found = sorted(i for i, v in self.reference.orders.items() if isinstance(v.order.action, kind))
        return rng.sample(found, min(most, len(found)))

    def signer(self, rng: Random) -> Keyholders:
        """The keyholders in office, or those that were before them."""
        return self.rosters[-1] if len(self.rosters) < 2 or rng.random() < 0.7 else self.rosters[-2]

    @rule(
        rng=ANY, scope=TARGET, term=st.floats(0.1, 6.9), back=BACK, key=st.sampled_from(["halt", "halt", "halt_beyond"])
    )
    def halt(self, rng: Random, scope: Target, term: float, back: float, key: str) -> None:
        self.give(key, self.day - back + term, scope, by=self.signer(rng), back=back, rng=rng)

    @rule(rng=ANY)
    def spend_the_past(self, rng: Random) -> None:
        """Whoever holds the HALT key says to everybody, at once, that everything was halted for three weeks."""
        thief = self.signer(rng)
        spent = [self.story.halt(self.day - b, self.day - b + 7, Global(), by=thief, quietly=True) for b in (8, 15, 22)]
        raws = [self.story.given[i] for i in spent]
        self.reference = take(self.reference, raws).state
        for node in self.nodes:
            self.hears(node, raws)

    @rule(rng=ANY)
    def extend(self, rng: Random) -> None:
        """From the end that a HALT, or an EXTEND of it, has now."""
        ends: list[tuple[OrderId, int]] = []
        for v in self.reference.orders.values():
            match v.order.action:
                case Halt():
                    ends.append((v.id, v.order.end))
                case Extend(halt=halt):
                    ends.append((halt, v.order.end))
                case _:
                    pass
        running = [(i, end) for i, end in sorted(ends) if ms(self.day) <= end < ms(self.day + 6.5)]
        if running:
            i, end = rng.choice(running)
            signer = self.signer(rng)
            raw = signer.sign(signer.order(self.story.chain, Extend(i, end), ms(self.day), ms(self.day + 6.9)))
            self.story.given[order_of(raw).id] = raw
            self.send(order_of(raw).id, rng)

    @rule(rng=ANY, back=BACK, most=st.integers(1, 3))
    def lift(self, rng: Random, back: float, most: int) -> None:
        if halts := self.ids(Halt, rng, most):
            self.give("lift", *halts, by=self.signer(rng), back=back, rng=rng)

    @rule(rng=ANY, word=WORD, back=BACK, term=st.floats(1, 29))
    def lease(self, rng: Random, word: str, back: float, term: float) -> None:
        self.give("lease", self.day - back + term, word, by=self.signer(rng), back=back, rng=rng)

    @rule(rng=ANY, word=WORD, back=BACK, lower=st.booleans())
    def change_class(self, rng: Random, word: str, back: float, lower: bool) -> None:
        if lower:
            raises = tuple(self.ids(Raise, rng, 2))
            self.give("lower", (word,), raises, by=self.signer(rng), back=back, rng=rng)
        else:
            self.give("raise_class", word, by=self.signer(rng), back=back, rng=rng)

    @rule(rng=ANY, scope=TARGET)
    def drill(self, rng: Random, scope: Target) -> None:
        self.give("drill", self.day + 1, scope, by=self.signer(rng), back=0, rng=rng)

    @precondition(lambda self: len(self.rosters) < 4 and self.kept_back is None)
    @rule(rng=ANY, most=st.integers(0, 4), at_once=st.booleans())
    def install(self, rng: Random, most: int, at_once: bool) -> None:
        """Its coordinator may keep it to itself: then the old roster goes on."""
        old, new = self.rosters[-1], Keyholders(len(self.rosters))
        ids = sorted(self.reference.orders)
        carried = rng.sample(ids, min(most, len(ids)))
        self.kept_back = self.story.install(self.day, new, *carried, by=old, quietly=True)
        if at_once:
            self.hand_in(rng)

    @precondition(lambda self: self.kept_back is not None)
    @rule(rng=ANY)
    def hand_in(self, rng: Random) -> None:
        assert self.kept_back is not None
        self.rosters.append(Keyholders(len(self.rosters)))
        self.send(self.kept_back, rng)
        self.kept_back = None

    # the network

    def hears(self, node: Node, raws: list[bytes], junk: list[bytes] | None = None) -> None:
        """Orders reach a node. Only an order of the LIFT key may take a Halted back.

        And an INSTALL only what the old roster halted after the ledger had recorded it, or long before.
        """
        before = node.verdicts()
        taken = take(node.state, [*raws, *(junk or [])])
        assert len(taken.refused) >= len(junk or [])
        node.state = taken.state
        if all(signing_key(v.order.action) is GroupKey.HALT for v in taken.orders):
            for x, a, b in zip(SUBJECTS, before, node.verdicts(), strict=True):
                assert isinstance(b, Halted) or not isinstance(a, Halted), (x, a, b)
        elif all(_halts_or_installs(v) for v in taken.orders):
            links = node.state.succession.links
            for x, a, b in zip(SUBJECTS, before, node.verdicts(), strict=True):
                if isinstance(a, Halted) and not isinstance(b, Halted):
                    place = node.state.succession.place(a.order.order.roster)
                    assert place is not None
                    since = links[place + 1].since
                    ended = node.behind >= since + HALT_TERM_MS
                    assert ended or a.order.order.issued > since + SIGNER_SKEW_MS, (x, a, b)

    @rule(rng=ANY, most=st.integers(1, 6))
    def deliver(self, rng: Random, most: int) -> None:
        """Some orders reach a node, by whatever route, perhaps again, with junk between."""
        ids = sorted(self.story.given.keys() - {self.kept_back})
        if ids:
            raws = [self.story.given[i] for i in rng.choices(ids, k=most)]
            junk = bytearray(rng.choice(raws))
            junk[rng.randrange(len(junk))] ^= 1 << rng.randrange(8)
            self.hears(rng.choice(self.nodes), raws, [bytes(junk), b"junk"])

    @rule(rng=ANY, days=st.sampled_from([0.01, 0.3, 1.0, 5.0, 20.0]))
    def wait(self, rng: Random, days: float) -> None:
        """Time passes. Own clocks are wrong by up to five hours; block time reaches who follows the ledger."""
        self.day += days
        for node in self.nodes:
            sees = node.follows and rng.random() < 0.8
            if sees:
                node.state = record(node.state, self.ledger)
            before, then = node.verdicts(), node.behind
            node.own = max(node.own, ms(self.day + rng.uniform(-0.2, 0.2)))
            if sees:
                node.block = ms(self.day)
            for x, a, b in zip(SUBJECTS, before, node.verdicts(), strict=True):
                if isinstance(a, Halted) and not isinstance(b, Halted):
                    raised = [r.until for r in node.state.book.raises if r.until > then]
                    ends = [end for end in (a.ends, *raised) if end is not None]
                    assert any(node.behind >= end for end in ends), (x, a, b, then, node.at)

    @rule(rng=ANY, most=st.integers(1, 5))
    def commit(self, rng: Random, most: int) -> None:
        """The ledger records some orders, sooner or later; some nodes see it."""
        for i in rng.sample(sorted(self.reference.orders), min(most, len(self.reference.orders))):
            self.ledger.setdefault(i, ms(self.day))
        for node in self.nodes:
            if rng.random() < 0.6:
                node.state = record(node.state, self.ledger)
                node.follows, node.block = True, ms(self.day)

    @rule()
    def forget(self) -> None:
        for node in self.nodes:
            before = node.verdicts()
            node.state = forget(node.state, node.at)
            for a, b in zip(before, node.verdicts(), strict=True):
                assert a == b or (isinstance(a, Lapsed) and b == Lapsed(None)), "only when a LEASE ran out is lost"

    @rule(a=st.integers(0, NODES - 1), b=st.integers(0, NODES - 1))
    def exchange(self, a: int, b: int) -> None:
        """Two nodes whose heads differ tell each other all."""
        one, two = self.nodes[a], self.nodes[b]
        both = [take(x.state, [v.raw for v in y.state.orders.values()]) for x, y in ((one, two), (two, one))]
        assert [t.refused for t in both] == [(), ()], "a set holds the INSTALLs that it needs"
        one.state, two.state = (t.state for t in both)
        assert head(one.state) == head(two.state)

    def teardown(self) -> None:
        """The partition heals: everything reaches everybody, in another sequence for each, and some of it twice."""
        raws = list(self.story.given.values())
        reference = record(take(self.reference, raws).state, self.ledger)  # what was kept back, too
        clocks = [
            Clocks(ms(self.day), ms(self.day)),
            Clocks(ms(self.day + 3), ms(self.day)),
            Clocks(ms(self.day), None),
        ]
        for n, node in enumerate(self.nodes):
            for raw in raws[n:] + raws[:n]:
                node.state = take(node.state, [raw]).state
            node.state = record(take(node.state, raws[::-1]).state, self.ledger)
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
TestHistories.settings = settings(max_examples=30, stateful_step_count=40)
