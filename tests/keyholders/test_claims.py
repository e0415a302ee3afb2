"""What signers say must be named: one who invents HALTs keeps nobody from signing, and an honest one is heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from davy.keyholders.claims import MAX_WORDS, Claims, Heed, naming, until_signed
from davy.keyholders.coordinator import Completed, Party, completed, gather
from davy.keyholders.messages import Answer, Ask, Consider, Declined, Released, Sign
from davy.keyholders.standing import in_force, known, left_of
from davy.keyholders.voice import Voice
from davy.killswitch.group import identifier
from davy.protocol.encoding import encode
from davy.protocol.limits import DAY_MS, MAX_NAMED_ORDERS, MAX_SHOWN_ORDERS
from davy.protocol.order import (
    Global,
    GroupKey,
    Halt,
    Install,
    Lift,
    Miner,
    OrderAction,
    SignedOrder,
    VerifiedOrder,
    order_id,
)
from davy.protocol.roster import roster_digest
from tests.keyholders.stage import CHAIN, REASON, Person, Stage, halt
from tests.keyholders.test_coordinators import A, Rig
from tests.killswitch.story import Story, order_of

pytestmark = pytest.mark.anyio


class Inventing:
    """Says of every LIFT that it leaves standing HALTs, of its own making: others each time."""

    def __init__(self, inner: Voice, person: Person, number: int) -> None:
        self.name, self.key, self._inner = inner.name, inner.key, inner
        self._person, self._number = person, number

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        if isinstance(ask, Consider):
            return Declined("more", tuple(encode(self._person.order()) for _ in range(self._number)))
        return await self._inner.ask(ask, patience_ms=patience_ms)


async def lift(
    stage: Stage, voices: Mapping[Any, Voice], lifted: Sequence[bytes], proposed: list[int] | None = None
) -> Completed:
    """As the command has it signed."""
    alice = stage.people[0]
    assert stage.roster is not None
    claims = Claims(CHAIN, {roster_digest(stage.roster): stage.roster})

    async def propose(action: OrderAction, named: Sequence[bytes], heed: Heed) -> Completed:
        if proposed is not None:
            proposed.append(len(named))
        ask = Consider(encode(alice.order(action)), REASON, tuple(named))
        party = Party(await alice.office(), voices)
        return completed(party.office, ask.order, [await gather(party, ask, alice.means(), heed=heed)])

    return await until_signed(naming(Lift((bytes(32),)), lifted), lifted, claims, propose)


def named(done: Completed) -> tuple[bytes, ...]:
    assert isinstance(done.order.order.action, Lift)
    return done.order.order.action.halts


@pytest.mark.parametrize("number", [1, MAX_SHOWN_ORDERS])
async def test_who_invents_halts_keeps_no_four_others_from_lifting(number: int) -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    done = await alice.complete(alice.order())
    voices = alice.voices()
    voices[identifier(5)] = Inventing(voices[identifier(5)], stage.people[4], number)
    proposed: list[int] = []
    lifted = await lift(stage, voices, [encode(done.order.order)], proposed)
    assert "erin" not in lifted.signers
    assert proposed == [1, 1 + min(number, MAX_WORDS)], "its word is taken once"


async def test_two_of_seven_who_invent_halts_keep_no_five_others_from_lifting() -> None:
    stage = await Stage(people=7, halt=3, lift=5).start()
    alice = stage.people[0]
    done = await alice.complete(alice.order())
    voices = alice.voices()
    for n in (5, 6):
        voices[identifier(n)] = Inventing(voices[identifier(n)], stage.people[n - 1], MAX_SHOWN_ORDERS)
    assert len(named(await lift(stage, voices, [encode(done.order.order)]))) <= 1 + 2 * MAX_WORDS


async def test_who_released_a_share_in_vain_is_heard_beside_one_who_invents() -> None:
    """Bob's signature of a HALT that nobody has seen whole may be used right after the LIFT."""
    stage = await Stage().start()
    rig = Rig(stage)
    hidden = rig.bob.order(Halt(Global(), GroupKey.HALT))
    package = await rig.package(hidden, A)
    assert isinstance(await rig.ask(Sign(order_id(encode(hidden)), A, package)), Released)
    done = await rig.alice.complete(rig.alice.order())
    voices = rig.alice.voices()
    voices[identifier(5)] = Inventing(voices[identifier(5)], stage.people[4], MAX_SHOWN_ORDERS)
    lifted = await lift(stage, voices, [encode(done.order.order)])
    assert "bob" in lifted.signers
    assert order_id(encode(hidden)) in named(lifted)


async def test_a_whole_order_proves_itself_and_a_false_one_is_a_word() -> None:
    story = Story()
    mine = encode(order_of(story.given[story.halt(1, 2)]).order)
    whole = [story.given[story.halt(1, 2, quietly=True)] for _ in range(MAX_WORDS + 3)]
    claims = Claims(story.chain, story.state.rosters)
    heed = claims.heed(Lift((order_id(mine),)), [mine])
    bodies = [encode(order_of(raw).order) for raw in whole]
    assert list(heed("bob", whole)) == bodies
    false = [encode(SignedOrder(1, body, (bytes(64),))) for body in bodies]
    assert heed("carol", false) == [], "nor is it taken for a word"
    assert list(heed("dave", bodies)) == bodies[:MAX_WORDS]
    assert list(heed("dave", bodies[::-1])) == bodies[:MAX_WORDS][::-1]
    other = Claims(bytes(32), story.state.rosters).heed(Lift((order_id(mine),)), [mine])
    assert other("bob", [*whole, *bodies, b"junk", b""]) == []
    elsewhere = encode(order_of(story.given[story.halt(1, 2, Miner(bytes(32)), quietly=True)]).order)
    assert heed("erin", [elsewhere, mine]) == [], "another scope, and what is named already"
    full = claims.heed(Lift(tuple(map(order_id, bodies))), [mine] * MAX_SHOWN_ORDERS)
    assert full("frank", whole) == ()


async def stolen(stage: Stage, number: int) -> list[VerifiedOrder]:
    """HALTs of one model that whoever stole the HALT key signed, as everybody heard of them."""
    alice = stage.people[0]
    done = await alice.complete(alice.order())
    whole = []
    for _ in range(number):
        body = encode(alice.order())
        raw = encode(SignedOrder(1, body, (bytes(64),)))  # journals hold what was verified before
        whole.append(VerifiedOrder(order_id(body), raw, alice.order()))
        for person in stage.people:
            await person.journal.keep_signed(order_id(body), raw)
    return [done.order, *whole]


async def test_more_halts_than_a_lift_names_are_lifted_in_parts() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    first, *_ = await stolen(stage, MAX_SHOWN_ORDERS + 3)
    k = await known(alice.journal)
    seen = [first.order]
    must = left_of(naming(Lift((first.id,)), [encode(first.order)]), seen, k, 0).must_name
    assert len(must) >= MAX_SHOWN_ORDERS + 3
    parts = [encode(first.order), *must][:MAX_SHOWN_ORDERS]
    done = await lift(stage, alice.voices(), parts)
    assert len(named(done)) == MAX_SHOWN_ORDERS
    for person in stage.people:
        await person.journal.keep_signed(done.order.id, done.order.raw)
    rest = await lift(stage, alice.voices(), must[MAX_SHOWN_ORDERS - 1 :])
    assert {*named(done), *named(rest)} == {first.id, *map(order_id, must)}


async def test_a_stolen_halt_key_that_dates_a_halt_beyond_all_calendars_keeps_nobody_from_lifting() -> None:
    """Every LIFT of what it names must name it, and every signer see it."""
    stage = await Stage().start()
    alice = stage.people[0]
    first = await alice.complete(alice.order())
    far = encode(alice.order(issued=2**62, end=2**62 + DAY_MS))
    for person in stage.people:
        await person.journal.keep_signed(order_id(far), encode(SignedOrder(1, far, (bytes(64),))))
    done = await lift(stage, alice.voices(), [encode(first.order.order), far])
    assert set(named(done)) == {first.order.id, order_id(far)}


async def test_a_stolen_halt_key_keeps_no_roster_out() -> None:
    """It signs more than an INSTALL names: what was signed here comes first, and the rest is shown as what ends."""
    stage = await Stage().start()
    first, *_ = await stolen(stage, MAX_NAMED_ORDERS + 44)
    signer = next(p for p in stage.people if first.id in p.journal.kept)
    k = await known(signer.journal)
    bodies = in_force(k, 0)
    assert order_id(bodies[0]) == first.id
    assert stage.roster is not None
    whole = naming(Install(stage.roster, bytes(32), ()), bodies[:MAX_NAMED_ORDERS])
    left = left_of(whole, (), k, 0)
    assert left.must_name == ()
    assert len(left.rest) == 45
    short = naming(Install(stage.roster, bytes(32), ()), bodies[: MAX_NAMED_ORDERS - 1])
    assert len(left_of(short, (), k, 0).must_name) == 46
    invented = [encode(signer.order(halt())) for _ in range(MAX_NAMED_ORDERS)]
    few = (await known(stage.people[4].journal))._replace(orders=dict(list(k.orders.items())[:3]))
    assert left_of(naming(whole, invented), (), few, 0).must_name, "junk in the place of what is known excuses nobody"
