"""A rehearsal goes the whole way to a signature, and that signature is worth nothing anywhere."""

from __future__ import annotations

import pytest

from davy.keyholders.coordinator import Party, Signed, gather
from davy.keyholders.messages import (
    Answer,
    Ask,
    Boxed,
    Boxes,
    Commit,
    Committed,
    Consider,
    Parted,
    Parts,
    Rehearse,
    Sign,
    Waiting,
    Willing,
    proposal_id,
)
from davy.keyholders.screen import REHEARSAL
from davy.keyholders.voice import Voice
from davy.killswitch.frost import signing_package
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, DavyError, Expired, Misbehaved, Misdirected, Refused
from davy.protocol.order import GroupKey, Order, SignedOrder, order_id, verify_order
from davy.protocol.signing import Domain, prefix, verify
from davy.protocol.words import PublicKey
from tests.keyholders.stage import CHAIN, KINDS, REASON, Bent, Person, Stage
from tests.keyholders.test_mending import lose, mended
from tests.keyholders.test_renewal import in_office, refreshed

pytestmark = pytest.mark.anyio


def rehearsing(order: Order) -> Rehearse:
    return Rehearse(encode(order), REASON, ())


async def staged(**policies: tuple[str, ...]) -> Stage:
    stage = Stage()
    for person in stage.people:
        person.yes_to = policies.get(person.name, (REHEARSAL,))
    return await stage.start()


async def go(person: Person, order: Order) -> Signed:
    return await gather(Party(await person.office(), person.voices()), rehearsing(order), person.means())


async def test_three_rehearse_and_no_place_takes_the_signature_for_an_order() -> None:
    stage = await staged()
    order = stage.people[0].order()
    done = await go(stage.people[0], order)
    assert len(done.signers) == 3
    assert stage.roster is not None
    verify(stage.roster.halt, Domain.REHEARSAL, encode(order), done.signature)
    with pytest.raises(BadSignature):
        verify_order(encode(SignedOrder(1, encode(order), (done.signature,))), stage.roster, CHAIN)
    for person in stage.people:
        assert not person.journal.kept, "nothing was signed that a LIFT would have to name"
        assert not person.journal.whole
        assert not person.finished


async def test_every_line_of_the_screen_says_so() -> None:
    stage = Stage()
    for person in stage.people:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    await go(stage.people[0], stage.people[0].order())
    screens = {p.seen[0].screen for p in stage.people}
    assert len(screens) == 1
    lines = screens.pop().splitlines()
    assert all(line.startswith("REHEARSAL | ") for line in lines)
    assert "HALT: stop this" in lines[1]
    assert stage.people[0].seen[0].kind == REHEARSAL


async def test_who_signs_unseen_signs_the_one_kind_only() -> None:
    real = await Stage().start()
    for person in real.people:
        person.hold_ms = 0
    bob, alice = real.people[1], real.people[0]
    assert REHEARSAL not in KINDS
    order = alice.order()
    assert isinstance(await bob.attendant.answer(alice.key, rehearsing(order)), Waiting)
    stage = await staged()
    with pytest.raises(Expired):
        await stage.people[0].complete(stage.people[0].order())


async def test_a_yes_to_a_rehearsal_is_none_to_the_order() -> None:
    """The coordinator rehearses an order with bob, and then asks for shares of the real one."""
    stage = await staged()
    alice, bob = stage.people[:2]
    order = alice.order()
    ask = rehearsing(order)
    assert isinstance(await bob.attendant.answer(alice.key, ask), Willing)
    assert proposal_id(ask) != order_id(encode(order)) == proposal_id(Consider(encode(order), REASON, ()))
    with pytest.raises(Expired, match="not known here"):
        await bob.attendant.answer(alice.key, Commit(order_id(encode(order)), b"\1" * 16, stage.generation))
    said = await bob.attendant.answer(alice.key, Commit(proposal_id(ask), b"\1" * 16, stage.generation))
    assert isinstance(said, Committed)
    others = []
    for person in (alice, stage.people[2]):
        assert isinstance(await person.attendant.answer(alice.key, ask), Willing)
        also = await person.attendant.answer(alice.key, Commit(proposal_id(ask), b"\1" * 16, stage.generation))
        assert isinstance(also, Committed)
        others.append(also.commitments)
    _, public = (await bob.office()).keys.of(GroupKey.HALT)
    package = signing_package(public, prefix(Domain.ORDER) + encode(order), [said.commitments, *others])
    with pytest.raises((Refused, Misdirected, Misbehaved)):
        await bob.attendant.answer(alice.key, Sign(proposal_id(ask), b"\1" * 16, package))


async def test_a_rehearsal_is_refused_as_the_order_would_be() -> None:
    stage = await staged()
    alice = stage.people[0]
    with pytest.raises(DavyError, match="another chain"):
        await go(alice, alice.order(chain=b"\7" * 32))
    with pytest.raises(DavyError, match="clock"):
        await go(alice, alice.order(issued=stage.clock.now() - 3_600_000))


async def test_a_rehearsed_refresh_goes_all_the_way_and_changes_nothing() -> None:
    stage = Stage()
    for person in stage.people:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    before = [dict(p.vault.bodies) for p in stage.people]
    done = await refreshed(stage, is_rehearsal=True)
    assert (done.generation.number, done.behind) == (0, ())
    assert [p.vault.bodies for p in stage.people] == before
    assert [what for name, what in stage.said if name == "erin"][-1] == "has its keys"
    shows_rehearsal(stage, "NEW SHARES of the same two keys")
    await refreshed(stage)
    assert in_office(stage) == [1] * 5


def shows_rehearsal(stage: Stage, title: str) -> None:
    screens = {p.seen[0].screen for p in stage.people}
    assert len(screens) == 1
    lines = screens.pop().splitlines()
    assert all(line.startswith("REHEARSAL | ") for line in lines)
    assert "NOTHING CHANGES BY THIS" in lines[0]
    assert title in lines[1]
    assert {p.seen[0].kind for p in stage.people} == {REHEARSAL}


async def test_a_rehearsed_repair_gives_nothing_to_anybody() -> None:
    """Whoever has another's 24 words, and says that it only rehearses, must not get the share."""
    stage = Stage()
    for person in stage.people:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    bob = stage.people[1]
    share = lose(bob)
    answers: list[Answer] = []

    def note(_: Ask, answer: Answer) -> Answer:
        answers.append(answer)
        return answer

    alice = stage.people[0]
    voices: dict[PublicKey, Voice] = {v.key: Bent(v, after=note) for v in alice.voices().values()}
    generation = await mended(stage, voices=voices, is_rehearsal=True)
    assert generation.number == 0
    assert not bob.vault.bodies, "nothing came back"
    assert not any(isinstance(a, Parted) for a in answers)
    assert sum(isinstance(a, Boxed) for a in answers) == 4, "four helpers went all the way"
    shows_rehearsal(stage, "A LOST SHARE is given back to bob")
    bob.vault.bodies[generation.roster] = share
    await mended(stage, is_rehearsal=True)
    assert bob.vault.bodies == {generation.roster: share}, "and who has its share keeps it"


async def test_a_yes_to_a_rehearsed_refresh_is_none_to_a_real_one() -> None:
    stage = await staged()
    await refreshed(stage, is_rehearsal=True)
    with pytest.raises(Expired):
        await refreshed(stage)
    real = await Stage().start()
    real.people[2].yes_to = KINDS
    with pytest.raises(Expired):
        await refreshed(real, is_rehearsal=True)


async def test_a_coordinator_that_goes_on_as_if_it_were_no_rehearsal_gets_no_share_staged_or_given() -> None:
    stage = await staged()
    alice, bob = stage.people[:2]
    asked: list[Ask] = []
    kept = {v.key: Bent(v, before=lambda a: (asked.append(a), a)[1]) for v in alice.voices().values()}
    await mended(stage, voices=dict(kept), is_rehearsal=True)
    ceremony = next(a.ceremony for a in asked if isinstance(a, Boxes))
    with pytest.raises(DavyError):
        await bob.attendant.answer(alice.key, Parts(ceremony, (), ()))
    assert in_office(stage) == [0] * 5
