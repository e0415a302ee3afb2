"""The making of a roster: everybody honest, and each way in which a coordinator or a keyholder is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from davy.keyholders.assembly import STEP_MS
from davy.keyholders.keys import open_holdings
from davy.keyholders.messages import (
    Answer,
    Ask,
    Begin,
    Boxed,
    Boxes,
    Deal,
    Dealt,
    Echoes,
    Hello,
    Invite,
    Joined,
    Packages,
    SignedHello,
)
from davy.keyholders.voice import Voice
from davy.killswitch import dkg, echo
from davy.killswitch.echo import SignedRound1
from davy.killswitch.group import identifier
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Expired, Malformed, Refused, StoreFailed, Unreachable
from davy.protocol.order import GroupKey
from davy.protocol.roster import check_roster, roster_digest
from davy.protocol.signing import Domain
from davy.protocol.words import KeyRole, PublicKey
from tests.keyholders.stage import Bent, Stage
from tests.twins import SeededEntropy

pytestmark = pytest.mark.anyio


async def test_five_make_both_keys_and_all_keep_the_same_roster() -> None:
    stage = await Stage().start(dealt=False)
    roster = await stage.found(coordinator=2)
    check_roster(roster)
    assert (roster.halt_threshold, roster.lift_threshold, roster.epoch) == (3, 4, 0)
    assert roster.members == stage.circle.keys
    for n, person in enumerate(stage.people, 1):
        keys = open_holdings(await person.vault.open(roster_digest(roster)), person.key)
        assert keys.roster == roster
        assert keys.office.halt.identifier == keys.office.lift.identifier == identifier(n)
    stage.roster = roster
    first = await stage.people[4].complete(stage.people[4].order())
    assert len(first.signers) == 3


async def test_people_are_asked_twice_and_see_the_same_words() -> None:
    stage = Stage()
    for person in stage.people:
        person.yes_to = ()
        person.decide = lambda _: True
    await stage.start(dealt=False)
    await stage.found()
    invitation, comparison = ([p.seen[n].screen for p in stage.people] for n in range(2))
    assert len(set(invitation)) == len(set(comparison)) == 1
    assert "3 of 5 sign" in invitation[0]
    assert "4 of 5 sign" in invitation[0]
    assert "alice, bob, carol, dave, erin" in invitation[0]
    assert all(len(p.seen) == 2 for p in stage.people)
    again = Stage(seed=1)
    for person in again.people:
        person.yes_to, person.decide = (), lambda _: True
    await again.start(dealt=False)
    await again.found()
    assert again.people[0].seen[1].screen != comparison[0], "another transcript has other words"


@pytest.mark.parametrize("question", [0, 1])
async def test_one_no_ends_it_and_nobody_keeps_a_share(question: int) -> None:
    stage = Stage()
    doubter = stage.people[3]
    doubter.yes_to = ()
    doubter.decide = lambda _: len(doubter.seen) - 1 != question
    await stage.start(dealt=False)
    with pytest.raises(Refused, match="dave"):
        await stage.found()
    assert not any(p.vault.bodies for p in stage.people)


async def test_who_is_away_is_named() -> None:
    stage = await Stage().start(dealt=False)
    stage.away(4)
    with pytest.raises(Unreachable, match="erin"):
        await stage.found(patience_ms=60_000)


async def test_nobody_is_waited_for_for_ever() -> None:
    stage = Stage()
    stage.people[1].yes_to = ()
    await stage.start(dealt=False)
    with pytest.raises(Expired, match="bob"):
        await stage.found(patience_ms=60_000)


async def test_an_answer_that_was_lost_is_given_again() -> None:
    stage = await Stage().start(dealt=False)
    lost: set[type[Ask]] = set()

    def lose_once(ask: Ask, answer: Answer) -> Answer:
        if type(ask) not in lost:
            lost.add(type(ask))
            raise Unreachable("the answer was lost")
        return answer

    roster = await stage.found(voices=bent(stage, 2, after=lose_once))
    assert lost == {Invite, Begin, Packages, Echoes, Deal, Boxes}
    assert all(roster_digest(roster) in p.vault.bodies for p in stage.people)


async def test_a_share_that_cannot_be_kept_is_no_share() -> None:
    stage = await Stage().start(dealt=False)

    async def full(roster: bytes, body: bytes) -> None:
        raise StoreFailed("the disk is full; free some space")

    stage.people[2].vault.keep = full  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DavyError, match="carol"):
        await stage.found()


async def test_thresholds_that_cannot_be_are_refused_by_everybody() -> None:
    stage = await Stage().start(dealt=False)
    for halt, lift in ((2, 3), (4, 3), (3, 6)):
        with pytest.raises(Refused):
            await stage.found(halt_threshold=halt, lift_threshold=lift)


def bent(
    stage: Stage,
    victim: int,
    before: Callable[[Ask], Ask] = lambda a: a,
    after: Callable[[Ask, Answer], Answer] = lambda _, a: a,
) -> dict[PublicKey, Voice]:
    voices: dict[PublicKey, Voice] = {v.key: v for v in stage.people[0].voices().values()}
    key = stage.people[victim].key
    voices[key] = Bent(voices[key], before, after)
    return voices


def changed(value: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)


def flip(data: bytes, place: int = -1) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def other_terms(ask: Ask) -> Ask:
    return changed(ask, halt_threshold=2, lift_threshold=5) if isinstance(ask, Invite) else ask


def other_ceremony(ask: Ask) -> Ask:
    return changed(ask, ceremony=b"\1" * 16) if isinstance(ask, Invite) else ask


def fewer_members(ask: Ask) -> Ask:
    return changed(ask, members=ask.members[:-1]) if isinstance(ask, Invite) else ask


def a_hello_changed(ask: Ask) -> Ask:
    if not isinstance(ask, Begin):
        return ask
    signed = decode(ask.hellos[1], SignedHello, limit=1024)
    hello = decode(signed.hello, Hello, limit=1024)
    swapped = encode(changed(signed, hello=encode(changed(hello, box=b"\5" * 32))))
    return changed(ask, hellos=(ask.hellos[0], swapped, *ask.hellos[2:]))


def a_hello_missing(ask: Ask) -> Ask:
    return changed(ask, hellos=ask.hellos[:-1]) if isinstance(ask, Begin) else ask


def a_hello_twice(ask: Ask) -> Ask:
    return changed(ask, hellos=(*ask.hellos[:-1], ask.hellos[0])) if isinstance(ask, Begin) else ask


def a_package_changed(ask: Ask) -> Ask:
    return changed(ask, halt=(flip(ask.halt[0]), *ask.halt[1:])) if isinstance(ask, Packages) else ask


def a_package_missing(ask: Ask) -> Ask:
    return changed(ask, lift=ask.lift[1:]) if isinstance(ask, Packages) else ask


def the_keys_swapped(ask: Ask) -> Ask:
    return changed(ask, halt=ask.lift, lift=ask.halt) if isinstance(ask, Packages) else ask


def an_echo_changed(ask: Ask) -> Ask:
    return changed(ask, echoes=(flip(ask.echoes[0]), *ask.echoes[1:])) if isinstance(ask, Echoes) else ask


def an_echo_missing(ask: Ask) -> Ask:
    return changed(ask, echoes=ask.echoes[1:]) if isinstance(ask, Echoes) else ask


def an_echo_twice(ask: Ask) -> Ask:
    return changed(ask, echoes=(ask.echoes[1], *ask.echoes[1:])) if isinstance(ask, Echoes) else ask


def the_other_keys_echoes(ask: Ask) -> Ask:
    return changed(ask, key=GroupKey.LIFT) if isinstance(ask, Echoes) else ask


def a_box_changed(ask: Ask) -> Ask:
    box = lambda b: changed(b, box=flip(b.box))  # noqa: E731
    return changed(ask, halt=(box(ask.halt[0]), *ask.halt[1:])) if isinstance(ask, Boxes) else ask


def a_box_in_anothers_name(ask: Ask) -> Ask:
    if not isinstance(ask, Boxes):
        return ask
    return changed(ask, lift=(changed(ask.lift[0], sender=ask.lift[1].sender), *ask.lift[1:]))


def a_box_missing(ask: Ask) -> Ask:
    return changed(ask, halt=ask.halt[1:]) if isinstance(ask, Boxes) else ask


def the_boxes_swapped(ask: Ask) -> Ask:
    return changed(ask, halt=ask.lift, lift=ask.halt) if isinstance(ask, Boxes) else ask


def a_step_left_out(ask: Ask) -> Ask:
    return Deal(ask.ceremony) if isinstance(ask, Packages) else ask


LIES: dict[Callable[[Ask], Ask], str] = {
    other_terms: "alice: carol was invited to other terms",
    other_ceremony: "alice: carol was invited to other terms",
    fewer_members: "carol: the invited are not this circle",
    a_hello_changed: "carol: the signature does not belong",
    a_hello_missing: "carol: one hello of every keyholder",
    a_hello_twice: "carol: one hello of every keyholder",
    a_package_changed: "carol: the signature does not belong",
    a_package_missing: "carol: one package of every keyholder",
    the_keys_swapped: "carol: the package is of another session",
    an_echo_changed: "carol: the signature does not belong",
    an_echo_missing: "carol: one echo of every other",
    an_echo_twice: "carol: one echo of every other",
    the_other_keys_echoes: "carol: an echo is of another session",
    a_box_changed: "carol: the share of alice cannot be read",
    a_box_in_anothers_name: "carol: the share of bob cannot be read",
    a_box_missing: "carol: the share of keyholder 1 is missing",
    the_boxes_swapped: "carol: a share is of another session",
    a_step_left_out: "carol: this step of the ceremony is out of turn",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda f: f.__name__)
async def test_a_coordinator_that_lies_to_one_gets_no_roster(lie: Callable[[Ask], Ask]) -> None:
    stage = await Stage().start(dealt=False)
    told = 0

    def before(ask: Ask) -> Ask:
        nonlocal told
        bent_ask = lie(ask)
        told += bent_ask != ask
        return bent_ask

    with pytest.raises(DavyError, match=LIES[lie]):
        await stage.found(voices=bent(stage, 2, before))
    assert told, "the lie was told"
    assert not stage.people[2].vault.bodies, "the victim keeps nothing"


async def test_a_keyholder_that_tells_two_stories_is_named() -> None:
    """Bob signs a second package for the same session, and the coordinator gives it to carol alone."""
    stage = await Stage().start(dealt=False)
    bob = stage.people[1]
    second: dict[str, bytes] = {}

    def make_second(ask: Ask, answer: Answer) -> Answer:
        if isinstance(answer, Dealt):
            first = decode(answer.halt, SignedRound1, limit=65_536)
            package = decode(first.package, dkg.Round1Package, limit=65_536)
            terms = dkg.Terms(3, tuple(identifier(n) for n in range(1, 6)), package.context)
            _, other = dkg.part1(terms, identifier(2), SeededEntropy(77))
            signature = bob.keys.sign(KeyRole.KEYHOLDER, Domain.DKG_ROUND1, echo.statement(other))
            second["halt"] = encode(SignedRound1(1, encode(other), signature))
        return answer

    def tell_second(ask: Ask) -> Ask:
        if isinstance(ask, Packages):
            return changed(ask, halt=(ask.halt[0], second["halt"], *ask.halt[2:]))
        return ask

    voices = bent(stage, 1, after=make_second)
    voices[stage.people[2].key] = Bent(voices[stage.people[2].key], tell_second)
    with pytest.raises(DavyError, match="keyholder 2 sent two packages"):
        await stage.found(voices=voices)
    assert not any(p.vault.bodies for p in stage.people)


async def test_a_keyholder_that_deals_a_wrong_share_is_named_by_its_victim() -> None:
    stage = await Stage().start(dealt=False)

    def after(ask: Ask, answer: Answer) -> Answer:
        if isinstance(answer, Boxed):
            halts = list(answer.halt)
            halts[0], halts[1] = changed(halts[0], box=halts[1].box), changed(halts[1], box=halts[0].box)
            return changed(answer, halt=tuple(halts))
        return answer

    with pytest.raises(DavyError, match="bob"):
        await stage.found(voices=bent(stage, 1, after=after))


async def test_each_step_happens_once() -> None:
    stage = await Stage().start(dealt=False)
    asked: list[Ask] = []

    def note(ask: Ask) -> Ask:
        asked.append(ask)
        return ask

    await stage.found(voices=bent(stage, 2, note))
    begin = next(a for a in asked if isinstance(a, Begin))
    packages = next(a for a in asked if isinstance(a, Packages))
    carol, sender = stage.people[2].attendant, stage.people[0].key
    for again in (begin, packages, Deal(begin.ceremony)):
        with pytest.raises(Malformed):
            await carol.answer(sender, again)
    with pytest.raises(Expired):
        await carol.answer(stage.people[3].key, begin)


async def test_a_restart_ends_a_ceremony() -> None:
    stage = await Stage().start(dealt=False)
    asked: list[Ask] = []

    def note(ask: Ask) -> Ask:
        asked.append(ask)
        return ask

    await stage.found(voices=bent(stage, 2, note))
    await stage.people[2].start()
    with pytest.raises(Expired):
        await stage.people[2].attendant.answer(stage.people[0].key, asked[-1])


async def test_a_hello_is_of_its_ceremony_alone() -> None:
    stage = await Stage().start(dealt=False)
    hellos: list[bytes] = []

    def note(ask: Ask, answer: Answer) -> Answer:
        if isinstance(answer, Joined):
            hellos.append(answer.hello)
        return answer

    def old(ask: Ask) -> Ask:
        if isinstance(ask, Begin) and len(hellos) == 2:
            return changed(ask, hellos=tuple(hellos[0] if h == hellos[1] else h for h in ask.hellos))
        return ask

    await stage.found(voices=bent(stage, 3, after=note))
    voices = bent(stage, 3, after=note)
    voices[stage.people[2].key] = Bent(voices[stage.people[2].key], old)
    with pytest.raises(DavyError, match="other terms"):
        await stage.found(voices=voices)


async def test_a_slow_disk_keeps_its_shares_once_though_it_is_asked_again() -> None:
    stage = await Stage().start(dealt=False)
    stage.people[3].vault.slow = STEP_MS / 1000 + 10
    roster = await stage.found()
    stage.roster = roster
    assert len((await stage.people[3].complete(stage.people[3].order())).signers) == 3
