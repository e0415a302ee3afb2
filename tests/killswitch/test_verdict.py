"""What a set of orders means for a subject at given clocks: each rule by example, and all of them as one table."""

import itertools

import pytest

from davy.killswitch.clocks import Clocks
from davy.killswitch.roster import FOREVER
from davy.killswitch.scope import ModelFacts, Subject, covers
from davy.killswitch.verdict import Cause, Halted, Lapsed, Permitted, Stale, verdict
from davy.protocol.limits import FRESH_MS, HALT_LEAD_MS, LEASE_GRACE_MS
from davy.protocol.manifest import ModelClass
from davy.protocol.order import Global, GroupKey, Miner, Models, Subnet
from tests.killswitch.story import MINUTE, TARGETS, Story, facts, models, ms, name, subject, systemic

ELSEWHERE = Subject(2, name("another miner"), facts("another"))

# scope


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_covers_what_it_names_and_nothing_else(target: Global | Subnet | Miner | Models) -> None:
    assert covers(target, subject())
    assert covers(target, ELSEWHERE) is isinstance(target, Global)
    assert covers(target, Subject()) is isinstance(target, Global)


def test_a_descendant_or_a_copy_with_a_byte_changed_is_halted_too(story: Story) -> None:
    story.halt(0, 5)
    changed = ModelFacts(name("changed"), frozenset({name("model 1")}), name("someone"))
    child = subject("child", ancestors=(facts("between"), facts("model")))
    for x, stopped in [(subject("copy", model=changed), False), (child, True), (subject("child"), False)]:
        assert isinstance(story.at(1, x=x), Halted) is stopped
    story.halt(0, 5, TARGETS["model by file"])
    assert isinstance(story.at(1, x=subject("copy", model=changed._replace(files=facts("model").files))), Halted)


def test_the_registrant_of_a_halted_model_can_neither_register_nor_serve(story: Story) -> None:
    story.halt(0, 5)
    theirs = facts("next", "model's")
    serving = Subject(3, name("elsewhere"), theirs, siblings=(facts("model"),))
    assert isinstance(story.at(1, x=serving), Halted)
    assert isinstance(story.at(1, x=Subject(3, name("elsewhere"), theirs)), Permitted)
    story.lift(1, *story.state.orders)
    story.halt(1, 5, TARGETS["model by registrant"])
    registering = Subject(model=ModelFacts(b"", frozenset(), name("model's")))
    assert isinstance(story.at(2, x=registering), Halted)


# HALT and LIFT


def test_a_lift_ends_only_the_halts_it_names(story: Story) -> None:
    first, second = story.halt(0, 5), story.halt(0, 5)
    story.lift(1, first)
    left = story.at(1)
    assert isinstance(left, Halted)
    assert left.order.id == second
    story.lift(1, second)
    assert isinstance(story.at(1), Permitted)


def test_a_halt_is_in_force_at_once_and_until_its_end(story: Story) -> None:
    i = story.halt(1, 3)
    assert story.at(2) == Halted(story.state.orders[i], Cause.ORDER, ms(3))
    assert isinstance(verdict(story.state, subject(), Clocks(ms(3) - 1, ms(3) - 1)), Halted)
    assert isinstance(story.at(3), Permitted)


def test_a_halt_dated_ahead_waits_and_says_so(story: Story) -> None:
    """Or whoever stole the HALT key could stop for years with one order."""
    story.halt(10, 11)
    begins = ms(10) - HALT_LEAD_MS
    assert story.at(1) == Permitted(begins)
    assert isinstance(verdict(story.state, subject(), Clocks(begins - 1, begins - 1)), Permitted)
    assert isinstance(verdict(story.state, subject(), Clocks(begins, begins - 1)), Halted), "the later clock begins it"
    assert isinstance(verdict(story.state, subject(), Clocks(ms(1), begins)), Halted), "also on a node with a slow one"


def test_a_halt_ends_only_when_both_clocks_are_past_its_end(story: Story) -> None:
    story.halt(0, 2)
    assert isinstance(story.at(1, block=3), Halted)
    assert isinstance(story.at(3, block=1), Halted)
    assert isinstance(story.at(400, block=None), Halted), "never on a node that cannot see the chain"
    assert isinstance(story.at(2, block=2), Permitted)


# EXTEND


def test_an_extend_reaches_on_from_the_end_it_names(story: Story) -> None:
    i = story.halt(0, 5)
    story.extend(9, i, 10, 15, quietly=True)
    story.extend(4, i, 5, 10)
    story.extend(4, i, 6, 11)
    assert isinstance(story.at(9.9), Halted)
    assert isinstance(story.at(10.5), Permitted), "there never was an end at day 6"
    story.hear(*story.given)
    assert isinstance(story.at(14.9), Halted)
    assert isinstance(story.at(15), Permitted)


def test_an_extend_ends_with_its_halt_s_lift(story: Story) -> None:
    i = story.halt(0, 5)
    story.extend(4, i, 5, 10)
    story.lift(4.5, i)
    assert isinstance(story.at(6), Permitted)


# the allowance


def test_the_halt_key_stops_for_twenty_one_days_of_ninety(story: Story) -> None:
    i = story.halt(0, 7)
    story.extend(6, i, 7, 13)
    story.extend(12, i, 13, 19)
    story.extend(18, i, 19, 25)
    assert isinstance(story.at(20.9), Halted)
    assert isinstance(story.at(21), Permitted)


def test_it_is_one_allowance_whatever_a_halt_targets(story: Story) -> None:
    for n, target in enumerate([TARGETS["miner"], TARGETS["subnet"], TARGETS["model by file"], Global()]):
        story.halt(7 * n, 7 * n + 7, target)
    assert isinstance(story.at(20.9), Halted)
    assert isinstance(story.at(21.1), Permitted)
    assert isinstance(story.at(21.1, x=ELSEWHERE), Halted), "which was not halted before"


def test_beyond_the_allowance_the_lift_key_can_still_halt(story: Story) -> None:
    for day in (0, 7, 14, 21):
        story.halt(day, day + 7)
    assert isinstance(story.at(22), Permitted)
    story.halt_beyond(22, 29)
    assert isinstance(story.at(22), Halted)
    assert isinstance(story.at(29), Permitted)


def test_what_the_lift_key_stops_uses_up_nothing(story: Story) -> None:
    for day in range(0, 70, 7):
        story.halt_beyond(day, day + 7)
    story.halt(70, 77)
    assert isinstance(story.at(76.9), Halted)


def test_an_early_lift_gives_back_what_was_not_used(story: Story) -> None:
    for day in (0, 7, 14):
        story.lift(day + 1, story.halt(day, day + 7))
    for day in (21, 28, 35):
        story.halt(day, day + 7)
    assert isinstance(story.at(38.9), Halted), "3 days before and 18 now"
    assert isinstance(story.at(39.1), Permitted)


def test_a_stolen_halt_key_cannot_spend_the_past_to_end_a_halt(story: Story) -> None:
    """HALTs dated back are counted from the block that recorded them."""
    story.halt(30, 37)
    assert isinstance(story.at(30), Halted)
    for day in (8, 15, 22):
        story.halt(day, day + 7, recorded=False)
        assert isinstance(story.at(30), Halted)
    story.state = story.state.__class__(
        story.chain, story.state.first, story.state.orders, dict.fromkeys(story.state.orders, ms(30))
    )
    assert isinstance(story.at(36.9), Halted)


def test_a_halt_that_the_ledger_lacks_stops_all_the_same(story: Story) -> None:
    for day in (0, 7, 14, 21):
        story.halt(day, day + 7, recorded=False)
    assert isinstance(story.at(27.9), Halted)


# classes


def test_a_halt_of_a_systemic_model_never_ends_by_itself_and_voids_all_earlier_leases(story: Story) -> None:
    early = story.lease(0, 30)
    assert isinstance(story.at(1, x=systemic()), Permitted)
    i = story.halt(1, 2)
    stopped = story.at(28, x=systemic())
    assert isinstance(stopped, Halted)
    assert (stopped.order.id, stopped.ends) == (i, None)
    story.lift(28, i)
    assert early in story.state.orders
    assert story.at(28, x=systemic()) == Lapsed(None), "a LIFT alone does not restart it"
    story.lease(28, 58)
    assert isinstance(story.at(28, x=systemic()), Permitted)


def test_a_halt_dated_ahead_does_not_void_what_was_leased_after_its_lift(story: Story) -> None:
    i = story.halt(0.01, 7)
    story.lift(0.001, i)
    story.lease(0.002, 30)
    assert isinstance(story.at(0.002, x=systemic()), Permitted)


def test_the_halt_key_raises_a_class_and_the_lift_key_lowers_it(story: Story) -> None:
    raised = story.raise_class(0)
    assert isinstance(story.at(1), Lapsed)
    assert isinstance(story.at(1, x=subject("child", ancestors=(facts("model"),))), Lapsed)
    assert isinstance(story.at(1, x=ELSEWHERE), Permitted)
    story.lower(1, ("model",))
    assert isinstance(story.at(1), Lapsed), "a Raise is ended by its id"
    story.lower(1, (), (raised,))
    assert isinstance(story.at(1), Permitted)
    story.raise_class(2)
    assert isinstance(story.at(2), Lapsed), "and may be given anew"


def test_lowering_takes_back_what_subnet_or_registrant_chose(story: Story) -> None:
    assert isinstance(story.at(1, x=systemic()), Lapsed)
    story.lower(1, ("model",))
    assert isinstance(story.at(1, x=systemic()), Permitted)
    assert isinstance(story.at(1, x=systemic("child", ancestors=(facts("model"),))), Lapsed), "of this model only"


def test_what_has_no_model_needs_no_lease(story: Story) -> None:
    x = Subject(1, model_class=ModelClass.SYSTEMIC)
    story.halt(5, 6, Subnet(1))
    assert story.at(1, x=x) == Permitted(ms(5) - HALT_LEAD_MS)
    assert isinstance(story.at(9, x=x), Halted)


def test_where_a_lifted_halt_begins_a_permit_is_asked_for_once_more(story: Story) -> None:
    """Not for ever: a permit outlasts the moment that it is given at."""
    x = Subject(1, model_class=ModelClass.SYSTEMIC)
    story.lift(1, story.halt(5, 6, Subnet(1)))
    begins = ms(5) - HALT_LEAD_MS
    assert [verdict(story.state, x, Clocks(t, t)) for t in (begins - 1, begins)] == [
        Permitted(begins),
        Permitted(FOREVER),
    ]


# leases and freshness


def test_a_lease_has_lapsed_when_either_clock_is_past_its_grace(story: Story) -> None:
    story.lease(0, 30)
    end = ms(30) + LEASE_GRACE_MS
    at = Clocks(end - 1, end - 1)
    assert isinstance(verdict(story.state, systemic(), at), Permitted)
    for late in (Clocks(end, end - 1), Clocks(end - 1, end)):
        assert verdict(story.state, systemic(), late) == Lapsed(end)


def test_a_lease_begins_when_both_clocks_say_so(story: Story) -> None:
    story.lease(10, 40)
    assert isinstance(story.at(9.99, x=systemic()), Lapsed)
    assert isinstance(story.at(10, block=9.99, x=systemic()), Lapsed)
    assert isinstance(story.at(10 - 5 * MINUTE, x=systemic()), Permitted), "a signer's clock may be as much ahead"


@pytest.mark.parametrize("later_first", [False, True])
def test_a_lease_that_is_renewed_in_time_runs_on(story: Story, later_first: bool) -> None:
    for day, end in ((20, 50), (0, 30)) if later_first else ((0, 30), (20, 50)):
        story.lease(day, end)
    assert isinstance(story.at(33, x=systemic()), Permitted), "the older one has lapsed by then, and shortens nothing"
    assert isinstance(story.at(52.9, x=systemic()), Permitted)
    assert story.at(53, x=systemic()) == Lapsed(ms(53))


def test_a_lease_is_for_the_models_it_names(story: Story) -> None:
    story.lease(0, 30, "model", "other")
    assert isinstance(story.at(1, x=systemic("other")), Permitted)
    assert isinstance(story.at(1, x=systemic("child", ancestors=(facts("model"),))), Lapsed)


def test_a_systemic_model_runs_only_on_a_node_that_sees_chain_or_heartbeat(story: Story) -> None:
    story.lease(0, 30)
    now = ms(1)

    def ask(block: int | None, beat: int | None) -> object:
        return verdict(story.state, systemic(), Clocks(now, block, beat))

    assert ask(now - FRESH_MS, None) == Permitted(now + 1)
    assert ask(now - FRESH_MS - 1, None) == Stale(now - FRESH_MS - 1)
    assert ask(now - FRESH_MS - 1, now - 5) == Permitted(now - 5 + FRESH_MS + 1)
    assert ask(None, now) == Permitted(now + FRESH_MS + 1)
    assert ask(None, None) == Stale(None)
    assert ask(now + FRESH_MS + 1, None) == Stale(now + FRESH_MS + 1), "by a clock far behind all headers are fresh"
    assert isinstance(verdict(story.state, subject(), Clocks(now, None)), Permitted), "ordinary models need none"


def test_a_permit_says_until_when(story: Story) -> None:
    story.lease(0, 1)
    story.halt(20, 21, quietly=True)
    for day in (0.5, 1, 3.9):
        permit = story.at(day, x=systemic())
        assert isinstance(permit, Permitted)
        assert permit.until == min(ms(day) + FRESH_MS + 1, ms(1) + LEASE_GRACE_MS)
    story.hear(*story.given)
    assert story.at(1) == Permitted(ms(20) - HALT_LEAD_MS)
    assert isinstance(story.at(20.5), Halted)


# all together

WHEN = {"before": -1.0, "in it": 1.0, "after": 3.0, "after the extension": 6.0}
ACTIONS = ["none", "drill", "halt", "halt beyond", "halt, lifted", "halt, another lifted", "halt, extended"]


def told(story: Story, action: str, target: Global | Subnet | Miner | Models) -> None:
    """A HALT from day 0 to 2, or to 5."""
    match action:
        case "drill":
            story.drill(0, 2, target, recorded=False)
        case "halt beyond":
            story.halt_beyond(0, 2, target)
        case "halt, lifted":
            story.lift(0, story.halt(0, 2, target))
        case "halt, another lifted":
            story.halt(0, 2, target)
            story.lift(0, name("another"))
        case "halt, extended":
            story.extend(1, story.halt(0, 2, target), 2, 5)
        case "halt":
            story.halt(0, 2, target)
        case _:
            pass


def expected(action: str, covered: bool, klass: ModelClass, leased: bool, own: float, block: float | None) -> type:
    """The table, in as few words as it can be said."""
    begun = max(own, own if block is None else block) >= 0
    halting = covered and begun and action.startswith("halt")
    lifted = action == "halt, lifted"
    if klass is ModelClass.ORDINARY:
        end = 5 if action == "halt, extended" else 2
        ended = block is not None and own >= end and block >= end
        return Halted if halting and not lifted and not ended else Permitted
    if halting and not lifted:
        return Halted
    if not leased or halting:
        return Lapsed
    return Permitted if block is not None and own == block else Stale


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_table_of_verdicts(action: str, target: str) -> None:
    """Every action on every target, for a subject that it covers and one that it does not, at every pair of clocks."""
    seen: set[type] = set()
    for leased in (False, True):
        story = Story()
        if leased:
            story.lease(-10, 20, "model", "another")
        told(story, action, TARGETS[target])
        cells = itertools.product((True, False), ModelClass, WHEN.values(), [None, *WHEN.values()])
        for covered, klass, own, block in cells:
            x = (subject() if covered or target == "global" else ELSEWHERE)._replace(model_class=klass)
            found = type(story.at(own, block=block, x=x))
            reached = covered or target == "global"
            assert found is expected(action, reached, klass, leased, own, block), (leased, covered, klass, own, block)
            seen.add(found)
    assert seen >= {Permitted, Lapsed, Stale}


def test_the_authority_is_in_the_order_itself(story: Story) -> None:
    """The same HALT signed by both keys would be two things under one id."""
    a, b = story.halt(0, 2), story.halt_beyond(0, 2)
    actions = [story.state.orders[i].order.action for i in (a, b)]
    assert [getattr(x, "authority", None) for x in actions] == [GroupKey.HALT, GroupKey.LIFT]
    assert models("model") == getattr(actions[0], "target", None)
