"""Who hands in what is not its own is named, and nobody else: the others would only say that something is wrong."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from davy.keyholders.assembly import Table
from davy.keyholders.messages import Answer, Ask, Blamed, Dealt, Echoed, Founded, Joined, Noted, Recall
from davy.keyholders.voice import Voice
from davy.killswitch.group import identifier
from davy.protocol.errors import DavyError, Misbehaved, Refused
from davy.protocol.words import PublicKey
from tests.keyholders.stage import Bent, Person, Stage
from tests.keyholders.test_renewal import refreshed

pytestmark = pytest.mark.anyio

NAMES = ("alice", "carol", "dave", "erin")


def junk(kind: type[Answer]) -> Callable[[Ask, Answer], Answer]:
    """Bytes that mean nothing in the place of those that are for all."""

    def bend(_: Ask, answer: Answer) -> Answer:
        if not isinstance(answer, kind):
            return answer
        field = "hello" if isinstance(answer, Joined) else "lift"
        return msgspec.structs.replace(answer, **{field: b"junk"})

    return bend


def unsigned(kind: type[Answer]) -> Callable[[Ask, Answer], Answer]:
    """A signature with one bit changed, at the end of what is for all."""

    def bend(_: Ask, answer: Answer) -> Answer:
        if not isinstance(answer, kind):
            return answer
        field = "hello" if isinstance(answer, Joined) else "halt"
        raw = getattr(answer, field)
        return msgspec.structs.replace(answer, **{field: raw[:-1] + bytes([raw[-1] ^ 1])})

    return bend


class Copied:
    """What carol answered, in bob's name."""

    def __init__(self, kind: type[Answer]) -> None:
        self.kind, self.seen = kind, dict[type[Answer], Answer]()

    def keep(self, _: Ask, answer: Answer) -> Answer:
        self.seen[type(answer)] = answer
        return answer

    def hand_in(self, _: Ask, answer: Answer) -> Answer:
        return self.seen.get(self.kind, answer) if isinstance(answer, self.kind) else answer


WAYS = {f"{way.__name__} {kind.__name__}": way(kind) for way in (junk, unsigned) for kind in (Joined, Dealt, Echoed)}


def bent(person: Person, by: Person, way: Callable[[Ask, Answer], Answer]) -> dict[PublicKey, Voice]:
    voices: dict[PublicKey, Voice] = {v.key: v for v in person.voices().values()}
    voices[by.key] = Bent(voices[by.key], after=way)
    return voices


@pytest.mark.parametrize("way", WAYS)
async def test_in_the_making_of_a_roster(way: str) -> None:
    stage = await Stage().start(dealt=False)
    with pytest.raises(DavyError, match="bob") as told:
        await stage.found(voices=bent(stage.people[0], stage.people[1], WAYS[way]))
    assert not any(name in str(told.value) for name in NAMES)


@pytest.mark.parametrize("way", WAYS)
async def test_in_a_refresh(way: str) -> None:
    stage = await Stage().start()
    with pytest.raises(DavyError, match="bob") as told:
        await refreshed(stage, voices=bent(stage.people[0], stage.people[1], WAYS[way]))
    assert not any(name in str(told.value) for name in NAMES)


@pytest.mark.parametrize("kind", [Joined, Dealt, Echoed])
async def test_who_hands_in_another_s(kind: type[Answer]) -> None:
    stage = await Stage().start(dealt=False)
    copied = Copied(kind)
    voices = bent(stage.people[0], stage.people[1], copied.hand_in)
    carol = stage.people[2].key
    voices[carol] = Bent(voices[carol], after=copied.keep)

    class Later:
        """Bob answers when carol has."""

        name, key = voices[stage.people[1].key].name, stage.people[1].key

        def __init__(self, inner: Voice) -> None:
            self._inner = inner

        async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
            await stage.clock.sleep_until(stage.clock.now() + 1_000)
            return await self._inner.ask(ask, patience_ms=patience_ms)

    voices[Later.key] = Later(voices[Later.key])
    with pytest.raises(DavyError, match="bob") as told:
        await stage.found(voices=voices)
    assert not any(name in str(told.value) for name in NAMES)


async def test_no_other_roster_than_everybody_s_comes_of_it() -> None:
    """Whose answer was read first could have had a chain made with thresholds of its own."""
    stage = await Stage().start(dealt=False)
    first = next(p for p in stage.people if p.key == stage.circle.keys[0])
    coordinator = stage.people.index(next(p for p in stage.people if p is not first))

    def lower(_: Ask, answer: Answer) -> Answer:
        if isinstance(answer, Founded):
            return Founded(msgspec.structs.replace(answer.roster, halt_threshold=2))
        return answer

    with pytest.raises(Misbehaved, match="same roster"):
        await stage.found(coordinator, voices=bent(stage.people[coordinator], first, lower))


async def test_who_is_blamed_is_found_by_its_place_in_the_circle_also_where_somebody_is_left_out() -> None:
    stage = await Stage().start()
    keys = stage.circle.keys
    voices: dict[PublicKey, Voice] = {v.key: v for v in stage.people[0].voices().values() if v.key != keys[0]}
    asked = keys[1]
    voices[asked] = Bent(voices[asked], after=lambda _, answer: Blamed("carol's is wrong", (identifier(3),)))
    table = Table(stage.circle, voices, stage.clock, stage.told, 60_000)
    with pytest.raises(Refused):
        await table.ask_all({asked: Recall(bytes(32))}, Noted)
    assert table.blamed == {keys[1], keys[2]}
