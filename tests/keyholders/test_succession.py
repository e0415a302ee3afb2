"""An INSTALL is signed by two rosters at once and carries what stops; after it the old keys are worth nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from davy.keyholders.circle import fingerprint
from davy.keyholders.claims import LeavesStanding, nobody
from davy.keyholders.coordinator import Completed, Waits, tell
from davy.keyholders.messages import (
    Accede,
    Answer,
    Commit,
    Consider,
    Declined,
    Released,
    Willing,
    proposal_id,
)
from davy.keyholders.screen import REHEARSAL
from davy.keyholders.succession import Installing, roster_in_office
from davy.killswitch.brake import BrakeState, first_state, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.group import identifier
from davy.killswitch.verdict import Halted, Permitted, verdict
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import BadSignature, DavyError, Expired, Malformed, Misconfigured, Refused, Unauthorised
from davy.protocol.limits import DAY_MS, SIGNER_SKEW_MS
from davy.protocol.order import GroupKey, Halt, Install, Lift, Order, Raise, SignedOrder, VerifiedOrder, order_id
from davy.protocol.roster import roster_digest
from davy.protocol.signing import Domain, verify
from davy.protocol.words import KeyRole, key_text
from tests.keyholders.stage import REASON, Stage
from tests.keyholders.two_rosters import Two
from tests.killswitch.story import Story, models, subject
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
MINUTES = 60_000


async def two() -> Two:
    return Two(await Stage().start())


def brake(t: Two, orders: Sequence[VerifiedOrder]) -> BrakeState:
    """What a node knows that heard these, and saw them on the ledger as they were issued."""
    taken = take(first_state(t.genesis), [v.raw for v in orders])
    assert taken.refused == ()
    return record(taken.state, {v.id: v.order.issued for v in orders})


async def halted(t: Two, word: str = "model") -> Completed:
    end = t.stage.clock.now() + 7 * DAY_MS
    return await t.sign(t.old, Halt(models(word), GroupKey.HALT), end=end)


async def install_and_tell(t: Two, what: Installing | None = None) -> Completed:
    done = await t.install(what)
    for side in (t.old, t.new):
        await tell(t.voices(side), done.order.raw)
    return done


async def test_three_keys_put_the_next_roster_into_office() -> None:
    t = await two()
    done = await install_and_tell(t)
    state = brake(t, [done.order])
    assert [link.roster for link in state.succession.links] == [
        roster_digest(t.old.roster),
        roster_digest(t.new.roster),
    ]
    for person, _ in t.everybody():
        assert roster_in_office(t.genesis, await person.journal.signed()) == t.new.roster
    after = await t.sign(t.new, Halt(models("other"), GroupKey.HALT), end=t.stage.clock.now() + DAY_MS)
    assert after.order.order.epoch == 1
    assert isinstance(verdict(brake(t, [done.order, after.order]), subject("other"), now(t)), Halted)


def now(t: Two, later: int = 0) -> Clocks:
    at = t.stage.clock.now() + later
    return Clocks(at, at, None)


async def test_each_person_is_asked_once_and_all_see_the_same() -> None:
    t = await two()
    t.restart(yes_to=(), decide=lambda _: True)
    await t.install()
    for person, _ in t.everybody():
        assert len(person.seen) == 1, person.name
    roster = fingerprint(roster_digest(t.new.roster))
    for person, _ in t.everybody():
        shown = person.seen[0].screen
        assert shown.startswith("INSTALL: new keys and keyholders")
        assert f"new roster     {roster}" in shown
        for key in (*t.old.roster.members, *t.new.roster.members):
            assert key_text(KeyRole.KEYHOLDER, key) in shown, "who has no name here is shown by the key"
    leaver, stayer = t.old.people[0].seen[0].screen, t.coordinator.seen[0].screen
    assert "GOES           alice: holder_" in leaver
    assert "COMES          holder_" in leaver
    assert "stays          carol: holder_" in stayer


async def test_halts_outlive_the_roster_and_the_new_keys_lift_them() -> None:
    t = await two()
    first = await halted(t)
    done = await install_and_tell(t)
    assert isinstance(done.order.order.action, Install)
    assert done.order.order.action.carried == (first.order.id,)
    state = brake(t, [first.order, done.order])
    for later in (0, DAY_MS, 6 * DAY_MS):
        assert isinstance(verdict(state, subject(), now(t, later)), Halted)
    lift = await t.sign(t.new, Lift((first.order.id,)), named=[encode(first.order.order)])
    assert isinstance(verdict(brake(t, [first.order, done.order, lift.order]), subject(), now(t)), Permitted)


async def test_the_old_rosters_later_orders_are_refused() -> None:
    """By whoever heard of the INSTALL, before signing; and, of those who did not, by every node."""
    t = await two()
    first = await halted(t)
    install = await t.install()
    orders = [first.order, install.order]
    lift = await t.sign(t.old, Lift((first.order.id,)), named=[encode(first.order.order)])
    assert isinstance(verdict(brake(t, [*orders, lift.order]), subject(), now(t)), Halted), "it has no power over it"
    await t.stage.clock.sleep_until(t.stage.clock.now() + SIGNER_SKEW_MS + 1000)
    late = await halted(t, "other")
    state = brake(t, [*orders, late.order])
    assert state.succession.ends(late.order) is None
    assert isinstance(verdict(state, subject("other"), now(t)), Permitted)
    for side in (t.old, t.new):
        await tell(t.voices(side), install.order.raw)
    with pytest.raises(DavyError, match="carol: the roster in office here is of group epoch 1"):
        await halted(t, "third")


async def test_a_signer_insists_on_what_only_it_knows() -> None:
    """A share was released for a HALT that the coordinator never heard of."""
    t = await two()
    done = await halted(t)
    secret = encode(done.order.order)
    who = next(name for name in done.signers if name != t.coordinator.name)
    for person in t.stage.people:
        if person.name != who:
            person.journal.kept.clear()
        person.journal.whole.clear()
    old = t.voices(t.old)
    for voice in old.values():
        voice.slow = 0.0 if voice.name == who else 1.0
    with pytest.raises(LeavesStanding) as missing:
        await t.install(old=old)
    assert missing.value.halts == (secret,)
    what = await t.proposal()
    order = decode(what.order, Order, limit=65_536)
    carried = Install(t.new.roster, roster_digest(t.old.roster), (order_id(secret),))
    again = Installing(encode(msgspec.structs.replace(order, action=carried)), REASON, (secret,))
    assert (await t.install(again)).order.order.action == carried
    done = await t.install(what, heed=nobody)
    assert who not in done.signers, "nobody invents HALTs for ever: the others go on without it"


async def test_a_raise_is_carried_as_well() -> None:
    t = await two()
    await t.sign(t.old, Raise(models("model")))
    empty = await t.proposal()
    order = decode(empty.order, Order, limit=65_536)
    bare = Install(t.new.roster, roster_digest(t.old.roster), ())
    with pytest.raises(LeavesStanding):
        await t.install(Installing(encode(msgspec.structs.replace(order, action=bare)), REASON, ()))
    await t.install(empty)


def no(_: Answer) -> Answer:
    return Declined("no", ())


async def test_as_many_as_the_thresholds_leave_may_say_no() -> None:
    t = await two()
    old, new = ({v.name: v for v in t.voices(side).values()} for side in (t.old, t.new))

    async def go() -> Completed:
        sides = [{identifier(n): v for n, v in enumerate(voices.values(), 1)} for voices in (old, new)]
        return await t.install(old=sides[0], new=sides[1])

    old["alice"].bend = new["frank"].bend = no
    brake(t, [(await go()).order])
    new["grace"].bend = no
    with pytest.raises(Refused, match="new LIFT key: 3 of the 4 keyholders needed"):
        await go()
    new["grace"].bend, old["bob"].bend = lambda answer: answer, no
    with pytest.raises(Refused, match="old LIFT key: 3 of the 4 keyholders needed"):
        await go()


def wrong_share(answer: Answer) -> Answer:
    if not isinstance(answer, Released):
        return answer
    share = bytes([answer.share.share[0] ^ 1]) + answer.share.share[1:]
    return Released(msgspec.structs.replace(answer.share, share=share))


async def test_who_sends_a_wrong_share_of_a_new_key_is_named_and_the_others_install() -> None:
    t = await two()
    new = t.voices(t.new)
    for voice in new.values():
        voice.bend = wrong_share if voice.name == "grace" else voice.bend
        voice.slow = 1.0 if voice.name == "frank" else 0.0  # so that grace is among the first to commit
    done = await t.install(new=new)
    assert done.culprits == ("grace",)
    brake(t, [done.order])


async def test_only_the_install_of_its_own_roster_is_signed_ahead() -> None:
    t = await two()
    what = await t.proposal()
    order = decode(what.order, Order, limit=65_536)
    frank, own = t.signer("frank"), t.coordinator.key
    halt = msgspec.structs.replace(order, action=Halt(models("m"), GroupKey.HALT), end=order.issued + DAY_MS)
    with pytest.raises(Malformed, match="and no other"):
        await frank.answer(own, Accede(encode(halt), REASON, (), GroupKey.HALT, False))
    with pytest.raises(DavyError):
        await frank.answer(own, Consider(what.order, REASON, ()))
    stranger = msgspec.structs.replace(t.new.roster, halt=t.old.roster.halt)
    other = msgspec.structs.replace(order, action=Install(stranger, roster_digest(t.old.roster), ()))
    with pytest.raises(DavyError):
        await frank.answer(own, Accede(encode(other), REASON, (), GroupKey.HALT, False))
    elsewhere = msgspec.structs.replace(order, chain=bytes(32))
    said = await frank.answer(own, Accede(encode(elsewhere), REASON, (), GroupKey.HALT, False))
    assert isinstance(said, Declined)
    assert "another chain" in said.why
    with pytest.raises(Unauthorised):
        await frank.answer(t.stage.people[0].key, Accede(what.order, REASON, (), GroupKey.HALT, False))
    ask = Accede(what.order, REASON, (), GroupKey.LIFT, False)
    with pytest.raises(DavyError):
        await frank.answer(own, Commit(proposal_id(ask), bytes(16), bytes(32)))
    assert isinstance(await frank.answer(own, ask), Willing)


async def test_a_rehearsed_install_is_worth_nothing_and_says_so_on_every_line() -> None:
    t = await two()
    t.restart(yes_to=(), decide=lambda _: True)
    what = (await t.proposal())._replace(is_rehearsal=True)
    signed = await t.signatures(what)
    for key, one in zip((t.old.roster.lift, t.new.roster.halt, t.new.roster.lift), signed, strict=True):
        verify(key, Domain.REHEARSAL, what.order, one.signature)
    raw = encode(SignedOrder(1, what.order, tuple(one.signature for one in signed)))
    ((_, refused),) = take(first_state(t.genesis), [raw]).refused
    assert isinstance(refused, BadSignature)
    for person, _ in t.everybody():
        assert [m.kind for m in person.seen] == [REHEARSAL]
        assert all(line.startswith("REHEARSAL | ") for line in person.seen[0].screen.splitlines())
        assert not person.journal.kept
        assert not person.journal.whole


async def test_a_yes_to_a_rehearsed_install_is_none_to_the_real_one() -> None:
    t = await two()
    t.restart(yes_to=(REHEARSAL,))
    what = await t.proposal()
    frank, own = t.signer("frank"), t.coordinator.key
    assert isinstance(await frank.answer(own, Accede(what.order, REASON, (), GroupKey.HALT, True)), Willing)
    real = proposal_id(Accede(what.order, REASON, (), GroupKey.HALT, False))
    with pytest.raises(DavyError):
        await frank.answer(own, Commit(real, bytes(16), bytes(32)))
    with pytest.raises(Expired):
        await t.install(what, waits=Waits(2_000))


def test_of_two_who_claim_one_office_neither_is_believed() -> None:
    story = Story()
    installs = [story.given[story.install(1, Keyholders(1, name), quietly=True)] for name in ("", "thief")]
    assert roster_in_office(story.genesis, installs[:1]) == Keyholders(1).roster
    with pytest.raises(Misconfigured, match="2 rosters claim to follow group epoch 0"):
        roster_in_office(story.genesis, installs)
    with pytest.raises(Misconfigured, match="no keyholders"):
        roster_in_office(msgspec.structs.replace(story.genesis, keyholders=()), [])
