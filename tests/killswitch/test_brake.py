"""The set: what comes in, that it is a join, how it is bounded, what may be forgotten."""

import itertools
import random

import pytest

from davy.killswitch import brake
from davy.killswitch.brake import BrakeState, first_state, forget, head, heartbeat, join, merge, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.verdict import Cause, Halted, Lapsed, Permitted, verdict
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, Misdirected, UnknownRoster
from davy.protocol.genesis import chain_id
from davy.protocol.limits import DAY_MS, MAX_RIVAL_ROSTERS
from davy.protocol.order import Global, GroupKey, Halt, Install, SignedOrder
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.signing import Domain, digest, sign
from tests.killswitch.story import MINUTE, Story, genesis, models, ms, name, order_of, subject, systemic
from tests.twins.keyholders import Keyholders


@pytest.fixture
def many(story: Story) -> Story:
    """One of each kind, over two rosters."""
    new = Keyholders(1)
    first = story.halt(0, 5)
    story.extend(4, first, 5, 9)
    second = story.halt(1, 3)
    story.lift(2, second)
    story.lease(2, 20)
    raised = story.raise_class(2, "other")
    story.lower(3, (), (raised,))
    story.install(6, new, first)
    story.halt(7, 9, Global(), by=new)
    return story


def test_one_state_whatever_the_order_of_arrival_and_however_often(many: Story) -> None:
    ids = list(many.given)
    seed = first_state(many.genesis)
    assert len(many.state.orders) == len(ids) == 9
    for turn in range(50):
        rng = random.Random(turn)
        s = seed
        waiting = [many.given[i] for i in ids * 2]
        rng.shuffle(waiting)
        while waiting:  # an order whose INSTALL is not known yet is asked for again, as a peer would
            cut = rng.randrange(1, len(waiting) + 1)
            taken = take(s, waiting[:cut])
            s = taken.state
            assert all(isinstance(e, UnknownRoster) for _, e in taken.refused)
            waiting = waiting[cut:] + [raw for raw, _ in taken.refused]
        assert dict(s.orders) == dict(many.state.orders)
        assert head(s) == head(many.state)


def test_a_batch_may_hold_an_order_before_its_install(many: Story) -> None:
    raws = list(many.given.values())
    taken = take(first_state(many.genesis), reversed(raws))
    assert (dict(taken.state.orders), taken.refused) == (dict(many.state.orders), ())


def test_merging_is_commutative_associative_and_idempotent(many: Story) -> None:
    seed = first_state(many.genesis)
    orders = list(many.state.orders.values())
    parts = [merge(seed, orders[n::3]) for n in range(3)]
    a, b, c = (record(s, {v.id: ms(n)}) for n, (s, v) in enumerate(zip(parts, orders, strict=False)))
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == a
    assert dict(join(join(a, b), c).orders) == dict(many.state.orders)
    assert join(many.state, seed) == many.state == join(seed, many.state)


def test_states_of_two_chains_are_not_joined(story: Story) -> None:
    other = first_state(genesis((story.keyholders.roster,), "another"))
    with pytest.raises(Misdirected, match="two chains"):
        join(story.state, other)


def test_the_head_is_the_set_s_digest(story: Story) -> None:
    assert head(story.state) == EMPTY_BRAKE_HEAD
    a, b = story.halt(0, 1), story.halt(0, 2)
    assert head(story.state) == digest(Domain.BRAKE_HEAD, min(a, b) + max(a, b))


def test_drills_and_heartbeats_verify_and_never_touch_the_state(story: Story) -> None:
    before = story.state
    story.drill(0, 1, Global(), recorded=False)
    story.heartbeat(0, recorded=False)
    assert story.state is before
    assert isinstance(story.at(0.1), Permitted)
    taken = take(story.state, story.given.values())
    assert len(taken.orders) == 2, "the guard attests a drill, and reads a heartbeat"


def test_two_signatures_for_one_order_are_one_order(story: Story) -> None:
    """Whoever holds the key can sign twice; what is kept does not depend on which came first."""
    i = story.halt(0, 1)
    known = story.state.orders[i]
    other = known._replace(raw=known.raw + b"another signature")
    seed = first_state(story.genesis)
    one, two = merge(merge(seed, [known]), [other]), merge(merge(seed, [other]), [known])
    assert one == two
    assert len(one.orders) == 1


def refused(story: Story, raw: bytes) -> Exception:
    before = story.state
    taken = take(before, [raw])
    assert taken.state is before
    assert taken.orders == ()
    ((bytes_, error),) = taken.refused
    assert bytes_ == raw
    return error


def test_what_is_not_signed_by_the_right_key_is_reported_and_not_merged(story: Story) -> None:
    k = story.keyholders
    order = k.order(story.chain, Halt(models("model"), GroupKey.HALT), ms(0), ms(1))
    body = encode(order)
    wrong = [
        sign(k.secrets[GroupKey.LIFT], Domain.ORDER, body),
        sign(k.secrets[GroupKey.HALT], Domain.TX, body),
        bytes(64),
    ]
    for signature in wrong:
        assert isinstance(refused(story, encode(SignedOrder(1, body, (signature,)))), BadSignature)
    good = sign(k.secrets[GroupKey.HALT], Domain.ORDER, body)
    assert isinstance(refused(story, encode(SignedOrder(1, body, (good, good)))), BadSignature)
    assert take(story.state, [encode(SignedOrder(1, body, (good,)))]).refused == ()


def test_a_known_order_with_a_bad_signature_is_still_refused(story: Story) -> None:
    i = story.halt(0, 1)
    body = encode(story.state.orders[i].order)
    assert isinstance(refused(story, encode(SignedOrder(1, body, (bytes(64),)))), BadSignature)


def test_an_order_of_another_chain_is_refused(story: Story) -> None:
    other = chain_id(genesis((story.keyholders.roster,), "another"))
    k = story.keyholders
    raw = k.sign(k.order(other, Halt(Global(), GroupKey.HALT), ms(0), ms(1)))
    assert isinstance(refused(story, raw), Misdirected)
    assert merge(story.state, [order_of(raw)]) is story.state


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_who_sends_what_does_not_verify_is_heard_no_longer_than_is_agreed(story: Story, patience: int) -> None:
    """A signature costs the verifier more than the sender: what was not looked at is not reported either."""
    k = story.keyholders
    bodies = [encode(k.order(story.chain, Halt(Global(), GroupKey.HALT), ms(0), ms(days))) for days in (1, 2, 3)]
    bad = [encode(SignedOrder(1, body, (bytes(64),))) for body in bodies]
    asked = itertools.count(1)
    taken = take(story.state, bad, go_on=lambda: next(asked) < patience)
    assert len(taken.refused) == patience
    assert next(asked) == patience + 1


def test_nothing_that_comes_from_outside_raises(story: Story) -> None:
    good = story.given[story.halt(0, 1)]
    rng = random.Random(0)
    for _ in range(500):
        raw = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        taken = take(story.state, [bytes(raw), b"", bytes(raw[: rng.randrange(len(raw))])])
        assert taken.state is story.state
    assert isinstance(refused(story, b"\xc1"), Malformed)


def test_without_keys_nothing_grows_the_state(story: Story) -> None:
    stranger = Keyholders(0, "stranger")
    junk = [stranger.sign(stranger.order(story.chain, Halt(Global(), GroupKey.HALT), ms(0), ms(1))) for _ in range(50)]
    taken = take(story.state, junk)
    assert taken.state is story.state
    assert {type(e) for _, e in taken.refused} == {UnknownRoster}


def test_a_chain_without_keyholders_cannot_be_halted() -> None:
    s = first_state(genesis(()))
    k = Keyholders()
    taken = take(s, [k.sign(k.order(s.chain, Halt(Global(), GroupKey.HALT), ms(0), ms(1)))])
    assert (head(taken.state), len(taken.refused)) == (EMPTY_BRAKE_HEAD, 1)
    assert isinstance(verdict(s, subject(), Clocks(ms(0), ms(0))), Permitted)
    assert verdict(s, systemic(), Clocks(ms(0), ms(0))) == Lapsed(None)


def test_the_recorded_time_of_an_order_is_its_first(story: Story) -> None:
    s = record(record(story.state, {b"a": 5, b"b": 5}), {b"a": 3, b"b": 7})
    assert s.recorded == {b"a": 3, b"b": 5}


# bounds


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(brake, "MAX_BRAKE_ORDERS", 6)
    return 6


def test_a_full_brake_stops_everything_until_the_next_roster(story: Story, small: int) -> None:
    for _ in range(small):
        story.halt(0, 1, models("other"))
    assert isinstance(story.at(0), Permitted)
    story.halt(0, 1, models("other"))
    full = story.at(500)
    assert isinstance(full, Halted)
    assert (full.cause, full.ends) == (Cause.FULL, None)
    story.lift(0, *story.state.orders)
    assert story.at(500) == full, "no LIFT empties it"
    new = Keyholders(1)
    story.install(500, new)
    assert story.at(506.9) == full._replace(ends=ms(507))
    assert isinstance(story.at(507), Permitted)
    assert isinstance(story.at(508, block=506), Halted), "only once all clocks are past it"


def test_a_flood_keeps_the_same_orders_everywhere_and_no_more(story: Story, small: int) -> None:
    ids = [story.halt(0, 1, quietly=True) for _ in range(3 * small)]
    orders = [order_of(story.given[i]) for i in ids]
    seed = first_state(story.genesis)
    for turn in range(20):
        random.Random(turn).shuffle(orders)
        a, b, c = (merge(seed, orders[n::3]) for n in range(3))
        states = [merge(seed, orders), join(join(a, b), c), join(a, join(c, b))]
        for s in states:
            assert set(s.orders) == set(sorted(ids)[: small + 1])
            full = verdict(s, subject("never named"), Clocks(ms(0), ms(0)))
            assert isinstance(full, Halted)
            assert full.cause is Cause.FULL


def test_evicted_members_can_push_out_nothing_that_was_carried(story: Story, small: int) -> None:
    kept = story.halt(0, 1)
    story.install(1, Keyholders(1), kept)
    for _ in range(3 * small):
        story.halt(0.5, 1, models("other"))
    assert kept in story.state.orders
    assert len(story.state.orders) == small + 3
    assert isinstance(story.at(60, x=systemic()), Halted)
    assert isinstance(story.at(60), Permitted), "and the full book is closed"


def test_rival_rosters_are_bounded_and_stay_a_dispute(story: Story) -> None:
    orders = [order_of(story.given[story.install(1, Keyholders(1, f"rival {n}"), quietly=True)]) for n in range(10)]
    seed = first_state(story.genesis)
    for turn in range(10):
        random.Random(turn).shuffle(orders)
        a, b = merge(seed, orders[:5]), merge(seed, orders[5:])
        assert join(a, b) == merge(seed, orders) == join(b, a)
    state = merge(seed, orders)
    assert len(state.orders) == MAX_RIVAL_ROSTERS
    disputed = verdict(state, subject(), Clocks(ms(2), ms(2)))
    assert isinstance(disputed, Halted)
    assert disputed.cause is Cause.DISPUTE
    out = next(v for v in orders if v.id not in state.orders)
    settled = merge(record(state, {out.id: ms(1)}), [out])
    assert out.id in settled.orders, "the recorded one comes back in"
    assert isinstance(verdict(settled, subject(), Clocks(ms(2), ms(2))), Permitted)


def test_orders_of_a_roster_that_is_not_known_are_kept_within_bounds(many: Story, small: int) -> None:
    """`take` verifies none, but a state may be joined with one that knows the INSTALL."""
    new = Keyholders(1)
    orders = [order_of(many.given[many.halt(7, 8, by=new, quietly=True)]) for _ in range(3 * small)]
    s = merge(first_state(many.genesis), orders)
    assert set(s.orders) == set(sorted(v.id for v in orders)[: small + 1])
    assert isinstance(verdict(s, subject(), Clocks(ms(7), ms(7))), Permitted), "they count only with their INSTALL"


@pytest.fixture
def stolen(story: Story, small: int) -> tuple[Keyholders, list[bytes], list[bytes]]:
    """Whoever has the LIFT key puts a roster of his own after it, and another after that, and both sign a great many.

    Returns the honest successors, and what they and the thief signed.
    """
    honest, one, two = Keyholders(1), Keyholders(1, "thief"), Keyholders(2, "thief")
    loot = [story.install(1, one, quietly=True), story.install(1, two, by=one, quietly=True)]
    loot += [story.halt(1, 2, models("other"), by=by, quietly=True) for by in (one, two) for _ in range(small + 3)]
    loot.append(story.install(1, Keyholders(3, "thief"), *loot[2:6], by=two, quietly=True))
    mine = [story.install(2, honest, quietly=True), story.halt(2, 4, by=honest, quietly=True)]
    return honest, mine, loot


def test_while_rosters_dispute_an_office_nothing_of_either_is_forgotten(
    story: Story, stolen: tuple[Keyholders, list[bytes], list[bytes]]
) -> None:
    _, mine, loot = stolen
    story.hear(*loot, *mine)
    assert set(mine) <= story.state.orders.keys()
    disputed = story.at(2)
    assert isinstance(disputed, Halted)
    assert disputed.cause is Cause.DISPUTE


def test_the_record_of_who_follows_sheds_what_a_thief_s_rosters_signed(
    story: Story, stolen: tuple[Keyholders, list[bytes], list[bytes]]
) -> None:
    _, mine, loot = stolen
    story.hear(*loot, *mine)
    settled = record(story.state, {mine[0]: ms(2)})
    installs = [i for i in loot if isinstance(order_of(story.given[i]).order.action, Install)]
    assert set(settled.orders) == {*mine, *installs}
    found = verdict(settled, subject(), Clocks(ms(3), ms(3)))
    assert isinstance(found, Halted)
    assert found.order.id == mine[1]
    assert isinstance(verdict(settled, subject("other"), Clocks(ms(3), ms(3))), Permitted)
    again = take(settled, [story.given[i] for i in loot])
    assert again.state is settled
    assert again.refused == (), "who has not seen the record still exchanges sets with who has"
    for turn in range(10):
        orders = [order_of(story.given[i]) for i in (*mine, *loot)]
        random.Random(turn).shuffle(orders)
        known = record(first_state(story.genesis), {mine[0]: ms(2)})
        a, b = merge(known, orders[::2]), merge(known, orders[1::2])
        assert join(a, b) == join(b, a) == merge(known, orders)
        assert dict(join(a, b).orders) == dict(settled.orders)


# forgetting


def test_a_lapsed_lease_is_forgotten_and_a_tombstone_is_not(story: Story) -> None:
    halt = story.halt(0, 1)
    lift = story.lift(0.5, halt)
    lease = story.lease(1, 31)
    for day in (33.9, 34):
        s = forget(story.state, Clocks(ms(day), ms(day)))
        assert (lease in s.orders) is (day < 34)
        assert {halt, lift} <= s.orders.keys()
        assert set(s.recorded) == set(s.orders)
    assert set(forget(story.state, Clocks(ms(9_999), ms(9_999))).orders) == {halt, lift}


def test_a_replaced_roster_s_orders_are_forgotten_once_they_can_matter_no_more(story: Story) -> None:
    halt, carried = story.halt(0, 5), story.halt(1, 6)
    lift = story.lift(2, halt)
    install = story.install(3, Keyholders(1), carried)
    end = 3 + 7 + 90 + 5 * MINUTE
    assert halt in forget(story.state, Clocks(ms(end) - 1, ms(end))).orders
    assert set(forget(story.state, Clocks(ms(end), ms(end))).orders) == {carried, install}
    assert lift in forget(story.state, Clocks(ms(end), None)).orders, "never on a node that cannot see the chain"
    unrecorded = BrakeState(story.chain, story.state.first, story.state.orders)
    assert set(forget(unrecorded, Clocks(ms(end), ms(end))).orders) == {halt, carried, lift, install}


def test_what_an_install_leaves_out_is_kept_while_another_may_take_its_place(story: Story) -> None:
    """The second INSTALL is not on the ledger: one that is, and that carries the HALT, would win."""
    second, day = Keyholders(1), 4 + 7 + 90 + 1
    halt = story.halt(0, 5)
    story.install(3, second, halt)
    story.install(4, Keyholders(2), by=second, recorded=False)
    lean = forget(story.state, Clocks(ms(day), ms(day)))
    assert isinstance(story.at(day, x=systemic()), Halted), "an INSTALL that no block holds ended the HALT"
    late = story.install(5, Keyholders(2, "other"), halt, by=second, quietly=True)
    s = record(take(lean, [story.given[late]]).state, {late: ms(day)})
    found = verdict(s, systemic(), Clocks(ms(day), ms(day)))
    assert isinstance(found, Halted)
    assert found.order.id == halt


def test_an_install_that_waits_for_its_block_keeps_nothing_that_one_before_it_left_out(story: Story) -> None:
    second, end = Keyholders(1), 3 + 7 + 90 + 5 * MINUTE
    halt = story.halt(0, 5)
    first = story.install(3, second)
    waiting = story.install(4, Keyholders(2), halt, by=second, recorded=False)
    assert halt in forget(story.state, Clocks(ms(end) - 1, ms(end))).orders
    assert set(forget(story.state, Clocks(ms(end), ms(end))).orders) == {first, waiting}


def test_forgetting_changes_no_verdict(many: Story) -> None:
    late = [many.given[many.halt(5.9, 12, Global(), quietly=True)], many.given[many.lease(5, 30, quietly=True)]]
    asked = [subject(), systemic(), systemic("other")]
    for day, own, block in itertools.product((30, 60, 104, 200), (0, 1, 40), (0, 2)):
        lean = forget(many.state, Clocks(ms(day), ms(day)))
        at = Clocks(ms(day + own), ms(day + block))
        for x in asked:
            assert verdict(lean, x, at) == verdict(many.state, x, at)
            assert verdict(take(lean, late).state, x, at) == verdict(take(many.state, late).state, x, at)
    assert len(forget(many.state, Clocks(ms(200), ms(200))).orders) < len(many.state.orders)


# heartbeats


def test_a_heartbeat_counts_from_the_roster_in_office_near_the_own_clock(story: Story) -> None:
    beat = order_of(story.given[story.heartbeat(1, quietly=True)])
    s, issued = story.state, ms(1)
    assert [heartbeat(s, beat, issued + d) for d in (0, 60_000, 60_001, -60_000, -60_001)] == [
        issued,
        issued,
        None,
        issued,
        None,
    ]
    other = order_of(story.given[story.halt(1, 2)])
    assert heartbeat(story.state, other, issued) is None
    new = Keyholders(1)
    story.install(1, new)
    assert heartbeat(story.state, beat, issued) is None, "evicted members keep nobody running"
    fresh = order_of(story.given[story.heartbeat(1, by=new, quietly=True)])
    assert heartbeat(story.state, fresh, issued) == issued
    story.install(1, Keyholders(1, "rival"))
    story.state = BrakeState(story.chain, story.state.first, story.state.orders)
    assert heartbeat(story.state, fresh, issued) is None, "nor do rivals"


def test_names_are_what_they_seem() -> None:
    assert name("model") in models("model").ids
    assert ms(1) - ms(0) == DAY_MS
