"""A lost share given back over the network, by any t of the others: who is away, slow or hostile blocks nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from davy.keyholders.keys import Generation, Proof, open_holdings
from davy.keyholders.messages import (
    Answer,
    Ask,
    Begin,
    Boxed,
    Boxes,
    Dealt,
    Declined,
    Echoed,
    Joined,
    Mend,
    Packages,
    Parted,
    Parts,
    Waiting,
)
from davy.keyholders.renewal import mend
from davy.keyholders.voice import Voice
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError, Expired, Refused, Unreachable
from davy.protocol.roster import roster_digest
from davy.protocol.words import PublicKey
from tests.keyholders.stage import Bent, Person, Stage
from tests.keyholders.test_renewal import held, in_office, refreshed, signs

pytestmark = pytest.mark.anyio

LOST = 1
"""Bob."""


def lose(person: Person) -> bytes:
    assert person.stage.roster is not None
    return person.vault.bodies.pop(roster_digest(person.stage.roster))


async def mended(
    stage: Stage, coordinator: int = 0, voices: dict[PublicKey, Voice] | None = None, **changes: Any
) -> Generation:
    person = stage.people[coordinator]
    assert stage.roster is not None
    asked = voices or {v.key: v for v in person.voices().values()}
    given: dict[str, Any] = {"patience_ms": 600_000} | changes
    return await mend(
        stage.circle, stage.roster, asked, stage.people[LOST].key,
        clock=stage.clock, entropy=person.entropy, told=stage.told, **given,
    )  # fmt: skip


def seven() -> Stage:
    """Six others, of whom four are needed."""
    return Stage(people=7, halt=4, lift=4)


def bend(stage: Stage, ways: dict[int, Any]) -> dict[PublicKey, Voice]:
    voices: dict[PublicKey, Voice] = {v.key: v for v in stage.people[0].voices().values()}
    for n, way in ways.items():
        key = stage.people[n].key
        voices[key] = Bent(voices[key], **way)
    return voices


@pytest.mark.parametrize("coordinator", [0, LOST])
async def test_the_same_share_comes_back(coordinator: int) -> None:
    stage = await Stage().start()
    before = lose(stage.people[LOST])
    with pytest.raises(DavyError):
        await stage.people[LOST].complete(stage.people[LOST].order())
    generation = await mended(stage, coordinator)
    assert generation.number == 0
    person = stage.people[LOST]
    assert held(person) == open_holdings(before, person.key)
    assert person.vault.bodies[generation.roster] == before
    stage.away(3, 4)
    assert "bob" in (await signs(stage)).signers


async def test_a_share_of_a_later_generation_comes_back_over_an_old_backup() -> None:
    stage = await Stage().start()
    bob = stage.people[LOST]
    backup = lose(bob)
    bob.vault.bodies[roster_digest(await bob.read_roster())] = backup
    await refreshed(stage)
    bob.vault.bodies[roster_digest(await bob.read_roster())] = backup
    assert in_office(stage) == [1, 0, 1, 1, 1]
    assert "bob" not in (await signs(stage)).signers, "an old share signs with no new ones"
    with pytest.raises(Refused, match="have other shares than this home"):
        await signs(stage, LOST)
    await mended(stage)
    assert in_office(stage) == [1] * 5
    with pytest.raises(Refused, match="nothing is lost"):
        await mended(stage, 2)
    stage.away(3, 4)
    assert "bob" in (await signs(stage, LOST)).signers


async def test_people_are_told_to_hear_it_from_the_one_who_lost_it() -> None:
    stage = Stage()
    for person in stage.people:
        person.yes_to, person.decide = (), lambda _: True
    await stage.start()
    lose(stage.people[LOST])
    await mended(stage, LOST)
    screens = {p.seen[0].screen for p in stage.people}
    assert len(screens) == 1
    (shown,) = screens
    assert "A LOST SHARE is given back to bob" in shown
    assert "in its own voice" in shown


def _deal_wrong(_: Ask, answer: Answer) -> Answer:
    if isinstance(answer, Boxed):
        a, b, *rest = answer.halt
        swapped = (msgspec.structs.replace(a, box=b.box), msgspec.structs.replace(b, box=a.box), *rest)
        return msgspec.structs.replace(answer, halt=swapped)
    return answer


def _part_wrong(_: Ask, answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, halt=answer.lift) if isinstance(answer, Parted) else answer


def _package_wrong(_: Ask, answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, halt=answer.lift) if isinstance(answer, Dealt) else answer


def _echo_wrong(_: Ask, answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, halt=answer.lift) if isinstance(answer, Echoed) else answer


def _blame(ask: Ask, answer: Answer) -> Answer:
    return Declined("it was dave", ()) if isinstance(ask, Boxes) else answer


def silent_from(step: type[Ask]) -> Callable[[Ask], Ask]:
    def before(ask: Ask) -> Ask:
        if isinstance(ask, step):
            raise Unreachable("silence")
        return ask

    return before


HOSTILE: dict[str, Any] = {
    "a wrong share": {"after": _deal_wrong},
    "a wrong part": {"after": _part_wrong},
    "a wrong package": {"after": _package_wrong},
    "a wrong echo": {"after": _echo_wrong},
    "a wrong blame": {"after": _blame},
    **{f"silence from {s.__name__}": {"before": silent_from(s)} for s in (Mend, Begin, Packages, Boxes)},
}


@pytest.mark.parametrize("way", HOSTILE)
async def test_two_who_cheat_or_fall_silent_do_not_keep_four_others_from_it(way: str) -> None:
    stage = await seven().start()
    before = lose(stage.people[LOST])
    await mended(stage, voices=bend(stage, {2: HOSTILE[way], 3: HOSTILE[way]}))
    person = stage.people[LOST]
    assert held(person) == open_holdings(before, person.key)


async def test_who_is_slow_or_away_is_not_waited_for() -> None:
    """Two never decide; measured in virtual time: no more than four who do decide need."""
    stage = seven()
    for n in (2, 3):
        stage.people[n].yes_to = ()
    await stage.start()
    lose(stage.people[LOST])
    await mended(stage)
    assert anyio.current_time() < 5
    await signs(stage, LOST)


async def test_too_few_end_it_and_say_who() -> None:
    stage = seven()
    for n in (2, 3, 4):
        stage.people[n].yes_to, stage.people[n].decide = (), lambda _: False
    await stage.start()
    lose(stage.people[LOST])
    with pytest.raises(Refused, match="carol: its keyholder said no"):
        await mended(stage)
    stage = await seven().start()
    lose(stage.people[LOST])
    stage.away(4, 5, 6)
    with pytest.raises(Refused, match=r"4 others must help, 3 can; .*erin: cannot be reached"):
        await mended(stage)


async def test_three_of_the_four_that_lift_cannot_mend_and_the_one_who_was_absent_is_waited_for() -> None:
    """In a council of five, three of whom halt and four lift: bob lost his share, and erin is not there."""
    stage = await Stage().start()
    before = lose(stage.people[LOST])
    stage.away(4)
    with pytest.raises(Refused, match=r"4 others must help, 3 can; erin: cannot be reached"):
        await mended(stage, patience_ms=60_000)
    assert ("erin", "cannot be reached; it is waited for") in stage.said
    assert len((await signs(stage)).signers) == 3, "the three who are there halt meanwhile"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mended, stage)
        await anyio.sleep(120)
        assert not stage.people[LOST].vault.bodies
        await stage.people[4].start()
    assert list(stage.people[LOST].vault.bodies.values()) == [before]


async def test_nobody_is_waited_for_for_ever() -> None:
    stage = seven()
    for n in (2, 3, 4):
        stage.people[n].yes_to = ()
    await stage.start()
    lose(stage.people[LOST])
    with pytest.raises(Expired, match="3 of the 4 keyholders needed said yes; no answer from"):
        await mended(stage, patience_ms=60_000)


async def test_who_was_removed_gets_nothing_back() -> None:
    stage = await Stage().start()
    await refreshed(stage, without=[stage.people[LOST].key])
    lose(stage.people[LOST])
    for coordinator in (0, LOST):
        with pytest.raises(Refused, match="removed"):
            await mended(stage, coordinator)


async def test_a_share_that_is_there_is_given_to_nobody_again() -> None:
    stage = await Stage().start()
    with pytest.raises(Refused, match="nothing is lost"):
        await mended(stage)


async def test_a_helper_looks_at_what_is_proposed() -> None:
    stage = await Stage().start()
    await refreshed(stage)
    alice, bob, carol = stage.people[:3]
    proof = held(alice).proof
    right = Mend(b"\1" * 16, proof.generation.roster, encode(proof), bob.key)
    unproved = Proof(1, proof.generation, proof.words[1:])
    for change, told in (
        ({"roster": bytes(32)}, "another roster"),
        ({"proof": b"\1"}, "Proof"),
        ({"proof": encode(unproved)}, "not every member"),
        ({"mended": b"\xff" * 32}, "not been removed"),
    ):
        said = await carol.attendant.answer(alice.key, msgspec.structs.replace(right, **change))
        assert isinstance(said, Declined)
        assert told in said.why
    assert isinstance(await carol.attendant.answer(alice.key, right), Joined)


async def test_an_attempt_cannot_be_begun_twice_alike() -> None:
    """Who begins the same session again would get a second package of a helper: what only a cheat has two of."""
    stage = await Stage().start()
    lose(stage.people[LOST])
    asked: list[Ask] = []

    def note(ask: Ask) -> Ask:
        asked.append(ask)
        return ask

    await mended(stage, voices=bend(stage, {2: {"before": note}}))
    begin = next(a for a in asked if isinstance(a, Begin))
    carol, alice = stage.people[2], stage.people[0]
    with pytest.raises(Refused, match="begun like this already"):
        await carol.attendant.answer(alice.key, begin)
    with pytest.raises(Refused):
        await carol.attendant.answer(alice.key, Parts(begin.ceremony, (), ()))
    assert not any(isinstance(a, Waiting) for a in asked)
