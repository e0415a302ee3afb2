"""The chain of rosters: verified from the genesis alone; what a replaced roster can still do; two for one office."""

import pytest

from davy.killswitch.brake import first_state, record, take
from davy.killswitch.roster import follow
from davy.killswitch.verdict import Cause, Halted, Lapsed, Permitted
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, UnknownRoster
from davy.protocol.limits import SIGNER_SKEW_MS
from davy.protocol.order import GroupKey, Install, SignedOrder, open_order
from davy.protocol.signing import Domain, sign
from tests.killswitch.story import MINUTE, Story, facts, genesis, models, ms, subject, systemic
from tests.twins.keyholders import Keyholders


@pytest.fixture
def new() -> Keyholders:
    return Keyholders(1)


def test_the_keys_of_today_follow_from_the_genesis_alone(story: Story, new: Keyholders) -> None:
    third = Keyholders(2)
    story.install(1, new)
    story.install(2, third, by=new)
    i = story.halt(3, 5, by=third)
    stranger = take(first_state(story.genesis), [story.given[i], *story.given.values()])
    assert stranger.refused == ()
    assert [link.roster for link in stranger.state.succession.links] == [
        k.digest for k in (story.keyholders, new, third)
    ]


def test_an_order_before_its_install_is_reported_and_taken_later(story: Story, new: Keyholders) -> None:
    install = story.install(1, new, quietly=True)
    halt = story.halt(2, 4, by=new, quietly=True)
    taken = take(story.state, [story.given[halt]])
    ((_, error),) = taken.refused
    assert isinstance(error, UnknownRoster)
    assert taken.state is story.state
    story.hear(install)
    story.hear(halt)
    assert isinstance(story.at(3), Halted)


@pytest.mark.parametrize("missing", range(3))
def test_an_install_needs_the_old_lift_key_and_both_new_ones(story: Story, new: Keyholders, missing: int) -> None:
    raw = story.given[story.install(1, new, quietly=True)]
    signed, _ = open_order(raw)
    signatures = list(signed.signatures)
    for spoilt in ([*signatures[:missing], bytes(64), *signatures[missing + 1 :]], signatures[:2], signatures[::-1]):
        taken = take(story.state, [encode(SignedOrder(1, signed.order, tuple(spoilt)))])
        assert [type(e) for _, e in taken.refused] == [BadSignature]


def test_the_halt_key_installs_nobody(story: Story, new: Keyholders) -> None:
    raw = story.given[story.install(1, new, quietly=True)]
    signed, _ = open_order(raw)
    by_halt = sign(story.keyholders.secrets[GroupKey.HALT], Domain.ORDER, signed.order)
    taken = take(story.state, [encode(SignedOrder(1, signed.order, (by_halt, *signed.signatures[1:])))])
    assert [type(e) for _, e in taken.refused] == [BadSignature]


def test_an_install_names_the_epoch_and_the_roster_it_follows(story: Story, new: Keyholders) -> None:
    k = story.keyholders
    wrong = [
        Install(Keyholders(2).roster, k.digest, ()),
        Install(Keyholders(0, "again").roster, k.digest, ()),
        Install(new.roster, new.digest, ()),
    ]
    for action in wrong:
        taken = take(story.state, [k.sign(k.order(story.chain, action, ms(1)), new)])
        assert [type(e) for _, e in taken.refused] == [Malformed]


def test_halts_in_force_carry_over(story: Story, new: Keyholders) -> None:
    known, unknown = story.halt(0.5, 6), story.halt(0.9, 6, models("other"))
    story.install(1, new, known)
    assert isinstance(story.at(5.9), Halted)
    assert isinstance(story.at(5.9, x=subject("other")), Halted), "named or not, to its end"
    assert isinstance(story.at(6), Permitted)
    assert isinstance(story.at(99, x=systemic()), Halted), "a systemic one that is carried, until it is lifted"
    late = story.at(7.9, x=systemic("other"))
    assert isinstance(late, Halted)
    assert (late.order.id, late.ends) == (unknown, ms(8)), "one that is not, for the time it takes to sign it anew"
    assert isinstance(story.at(8, x=systemic("other")), Lapsed), "and even then it needs a LEASE of the new roster"


def test_the_new_lift_key_lifts_what_was_carried_and_the_old_one_does_not(story: Story, new: Keyholders) -> None:
    halt, other = story.halt(0, 6), story.halt(0, 6, models("other"))
    story.install(1, new, halt)
    story.lift(0.9, halt, other)
    assert isinstance(story.at(1), Halted), "whoever stole the old key may date back"
    assert isinstance(story.at(1, x=subject("other")), Permitted), "what was not carried it could lift"
    story.lift(1, halt, by=new)
    assert isinstance(story.at(1), Permitted)


def test_an_old_lift_does_not_end_a_new_roster_s_halt(story: Story, new: Keyholders) -> None:
    story.install(1, new)
    halt = story.halt(2, 6, by=new)
    story.lift(1, halt)
    assert isinstance(story.at(2), Halted)


def test_an_order_issued_after_the_replacement_does_not_count(story: Story, new: Keyholders) -> None:
    story.install(1, new)
    story.halt(1 + 6 * MINUTE, 5)
    assert isinstance(story.at(2), Permitted)
    story.halt(1 + 5 * MINUTE, 5)
    assert isinstance(story.at(2), Halted), "as far as a signer's clock may be off, it does"
    assert ms(5 * MINUTE) - ms(0) == SIGNER_SKEW_MS


def test_an_install_that_was_kept_back_ends_nothing_that_was_halted_meanwhile(story: Story, new: Keyholders) -> None:
    """Its coordinator says that it failed, and hands it in days later: the ledger's block tells when that was."""
    named, forgotten = story.halt(0.5, 7), story.halt(0.6, 7, models("third"))
    kept_back = story.install(1, new, named, recorded=False, quietly=True)
    halt = story.halt(5, 11, models("other"))
    story.extend(6.9, forgotten, 7, 13)
    raised = story.raise_class(9, "fourth")
    stopped = (subject("other"), subject("third"), systemic("other"), subject("fourth"))
    before = [story.at(9.5, x=x) for x in stopped]
    assert not any(isinstance(v, Permitted) for v in before)
    story.hear(kept_back)
    assert [story.at(9.5, x=x) for x in stopped] == before
    story.state = record(story.state, {kept_back: ms(9.5)})
    assert isinstance(story.at(10.9, x=subject("other")), Halted)
    assert isinstance(story.at(12.9, x=subject("third")), Halted)
    assert isinstance(story.at(16.4, x=subject("fourth")), Lapsed), "the Raise, too"
    assert isinstance(story.at(99, x=systemic()), Halted)
    late = story.at(16.4, x=systemic("other"))
    assert isinstance(late, Halted)
    assert (late.order.id, late.ends) == (halt, ms(16.5)), "the new keyholders have a week from when it was handed in"
    assert isinstance(story.at(16.5, x=systemic("other")), Lapsed), "and what is systemic needs their LEASE"
    assert raised in story.state.orders


def test_a_lift_and_a_lease_given_before_an_install_was_handed_in_go_on(story: Story, new: Keyholders) -> None:
    """Nor does who keeps one back halt anew what was lifted, or stop at once what was leased."""
    halt = story.halt(0, 7)
    kept_back = story.install(1, new, recorded=False, quietly=True)
    story.lift(2, halt)
    story.lease(2, 20, "other")
    story.hear(kept_back)
    story.state = record(story.state, {kept_back: ms(8)})
    assert isinstance(story.at(3), Permitted)
    assert isinstance(story.at(10.9, x=systemic("other")), Permitted)
    assert story.at(11, x=systemic("other")) == Lapsed(ms(11))


def test_who_only_heard_of_an_install_counts_what_stops_and_not_what_permits(story: Story, new: Keyholders) -> None:
    """Until the ledger has recorded it nobody knows when the old roster's time was over."""
    story.lease(0.9, 20, "other", "model")
    story.install(1, new, recorded=False)
    halt = story.halt(2, 8)
    story.lease(2, 20, "third")
    assert isinstance(story.at(3), Halted)
    assert story.at(4, x=systemic("other")) == Lapsed(ms(4))
    assert story.at(4, x=systemic("third")) == Lapsed(None)
    story.lift(2.5, halt)
    assert isinstance(story.at(3), Halted), "nor does its LIFT"


def test_a_replaced_roster_s_leases_end_in_the_grace(story: Story, new: Keyholders) -> None:
    carried, left = story.lease(0, 30), story.lease(0, 30, "other")
    assert left in story.state.orders
    story.install(1, new, carried)
    assert isinstance(story.at(3.9, x=systemic("other")), Permitted)
    assert story.at(4, x=systemic("other")) == Lapsed(ms(4))
    assert isinstance(story.at(4, block=3.9, x=systemic("other")), Lapsed), "when either clock is past it"
    assert isinstance(story.at(29, x=systemic()), Permitted)


def test_a_replaced_roster_s_classes_end_each_with_the_delay_of_its_side(story: Story, new: Keyholders) -> None:
    story.raise_class(0)
    story.lower(0, ("other",))
    story.install(1, new)
    assert story.at(3.9, x=systemic("other")) == Permitted(ms(4))
    assert isinstance(story.at(4, block=3.9, x=systemic("other")), Lapsed)
    assert isinstance(story.at(7.9), Lapsed)
    assert isinstance(story.at(8, block=7.9), Lapsed)
    assert isinstance(story.at(8), Permitted)
    assert isinstance(story.at(7.9, x=subject("child", ancestors=(facts("model"),))), Lapsed)


def test_what_is_to_last_is_carried_by_every_install(story: Story, new: Keyholders) -> None:
    halt, third = story.halt(0, 1), Keyholders(2)
    story.install(1, new, halt)
    story.install(30, third, by=new)
    assert isinstance(story.at(36.9, x=systemic()), Halted)
    assert isinstance(story.at(37, x=systemic()), Lapsed)


def test_a_second_replacement_does_not_lengthen_what_the_first_left_to_end(story: Story, new: Keyholders) -> None:
    story.halt(0, 6)
    story.lease(0, 30, "other")
    story.install(1, new)
    story.install(3, Keyholders(2), by=new)
    assert isinstance(story.at(3.9, x=systemic("other")), Permitted)
    assert story.at(4, x=systemic("other")) == Lapsed(ms(4))
    assert isinstance(story.at(7.9, x=systemic()), Halted)
    assert isinstance(story.at(8, x=systemic()), Lapsed)


def test_two_rosters_for_one_office_stop_everything_until_the_ledger_tells(story: Story, new: Keyholders) -> None:
    """One stolen LIFT key, even an old one, is enough for a second INSTALL."""
    honest = story.install(1, new, recorded=False)
    thief = Keyholders(1, "thief")
    story.install(0.5, thief, recorded=False)
    story.halt(2, 3, models("other"), by=thief)
    stopped = story.at(500)
    assert isinstance(stopped, Halted)
    assert (stopped.cause, stopped.ends) == (Cause.DISPUTE, None)
    story.lift(500, *story.state.orders, by=thief, recorded=False)
    assert story.at(500) == stopped
    story.state = record(story.state, {honest: ms(1)})
    assert isinstance(story.at(2), Permitted)
    assert isinstance(story.at(2, x=subject("other")), Permitted), "nothing of the thief's counts"
    assert [link.roster for link in story.state.succession.links] == [story.keyholders.digest, new.digest]


def test_installing_one_roster_twice_is_no_dispute(story: Story, new: Keyholders) -> None:
    """Two coordinators at once: of the two the one with the smaller id counts, whichever came first."""
    both = [story.install(1, new, recorded=False), story.install(2, new, recorded=False)]
    assert [link.install for link in story.state.succession.links] == [b"", min(both)]
    assert list(story.state.orders) == [min(both)]


def test_no_first_roster_no_chain(story: Story) -> None:
    assert follow(None, story.state.orders.values(), {}).links == ()
    assert first_state(genesis(())).rosters == {}
