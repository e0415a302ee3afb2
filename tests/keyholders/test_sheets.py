"""Sheets carried by hand: what is mistyped, changed or misdirected is named, and a signature needs two journeys."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.cli.gathering import Meeting
from davy.keyholders.by_hand import HandVoice, answer_sheet
from davy.keyholders.circle import Circle
from davy.keyholders.claims import all_said
from davy.keyholders.coordinator import Completed, Party, Waits
from davy.keyholders.keys import generation_id
from davy.keyholders.messages import Answer, Ask, Commit, Deal, Echoes, Noted, Recall, Sign
from davy.keyholders.sheets import (
    MAX_SHEET_CHARS,
    Answered,
    Question,
    question_id,
    read_answer,
    read_question,
    write_sheet,
)
from davy.keyholders.signer import Signer
from davy.keyholders.succession import roster_in_office
from davy.keyholders.voice import OwnVoice, Voice
from davy.killswitch.group import Identifier, identifier
from davy.protocol.errors import BadSignature, DavyError, Expired, Malformed, Misdirected, Refused, TooLarge
from davy.protocol.limits import SIGNER_SKEW_MS
from davy.protocol.order import verify_order
from davy.protocol.roster import roster_digest
from davy.protocol.words import PublicKey
from tests.keyholders.stage import CHAIN, Bent, Person, Stage, complete, propose
from tests.keyholders.test_mending import mended
from tests.keyholders.test_renewal import in_office, refreshed, signs
from tests.keyholders.two_rosters import Near, Two
from tests.twins import SeededKeys

pytestmark = pytest.mark.anyio

STAGE = Stage()
ALICE, BOB, CAROL = STAGE.people[:3]


def question(**changes: object) -> Question:
    right = Question(1, STAGE.circle.digest, ALICE.key, BOB.key, bytes(16), (Deal(b"\2" * 16),))
    return msgspec.structs.replace(right, **changes)


def sheet() -> str:
    return write_sheet(question(), STAGE.circle, ALICE.keys)


def test_a_sheet_is_read_as_it_was_written_however_it_was_carried() -> None:
    text = sheet()
    assert text.splitlines()[1] == "from alice to bob"
    assert len(text.splitlines()[2].split()) == 8
    indented = "".join(f"    {line}" for line in text.splitlines(keepends=True))
    ways = [text, text.replace("\n", "\r\n"), text.replace("\n", "  \n\n"), f"\n\n{text}\n", indented]
    ways += [indented.replace(" " * 4, blank) for blank in ("\t", "\u00a0")]
    ways.append("\ufeff" + text.replace("\n", "\r\n"))
    for carried in ways:
        assert read_question(carried, STAGE.circle, BOB.key) == question()


def swapped(text: str) -> str:
    lines = text.splitlines()
    lines[3], lines[4] = lines[4], lines[3]
    return "\n".join(lines)


def mistyped(text: str) -> str:
    lines = text.splitlines()
    lines[4] = ("A" if lines[4][0] != "A" else "B") + lines[4][1:]
    return "\n".join(lines)


WRONG: dict[str, tuple[Callable[[str], str], type[DavyError], str]] = {
    "a letter": (mistyped, Malformed, "line 2 of the letters"),
    "two lines swapped": (swapped, Malformed, "line 1 of the letters"),
    "a line missing": (lambda t: "\n".join(t.splitlines()[:4] + t.splitlines()[5:]), Malformed, "line 2"),
    "no end": (lambda t: "\n".join(t.splitlines()[:-1]), Malformed, "not the whole"),
    "nothing": (lambda _: "", Malformed, "not the whole"),
    "another name on it": (lambda t: t.replace("from alice", "from carol"), Malformed, "something else"),
    "another reader on it": (lambda t: t.replace("to bob", "to dave"), Malformed, "something else"),
    "other words": (lambda t: t.replace(t.splitlines()[2], "abandon " * 7 + "able"), Malformed, "something else"),
    "an answer": (lambda t: t.replace("QUESTION", "ANSWER"), Malformed, "not a sheet with a question"),
    "a book": (lambda _: "x" * (MAX_SHEET_CHARS + 1), TooLarge, "none"),
}


@pytest.mark.parametrize("way", WRONG)
def test_a_sheet_that_was_changed(way: str) -> None:
    change, kind, told = WRONG[way]
    with pytest.raises(kind, match=told):
        read_question(change(sheet()), STAGE.circle, BOB.key)


def test_a_sheet_of_others_is_refused() -> None:
    with pytest.raises(Misdirected, match="for bob"):
        read_question(sheet(), STAGE.circle, CAROL.key)
    elsewhere = Circle(STAGE.circle.holders[:4])
    with pytest.raises(Misdirected, match="another circle"):
        read_question(sheet(), elsewhere, BOB.key)
    with pytest.raises(BadSignature):
        read_question(write_sheet(question(), STAGE.circle, CAROL.keys), STAGE.circle, BOB.key)
    stranger = SeededKeys(7)
    alone = question(sender=BOB.key, recipient=ALICE.key)
    with pytest.raises(BadSignature):
        read_question(write_sheet(alone, STAGE.circle, stranger), STAGE.circle, ALICE.key)


def test_an_answer_is_to_one_question() -> None:
    first, second = question(), question(nonce=b"\1" * 16)
    said = Answered(1, STAGE.circle.digest, BOB.key, ALICE.key, question_id(first), (Noted(),))
    text = write_sheet(said, STAGE.circle, BOB.keys)
    assert read_answer(text, STAGE.circle, ALICE.key, first) == said
    with pytest.raises(Misdirected, match="another question"):
        read_answer(text, STAGE.circle, ALICE.key, second)
    with pytest.raises(Malformed, match="not a sheet with a question"):
        read_question(text, STAGE.circle, ALICE.key)
    carols = msgspec.structs.replace(said, sender=CAROL.key)
    with pytest.raises(Misdirected, match="another question"):
        read_answer(write_sheet(carols, STAGE.circle, CAROL.keys), STAGE.circle, ALICE.key, first)
    twice = msgspec.structs.replace(said, answers=(Noted(), Noted()))
    with pytest.raises(Malformed, match="all that was asked"):
        read_answer(write_sheet(twice, STAGE.circle, BOB.keys), STAGE.circle, ALICE.key, first)


@given(st.text(max_size=200))
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    for framed in (text, f"-----BEGIN DAVY QUESTION-----\n{text}\na\nb\n-----END DAVY QUESTION-----"):
        with pytest.raises(Refused):
            read_question(framed, STAGE.circle, BOB.key)


class Courier:
    """Brings each sheet to its reader; `spoil` changes what comes back on a journey to somebody."""

    def __init__(self, stage: Stage, spoil: Callable[[int, str], str] = lambda _, text: text) -> None:
        self.people = {p.name: p for p in stage.people}
        self.journeys: Counter[str] = Counter()
        self._spoil = spoil

    async def carry(self, name: str, sheet: str) -> str:
        self.journeys[name] += 1
        journey = self.journeys[name]
        person = self.people[name]
        while True:
            back = await answer_sheet(sheet, [(person.stage.circle, person.attendant)], person.keys)
            if back is not None:
                return self._spoil(journey, back)


def by_hand(person: Person, courier: Courier) -> dict[Identifier, Voice]:
    stage = person.stage
    return {
        identifier(n): OwnVoice(h.name, h.key, person.attendant.answer)
        if h.key == person.key
        else HandVoice(h, stage.circle, person.keys, courier, person.entropy, stage.generation, stage.told)
        for n, h in enumerate(stage.circle.holders, 1)
    }


async def test_a_signature_takes_two_journeys_to_each() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    courier = Courier(stage)
    done = await alice.complete(alice.order(), by_hand(alice, courier))
    assert stage.roster is not None
    verify_order(done.order.raw, stage.roster, CHAIN)
    signers = set(done.signers) - {"alice"}
    assert courier.journeys == {p.name: 1 + (p.name in signers) for p in stage.people[1:]}


async def test_a_person_says_yes_to_what_a_sheet_brought_before_anything_is_committed() -> None:
    stage = Stage()
    for person in stage.people[1:]:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    alice = stage.people[0]
    await alice.complete(alice.order(), by_hand(alice, Courier(stage)))
    assert all("HALT: stop this" in p.seen[0].screen for p in stage.people[1:])
    no = Stage()
    for person in no.people[1:]:
        person.yes_to, person.decide = (), lambda _: False
    await no.start()
    with pytest.raises(Refused, match="said no"):
        await no.people[0].complete(no.people[0].order(), by_hand(no.people[0], Courier(no)))


async def test_a_sheet_that_suffered_on_its_way_is_carried_again() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    courier = Courier(stage, lambda journey, text: mistyped(text) if journey == 1 else text)
    await alice.complete(alice.order(), by_hand(alice, courier))
    assert any("line 2 of the letters" in what for _, what in stage.said)


async def test_a_sheet_that_is_carried_twice_gives_no_second_share() -> None:
    stage = await Stage().start()
    alice, bob = stage.people[:2]
    sheets: list[str] = []

    class Copying(Courier):
        async def carry(self, name: str, sheet: str) -> str:
            if name == "bob":
                sheets.append(sheet)
            return await super().carry(name, sheet)

    stage.away()
    voices = by_hand(alice, Copying(stage))
    few = {i: v for i, v in voices.items() if v.name in ("alice", "bob", "carol")}
    await alice.complete(alice.order(), few)
    again = await answer_sheet(sheets[-1], [(stage.circle, bob.attendant)], bob.keys)
    assert again is not None
    assert "there are no nonces" in str(_answers(again, alice.key, stage, sheets[-1]))


async def test_a_first_sheet_that_is_carried_twice_is_answered_alike() -> None:
    """Somebody types `carry` again to have the answer in a file, and brings the first one."""
    stage = await Stage().start()
    alice = stage.people[0]

    class Twice(Courier):
        async def carry(self, name: str, sheet: str) -> str:
            back = await super().carry(name, sheet)
            person = self.people[name]
            if self.journeys[name] == 1:
                await answer_sheet(sheet, [(stage.circle, person.attendant)], person.keys)
            return back

    courier = Twice(stage)
    done = await alice.complete(alice.order(), by_hand(alice, courier))
    assert done.culprits == ()
    assert max(courier.journeys.values()) == 2


class Vanishing(Courier):
    """Whoever is `gone` takes so many seconds for the second sheet; dave and erin bring the first after the others."""

    def __init__(self, stage: Stage, gone: dict[str, float]) -> None:
        super().__init__(stage)
        self._gone = gone
        self.sheets: list[Question] = []
        self.sent: Counter[str] = Counter()

    async def carry(self, name: str, sheet: str) -> str:
        circle, key = self.people[name].stage.circle, self.people[name].key
        self.sheets.append(read_question(sheet, circle, key))
        self.sent[name] += 1
        if self.sent[name] == 1 and name in ("dave", "erin"):
            await anyio.sleep(1)
        if self.sent[name] > 1:
            await anyio.sleep(self._gone.get(name, 0))
        return await super().carry(name, sheet)


async def signed_without(gone: dict[str, float]) -> tuple[Completed, Vanishing, list[Commit]]:
    """A halt by hand while they are gone; with the commitments that the coordinator asked of its own keyholder."""
    stage = await Stage().start()
    alice = stage.people[0]
    courier = Vanishing(stage, gone)
    voices = by_hand(alice, courier)
    own: list[Commit] = []

    def watched(ask: Ask) -> Ask:
        own.extend([ask] if isinstance(ask, Commit) else [])
        return ask

    voices[identifier(1)] = Bent(voices[identifier(1)], before=watched)
    party = Party(await alice.office(), voices)
    done = await complete(party, propose(alice.order()), alice.means(), Waits(600_000, 600_000, 60_000))
    assert stage.roster is not None
    verify_order(done.order.raw, stage.roster, CHAIN)
    return done, courier, own


@pytest.mark.parametrize(
    "gone", [{"bob"}, {"carol"}, {"bob", "carol"}, {"bob", "dave"}, {"bob", "erin"}], ids=lambda g: "-".join(sorted(g))
)
async def test_who_commits_and_brings_no_share_does_not_block_the_others(gone: set[str]) -> None:
    done, courier, _ = await signed_without(dict.fromkeys(gone, math.inf))
    assert not gone & set(done.signers)
    assert (len(done.signers), done.culprits) == (3, ())
    assert anyio.current_time() <= 2 * 60 + 1
    packages = [ask.package for q in courier.sheets for ask in q.asks if isinstance(ask, Sign)]
    nonces = {c for each in packages for c in each.commitments}
    by_package = [c for each in {p.commitments for p in packages} for c in each]
    assert len(by_package) == len(nonces)  # no commitment of anybody stands in two packages


async def test_a_further_attempt_has_nonces_of_its_own_also_of_the_coordinator() -> None:
    _, courier, own = await signed_without({"bob": math.inf})
    packages = {ask.package for q in courier.sheets for ask in q.asks if isinstance(ask, Sign)}
    alices = {c.hiding for each in packages for c in each.commitments if c.identifier == identifier(1)}
    assert len({ask.attempt for ask in own}) == len(packages) == len(alices) == 2


async def test_couriers_who_are_slower_than_the_grace_still_bring_a_signature() -> None:
    done, courier, _ = await signed_without(dict.fromkeys(("bob", "carol", "dave", "erin"), 100))
    assert anyio.current_time() == pytest.approx(100)
    assert set(done.signers) == {"alice", "bob", "carol"}  # whose sheets were under way when others were asked, too
    assert courier.sent == dict.fromkeys(("bob", "carol", "dave", "erin"), 2)


async def signed_at_a_meeting(patience_ms: int | None, *gone: str) -> float:
    """As `davy halt --by-hand` has it signed, while they do not come back; how many seconds that took."""
    stage = await Stage().start()
    alice = stage.people[0]
    keyholder: Any = SimpleNamespace(clock=stage.clock, entropy=alice.entropy)
    party = Party(await alice.office(), by_hand(alice, Vanishing(stage, dict.fromkeys(gone, math.inf))))
    ahead = stage.clock.now() + SIGNER_SKEW_MS - 30_000
    begun = anyio.current_time()
    with contextlib.suppress(Expired):
        await Meeting(keyholder, [party], True, patience_ms).sign(propose(alice.order(issued=ahead)), heed=all_said)
    return anyio.current_time() - begun


async def test_patience_is_honoured_by_hand_too_and_leaves_time_for_others_to_sign() -> None:
    assert await signed_at_a_meeting(None, "bob") == pytest.approx(60)
    assert await signed_at_a_meeting(40_000, "bob") == pytest.approx(10)
    assert await signed_at_a_meeting(40_000, "bob", "carol", "dave") == pytest.approx(40)
    assert await signed_at_a_meeting(None, "bob", "carol", "dave") == pytest.approx(570)


def _answers(text: str, own: PublicKey, stage: Stage, asked: str) -> tuple[object, ...]:
    asked_of = read_question(asked, stage.circle, stage.people[1].key)
    return read_answer(text, stage.circle, own, asked_of).answers


async def test_other_questions_are_carried_too() -> None:
    stage = await Stage().start()
    alice = stage.people[0]
    voice = by_hand(alice, Courier(stage))[identifier(2)]
    assert stage.roster is not None
    with anyio.fail_after(5):
        said = await voice.ask(Recall(bytes(32)), patience_ms=1)
    assert "another roster" in str(said)


def by_key(person: Person, courier: Courier, *without: Person) -> dict[PublicKey, Voice]:
    """As `davy keyholder dkg --by-hand` and its like ask: no generation is known."""
    return {v.key: v for v in by_hand(person, courier).values() if v.key not in [p.key for p in without]}


async def test_keys_are_made_by_sheets_in_five_journeys_to_each() -> None:
    stage = await Stage().start(dealt=False)
    alice = stage.people[0]
    courier = Courier(stage)
    stage.roster = await stage.found(voices=by_key(alice, courier))
    assert courier.journeys == {p.name: 5 for p in stage.people[1:]}
    assert len((await stage.people[3].complete(stage.people[3].order())).signers) == 3


async def test_who_hears_another_echo_by_a_sheet_says_so() -> None:
    """The echoes go with the step after them; what is wrong with them is answered there."""
    stage = await Stage().start(dealt=False)
    alice, bob = stage.people[:2]
    voices = by_key(alice, Courier(stage))
    inner = voices[bob.key]

    def twice(ask: Ask) -> Ask:
        return msgspec.structs.replace(ask, echoes=ask.echoes[1:]) if isinstance(ask, Echoes) else ask

    voices[bob.key] = Bent(inner, before=twice)
    with pytest.raises(Refused, match="bob"):
        await stage.found(voices=voices)
    assert not bob.vault.bodies


async def test_shares_are_dealt_anew_by_sheets_without_whom_nobody_goes_to() -> None:
    stage = await Stage().start()
    alice, erin = stage.people[0], stage.people[4]
    courier = Courier(stage)
    done = await refreshed(stage, voices=by_key(alice, courier, erin), without=[erin.key])
    assert (done.generation.number, done.behind) == (1, ())
    assert in_office(stage) == [1, 1, 1, 1, 0]
    assert courier.journeys == {p.name: 7 for p in stage.people[1:4]}
    assert len((await signs(stage)).signers) == 3


@pytest.mark.parametrize("coordinator", [0, 1], ids=["another", "the one who lost it"])
async def test_a_lost_share_comes_back_by_sheets(coordinator: int) -> None:
    stage = await Stage(people=7, halt=4, lift=4).start()
    person, frank, grace = stage.people[coordinator], stage.people[5], stage.people[6]
    assert stage.roster is not None
    before = stage.people[1].vault.bodies.pop(roster_digest(stage.roster))
    courier = Courier(stage)
    await mended(stage, coordinator, by_key(person, courier, frank, grace))
    assert stage.people[1].vault.bodies[roster_digest(stage.roster)] == before
    assert set(courier.journeys) == {p.name for p in stage.people[:5]} - {person.name}


async def test_a_roster_is_installed_by_sheets() -> None:
    t = Two(await Stage().start())
    sides = []
    for side in (t.old, t.new):
        people = {p.name: _Desk(side.circle, p, s) for p, s in zip(side.people, side.signers, strict=True)}
        office = (await t.party(side)).office
        voices: dict[Identifier, Voice] = {
            identifier(n): Near(t.coordinator.key, s, p)
            if p is t.coordinator
            else HandVoice(
                side.circle.holder(p.key), side.circle, t.coordinator.keys, _Post(people), t.coordinator.entropy,
                generation_id(office.keys.generation), t.stage.told,
            )
            for n, (p, s) in enumerate(zip(side.people, side.signers, strict=True), 1)
        }  # fmt: skip
        sides.append(voices)
    done = await t.install(old=sides[0], new=sides[1], waits=Waits(600_000, 600_000))
    assert roster_in_office(t.genesis, [done.order.raw]) == t.new.roster


class _Desk(NamedTuple):
    circle: Circle
    person: Person
    signer: Signer

    async def answer(self, sender: PublicKey, ask: Any) -> Answer:
        return await self.signer.answer(sender, ask)


class _Post:
    def __init__(self, desks: dict[str, _Desk]) -> None:
        self._desks = desks

    async def carry(self, name: str, sheet: str) -> str:
        desk = self._desks[name]
        attendant: Any = desk
        while (back := await answer_sheet(sheet, [(desk.circle, attendant)], desk.person.keys)) is None:
            pass
        return back
