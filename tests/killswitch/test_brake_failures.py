"""What has gone wrong in real systems, and what an adversary will try: one test each, as far as the brake can tell.

Where it happened: the name in brackets. What concerns signing, delivery or the guard is tested there.
"""

import pytest

from davy.killswitch.brake import first_state, forget, head, join, merge, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.verdict import Halted, Lapsed, Permitted, Stale, verdict
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, Misdirected, ModelHalted, UnknownRoster
from davy.protocol.limits import DAY_MS
from davy.protocol.order import Drill, Extend, Global, GroupKey, Halt, Lift, SignedOrder, Subnet, open_order
from davy.protocol.signing import Domain, sign
from tests.killswitch.guarded import Node
from tests.killswitch.story import Story, genesis, models, ms, name, subject, systemic
from tests.twins.keyholders import Keyholders


def test_a_dead_chain_does_not_report_that_nothing_is_halted(story: Story) -> None:
    """[THORChain] Who cannot see the chain is stale, and sees no HALT end; a verdict carries how fresh it is."""
    story.lease(0, 30)
    story.halt(0, 1, models("other"))
    assert story.at(5, block=0.5, x=systemic()) == Stale(ms(0.5))
    assert isinstance(story.at(500, block=0.5, x=subject("other")), Halted)
    assert isinstance(story.at(500, block=None, x=subject("other")), Halted)


@pytest.mark.anyio
async def test_a_process_that_stays_up_after_a_halt_serves_nothing(node: Node, story: Story) -> None:
    """[gno #5495] Process, P2P and RPC went on. Here they do too, for orders must travel; what is asked for stops."""
    guard = await node.open()
    assert node.runs()
    halt = story.halt(0, 3)
    assert await node.hear(halt) == []
    assert not node.runs()
    with pytest.raises(ModelHalted):
        async with guard.running(subject()):
            pytest.fail("work began under a halt")
    await node.pull(2, halt)
    assert not node.runs(), "the ledger's blocks go on, and nothing begins again with them"
    # what stays up: it still takes orders in, and answers for itself
    lift = story.lift(0, halt)
    assert await node.hear(lift) == []
    await node.pull(3, halt, lift)
    assert node.runs()


def test_a_rolled_back_state_does_not_erase_the_brake(story: Story) -> None:
    """[keep-core #4222] A restored backup joined with what anybody else knows is what everybody else has."""
    backup = story.state
    i = story.halt(0, 5)
    restored = join(backup, story.state)
    assert head(restored) == head(story.state)
    old_lift = story.lift(1, i)
    assert old_lift in join(restored, story.state).orders
    assert isinstance(verdict(restored, subject(), Clocks(ms(2), ms(2))), Halted), "the LIFT it lacks does not act"


def test_a_clock_set_back_brings_nothing_back(story: Story) -> None:
    """[keep-core #4222] Block time keeps a lapsed lease lapsed, whatever the own clock says now."""
    story.lease(0, 1)
    assert isinstance(story.at(2, block=4, x=systemic()), Lapsed)


def test_expiry_does_not_refill_the_allowance(story: Story) -> None:
    """[moonwell #657] The guardian could freeze for ever, one expired pause after the other."""
    for n in range(10):
        story.halt(8 * n, 8 * n + 7)
    halted = sum(isinstance(story.at(day + 0.5), Halted) for day in range(90))
    assert halted == 21
    story.halt(89, 96)
    assert isinstance(story.at(89.9), Permitted)
    assert isinstance(story.at(90.5), Halted), "as time leaves the window, there is some again"


def test_a_second_needed_halt_waits_for_nothing(story: Story) -> None:
    """[sherlock 2023-12-arcadia #19] A cooldown blocked it."""
    first = story.halt(0, 1)
    story.lift(0.5, first)
    story.halt(0.5, 2)
    assert isinstance(story.at(0.5), Halted)
    story.halt(2, 3)
    assert isinstance(story.at(2), Halted)


def test_an_extend_does_not_revive_what_has_ended(story: Story) -> None:
    """[SuperchainConfig #374, #392]"""
    i = story.halt(0, 1)
    k = story.keyholders
    late = k.sign(k.order(story.chain, Extend(i, ms(1)), ms(1) + 1, ms(2)))
    assert [type(e) for _, e in take(story.state, [late]).refused] == [Malformed]
    story.extend(1, i, 1, 2)
    assert isinstance(story.at(1.5), Halted), "issued at the very end it is in time"
    story.extend(1.9, i, 3, 4)
    assert isinstance(story.at(3.5), Permitted), "an end that never was cannot be extended"
    lifted = story.halt(5, 6)
    story.lift(5.1, lifted)
    story.extend(5.2, lifted, 6, 7)
    assert isinstance(story.at(5.5), Permitted)
    assert isinstance(story.at(6.5), Permitted)


def test_escalation_leaves_no_gap(story: Story) -> None:
    """[etherfi #382] From timed to lasting needed a moment without a pause."""
    story.halt(0, 7)
    story.raise_class(3)
    story.halt_beyond(4, 11)
    for day in (0, 2.99, 3, 3.99, 4, 6.99, 7, 10):
        assert isinstance(story.at(day), Halted)
    assert isinstance(story.at(400), Halted), "systemic now: until it is lifted"


def test_evicted_members_cannot_keep_sending(story: Story) -> None:
    """[near/mpc #3739, drand #918, #1190] The old keys still sign; it no longer counts, or not for long."""
    new = Keyholders(1)
    story.install(1, new)
    story.halt(2, 5)
    story.lease(2, 30)
    assert isinstance(story.at(3), Permitted)
    assert isinstance(story.at(3, x=systemic()), Lapsed)
    story.halt(0.9, 5, Subnet(1))
    story.lease(0.9, 30, "other")
    assert isinstance(story.at(4.9), Halted), "dated back it stops for a while"
    assert isinstance(story.at(5), Permitted)
    assert isinstance(story.at(8, x=systemic("other")), Lapsed)


def test_a_resharing_is_never_stuck(story: Story) -> None:
    """[near/mpc #3739] Old and new are both known at once: what was signed under either is in force."""
    new = Keyholders(1)
    old_halt, install = story.halt(0.9, 5), story.install(1, new, quietly=True)
    halt = story.halt(1, 5, models("other"), by=new, quietly=True)
    story.hear(halt, install)
    assert isinstance(story.at(2), Halted)
    assert isinstance(story.at(2, x=subject("other")), Halted)
    story.lift(2, old_halt, by=new)
    assert isinstance(story.at(2), Permitted)


# what an adversary will try


@pytest.mark.parametrize("change", ["chain", "epoch", "roster", "action", "target"])
def test_replay_across_network_epoch_action_and_scope_is_refused(story: Story, change: str) -> None:
    k = story.keyholders
    raw = story.given[story.halt(0, 1, quietly=True)]
    signed, o = open_order(raw)
    fields = {f: getattr(o, f) for f in o.__struct_fields__}
    fields |= {
        "chain": {"chain": name("elsewhere")},
        "epoch": {"epoch": 1},
        "roster": {"roster": Keyholders(0, "again").digest},
        "action": {"action": Drill(models("model"))},
        "target": {"action": Halt(Global(), GroupKey.HALT)},
    }[change]
    other = encode(SignedOrder(1, encode(type(o)(**fields)), signed.signatures))
    ((_, error),) = take(story.state, [other]).refused
    assert isinstance(error, BadSignature | Misdirected | UnknownRoster)
    there = first_state(genesis((k.roster,), "elsewhere"))
    assert [type(e) for _, e in take(there, [raw]).refused] == [Misdirected]


def test_a_lift_signed_by_the_halt_key_is_refused_and_a_halt_by_the_lift_key_that_does_not_say_so(story: Story) -> None:
    k = story.keyholders
    for action, end, key in [
        (Lift((story.halt(0, 5),)), 0, GroupKey.HALT),
        (Halt(Global(), GroupKey.HALT), ms(1), GroupKey.LIFT),
        (Halt(Global(), GroupKey.LIFT), ms(1), GroupKey.HALT),
    ]:
        body = encode(k.order(story.chain, action, ms(0), end))
        raw = encode(SignedOrder(1, body, (sign(k.secrets[key], Domain.ORDER, body),)))
        assert [type(e) for _, e in take(story.state, [raw]).refused] == [BadSignature]


def test_a_drill_is_never_real(story: Story) -> None:
    story.drill(0, 5, Global(), recorded=False)
    assert isinstance(story.at(1), Permitted)
    assert story.state.orders == {}


def test_an_old_lift_after_a_new_halt_ends_only_what_it_names(story: Story) -> None:
    old = story.halt(0, 5)
    lift = story.lift(1, old, quietly=True)
    new = story.halt(2, 5)
    story.hear(lift)
    left = story.at(3)
    assert isinstance(left, Halted)
    assert left.order.id == new


def test_a_lift_before_its_halt_is_a_tombstone(story: Story) -> None:
    """Reordering: the LIFT came by a faster route."""
    halt = story.halt(0, 5, quietly=True)
    story.lift(1, halt)
    story.hear(halt)
    assert isinstance(story.at(2), Permitted)
    old = forget(story.state, Clocks(ms(500), ms(500)))
    assert isinstance(verdict(old, systemic(), Clocks(ms(2), ms(2))), Lapsed), "the tombstone stays"


def test_another_signature_is_not_another_order(story: Story) -> None:
    """Malleability: s + L is refused by the verifier, and whatever verified is one order by its bytes."""
    order_count = 2**252 + 27742317777372353535851937790883648493
    i = story.halt(0, 1)
    signed, _ = open_order(story.given[i])
    (good,) = signed.signatures
    s = int.from_bytes(good[32:], "little")
    for other in (s + order_count, s | 1 << 255, order_count):
        raw = encode(SignedOrder(1, signed.order, (good[:32] + other.to_bytes(32, "little"),)))
        assert [type(e) for _, e in take(story.state, [raw]).refused] == [BadSignature]
    assert len(merge(story.state, [story.state.orders[i]] * 3).orders) == 1


def test_a_halt_suppressed_by_peers_is_seen_in_the_head(story: Story) -> None:
    """[GHSA-77r2-q4c3-v635] They never forward, yet keep good scores. Heads differ until it arrived by any route."""
    deprived = story.state
    story.halt(0, 1)
    assert head(deprived) != head(story.state)
    assert head(join(deprived, story.state)) == head(story.state)


def test_clock_skew_of_a_keyholder_changes_no_verdict(story: Story) -> None:
    story.halt(0.003, 1)
    assert isinstance(story.at(0), Halted), "four minutes ahead"
    assert isinstance(story.at(0, block=None), Halted)


def test_orders_with_extreme_numbers_are_taken_or_refused_and_never_raise(story: Story) -> None:
    k = story.keyholders
    top = 2**63 - 1
    for issued, end in [(0, 1), (top - 1, top), (top, top), (0, top), (top - DAY_MS, top)]:
        for action in (Halt(Global(), GroupKey.HALT), Extend(bytes(32), top - 1), Extend(bytes(32), 0)):
            story.state = take(story.state, [k.sign(k.order(story.chain, action, issued, end))]).state
    story.state = record(story.state, dict.fromkeys(story.state.orders, top))
    for own in (0, 1, top):
        for block in (None, 0, top):
            for x in (subject(), systemic()):
                assert verdict(story.state, x, Clocks(own, block)) is not None
    assert len(story.state.orders) >= 3
