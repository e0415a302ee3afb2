"""A rehearsal goes the whole way to a signature, and that signature is worth nothing anywhere."""

from __future__ import annotations

import pytest

from davy.keyholders.coordinator import Signed, gather
from davy.keyholders.messages import (
    Commit,
    Committed,
    Consider,
    Rehearse,
    Sign,
    Waiting,
    Willing,
    proposal_id,
)
from davy.keyholders.signer import REHEARSAL
from davy.killswitch.frost import signing_package
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, DavyError, Expired, Misbehaved, Misdirected, Refused
from davy.protocol.order import GroupKey, Order, SignedOrder, order_id, verify_order
from davy.protocol.signing import Domain, prefix, verify
from tests.keyholders.stage import CHAIN, KINDS, REASON, Person, Stage

pytestmark = pytest.mark.anyio


def rehearsing(order: Order) -> Rehearse:
    return Rehearse(encode(order), REASON, ())


async def staged(**policies: tuple[str, ...]) -> Stage:
    stage = Stage()
    for person in stage.people:
        person.yes_to = policies.get(person.name, (REHEARSAL,))
    return await stage.start()


async def go(person: Person, order: Order) -> Signed:
    return await gather(
        await person.office(),
        person.voices(),
        rehearsing(order),
        clock=person.stage.clock,
        entropy=person.entropy,
        told=person.stage.told,
    )


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
