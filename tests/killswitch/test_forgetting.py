"""A brake that lives for ever: what is over leaves it, and comes back to no effect; nothing runs that stood still."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davy.killswitch import brake
from davy.killswitch.brake import BrakeState, first_state, forget, head, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Cause, Halted, Lapsed, Permitted, verdict
from davy.protocol.errors import Expired
from davy.protocol.order import OrderId
from tests.killswitch.guarded import Node, block
from tests.killswitch.story import START, TARGETS, Story, models, ms, order_of, subject, systemic
from tests.twins.keyholders import Keyholders

SMALL = 5
SUBJECTS = [subject(), systemic(), subject("other"), systemic("other"), Subject()]
KINDS = ["lease"] * 6 + ["halt", "lift", "extend", "raise", "lower", "install"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brake, "MAX_BRAKE_ORDERS", SMALL)


def leases(story: Story, count: int, day: float = 0, days: float = 1) -> list[OrderId]:
    """So many LEASEs of a model, none of which the story's own brake takes in."""
    return [story.lease(day, day + days, quietly=True) for _ in range(count)]


# the rules


def test_leases_fill_no_brake_and_those_that_end_last_are_kept(story: Story) -> None:
    ends = [story.lease(0, 1 + n / 10) for n in range(3 * SMALL)]
    assert isinstance(story.at(0, x=systemic()), Permitted)
    assert story.state.orders.keys() == set(ends[-SMALL - 1 :])
    halts = [story.halt(0, 1, models("other")) for _ in range(SMALL)]
    assert isinstance(story.at(0), Permitted), "the LEASEs take no place from what stops"
    assert set(halts) <= story.state.orders.keys()
    story.halt(0, 1, models("other"))
    full = story.at(0)
    assert isinstance(full, Halted)
    assert full.cause is Cause.FULL


def test_no_lapse_makes_room_in_a_brake_that_is_full(story: Story) -> None:
    """It dropped orders: among them may be a HALT, which nobody else may show again."""
    leases(story, SMALL)
    story.hear(*story.given)
    for _ in range(SMALL + 1):
        story.halt(0, 1, models("other"))
    story.state = forget(story.state, Clocks(ms(40), ms(40)))
    full = story.at(40)
    assert isinstance(full, Halted)
    assert full.cause is Cause.FULL


def test_a_lapsed_lease_is_refused_before_its_signature_is_looked_at(story: Story) -> None:
    raw = story.given[leases(story, 1)[0]]
    forged = raw[:-1] + bytes([raw[-1] ^ 1])
    asked: list[bool] = []
    taken = take(story.state, [raw, forged], lambda: bool(asked.append(True)), Clocks(ms(4), ms(4)))
    assert taken.state is story.state
    assert [type(e) for _, e in taken.refused] == [Expired, Expired]
    assert not asked, "and what comes behind it is looked at"
    assert take(story.state, [raw], at=Clocks(ms(3.9), ms(3.9))).orders


class Heard:
    """Who forgets, and who never does; both heard the same."""

    def __init__(self, story: Story) -> None:
        self.forgetful = self.hoarder = first_state(story.genesis)

    def hear(self, raws: list[bytes], at: Clocks) -> None:
        self.forgetful = take(self.forgetful, raws, at=at).state
        self.hoarder = take(self.hoarder, raws).state

    def record(self, times: dict[OrderId, int]) -> None:
        self.forgetful, self.hoarder = record(self.forgetful, times), record(self.hoarder, times)


def signed(story: Story, kind: str, day: float, draw: st.DataObject, by: Keyholders) -> OrderId:
    given_before = sorted(story.given)
    halts = [i for i in given_before if type(order_of(story.given[i]).order.action).__name__ == "Halt"]
    raises = [i for i in given_before if type(order_of(story.given[i]).order.action).__name__ == "Raise"]
    match kind:
        case "lift" if halts:
            return story.lift(
                day, *draw.draw(st.sets(st.sampled_from(halts), min_size=1, max_size=3)), by=by, quietly=True
            )
        case "lease":
            end = day + draw.draw(st.sampled_from([0.5, 3.0, 20.0, 29.0]))
            return story.lease(day, end, draw.draw(st.sampled_from(["model", "other"])), by=by, quietly=True)
        case "extend" if halts:
            halt = draw.draw(st.sampled_from(halts))
            end = (order_of(story.given[halt]).order.end - START) / 86_400_000
            return story.extend(end, halt, end, end + 3, by=by, quietly=True)
        case "lower":
            named = tuple(raises[:2])
            return story.lower(day, ("model",), named, by=by, quietly=True)
        case "raise" | "lift" | "extend":
            return story.raise_class(day, by=by, quietly=True)
        case _:
            target = draw.draw(st.sampled_from(list(TARGETS.values())))
            return story.halt(day, day + draw.draw(st.floats(0.1, 6.9)), target, by=by, quietly=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_who_forgets_judges_as_who_does_not(draw: st.DataObject) -> None:
    """Whatever is signed, replayed, lost and recorded; over months, and with the brake filling."""
    story, day = Story(), 0.0
    rosters, ledger = [story.keyholders], dict[OrderId, int]()
    nodes = [Heard(story), Heard(story)]
    for _ in range(draw.draw(st.integers(5, 20))):
        day += draw.draw(st.sampled_from([0.0, 0.0, 0.5, 3.0, 3.0, 20.0, 60.0]))
        at = Clocks(ms(day), ms(day))
        kind = draw.draw(st.sampled_from(KINDS))
        if kind == "install" and len(rosters) < 3:
            new = Keyholders(len(rosters))
            carried = draw.draw(st.sets(st.sampled_from(sorted(story.given)), max_size=2)) if story.given else set()
            i = story.install(day, new, *carried, by=rosters[-1], quietly=True)
            rosters.append(new)
            ledger[i] = ms(day)
        else:
            signed(story, kind, day, draw, draw.draw(st.sampled_from(rosters)))
        installs = [raw for i, raw in story.given.items() if i in ledger]
        for node in nodes:
            again = draw.draw(st.lists(st.sampled_from(sorted(story.given.values())), max_size=8))
            news = list(story.given.values())[-draw.draw(st.integers(0, 3)) :]
            node.record(ledger)
            node.hear([*installs, *again, *news], at)
            if draw.draw(st.booleans()):
                node.forgetful = forget(node.forgetful, at)
            for x in SUBJECTS:
                mine, theirs = verdict(node.forgetful, x, at), verdict(node.hoarder, x, at)
                if isinstance(theirs, Lapsed):  # it still knows when
                    assert isinstance(mine, Lapsed), (x, mine, theirs)
                else:
                    assert mine == theirs, (x, mine, theirs)
    one = merged_all(nodes, story, ledger)
    assert one[0] == one[1], "whatever each had forgotten, all know the same after an exchange"


def merged_all(nodes: list[Heard], story: Story, ledger: dict[OrderId, int]) -> list[bytes]:
    at = Clocks(ms(5_000), ms(5_000))
    every = [v.raw for n in nodes for v in (*n.forgetful.orders.values(), *n.hoarder.orders.values())]
    states: list[BrakeState] = []
    for node in nodes:
        state = take(record(node.forgetful, ledger), every, at=at).state
        states.append(forget(state, at))
    return [head(s) for s in states]


# the guard


@pytest.mark.anyio
async def test_a_guard_forgets_lapsed_leases_and_is_never_full_of_them(story: Story) -> None:
    node = Node(story)
    await node.open()
    for month in range(5):
        node.clock.time = ms(40 * month)
        await node.guard.at_block(block(2 + 2 * month, 40 * month), [])
        await node.hear(
            *leases(story, SMALL, 40 * month), story.halt(40 * month, 40 * month + 1, models("gone"), quietly=True)
        )
    node.clock.time = ms(300)
    await node.guard.at_block(block(30, 300), [])
    assert node.runs(), "five HALTs stand there, and no LEASE"
    assert len(node.guard.state.orders) == 5
    await node.hear(story.halt(300, 301, quietly=True))
    assert not node.runs()


@pytest.mark.anyio
async def test_a_forgotten_lease_that_is_shown_again_changes_nothing(story: Story) -> None:
    node = Node(story)
    await node.open()
    mine = leases(story, 2)
    halt = story.halt(0, 1, models("gone"), quietly=True)
    await node.hear(*mine, halt)
    shown = [(story.given[i], START) for i in (*mine, halt)]
    await node.guard.at_block(block(2), shown)
    assert len(node.guard.state.orders) == 3
    node.clock.time = ms(10)
    await node.guard.at_block(block(3, 10), shown)
    before = node.guard.state
    assert before.orders.keys() == {halt}
    assert before.recorded.keys() == {halt}
    for height in (4, 5):
        await node.guard.hear(raw for raw, _ in shown)
        await node.guard.at_block(block(height, 10 + height), shown)
    (error,) = await node.hear(mine[0])
    assert isinstance(error, Expired)
    assert node.guard.state is before


@pytest.mark.anyio
async def test_what_was_forgotten_is_gone_from_the_disk(story: Story) -> None:
    node = Node(story)
    await node.open()
    mine = leases(story, 3)
    halt = story.halt(0, 1, models("gone"), quietly=True)
    await node.hear(*mine)
    node.clock.time = ms(10)
    await node.guard.at_block(block(3, 10), [])
    await node.hear(halt)
    kept = [node.store.values[key] for key in node.store.values if key.startswith(b"brake/order/")]
    assert sorted(kept) == [b"", b"", b"", story.given[halt]]
    guard = await node.restart()
    assert guard.state.orders.keys() == {halt}


@pytest.mark.anyio
async def test_a_lease_lapses_on_a_node_by_the_ledger_s_time_alone(story: Story) -> None:
    """Else a clock that runs ahead would tell every other node of a head that none of them has."""
    node = Node(story)
    await node.open()
    (lease,) = leases(story, 1)
    await node.hear(lease)
    node.clock.time = ms(10)
    await node.guard.at_block(block(2, 2), [])
    assert lease in node.guard.state.orders
    await node.guard.at_block(block(3, 5), [])
    assert lease not in node.guard.state.orders
