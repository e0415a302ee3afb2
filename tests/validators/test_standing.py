"""Standing: a linear average over a window, keyed by seat, persisted before it is used."""

from __future__ import annotations

import anyio
import pytest

from davy.protocol.encoding import encode
from davy.protocol.errors import Malformed, StoreFailed
from davy.tasks.skill import EMPTY, MINIMUM, UNIT, weight
from davy.validators.standing import WINDOW, Book, RoundRecord, Seat, Standings, Verdict
from tests.twins import MemoryStore

ALICE, BOB = Seat(b"a" * 32, 5), Seat(b"b" * 32, 7)
ROUND = 16


def verdicts(difference: float, reason: str = "") -> list[Verdict]:
    return [Verdict(f"c{i}", 1_000, round(difference * UNIT) + i % 2, reason) for i in range(ROUND)]


async def filled(store: MemoryStore, *rounds: float) -> Standings:
    s = Standings(1, store)
    await s.open()
    for d in rounds:
        await s.add_round({ALICE: verdicts(d)}, [ALICE, BOB])
    return s


def test_average_is_linear_over_the_window_and_old_rounds_leave_it() -> None:
    async def story() -> None:
        full = WINDOW // ROUND
        s = await filled(MemoryStore(), *[1.0] * full)
        assert s.of(ALICE).count == WINDOW
        assert s.of(ALICE).skill == pytest.approx(1.0, abs=1e-3)
        half = await filled(MemoryStore(), *[1.0] * full, *[0.0] * (full // 2))
        assert half.of(ALICE).count == WINDOW
        assert half.of(ALICE).skill == pytest.approx(0.5, abs=1e-3)

    anyio.run(story)


def test_burning_a_standing_pays_no_more_than_building_it_withheld() -> None:
    async def story() -> None:
        s = await filled(MemoryStore())
        withheld = paid_after = 0.0
        for _ in range(WINDOW // ROUND):
            await s.add_round({ALICE: verdicts(1.0)}, [ALICE])
            withheld += 0.0 if weight(s.of(ALICE)) else 1.0
        for _ in range(WINDOW // ROUND):
            await s.add_round({ALICE: verdicts(0.0)}, [ALICE])
            paid_after += s.of(ALICE).skill
        assert withheld == MINIMUM / ROUND - 1  # the round that reaches the minimum pays
        assert paid_after <= withheld + 1

    anyio.run(story)


def test_a_new_process_finds_the_standing_and_the_reasons() -> None:
    async def story() -> None:
        store = MemoryStore()
        s = await filled(store, 0.25, 0.5)
        await s.add_round({ALICE: verdicts(-1.0, "no receipt")}, [ALICE])
        again = Standings(1, store.copy())
        await again.open()
        assert again.of(ALICE) == s.of(ALICE)
        assert again.rounds == 3
        reasons = await again.reasons(ALICE.hotkey)
        assert len(reasons) == 3 * ROUND
        assert [v.reason for v in reasons[-ROUND:]] == ["no receipt"] * ROUND

    anyio.run(story)


def test_reasons_are_told_oldest_first_when_the_newest_took_the_place_of_the_oldest() -> None:
    async def story() -> None:
        s = await filled(MemoryStore())
        for n in range(1, 67):
            await s.add_round({ALICE: verdicts(0.0, f"round {n}")[:1]}, [ALICE])
        assert [v.reason for v in await s.reasons(ALICE.hotkey)] == [f"round {n}" for n in range(3, 67)]

    anyio.run(story)


def test_what_another_version_of_davy_wrote_is_not_read_as_this_ones() -> None:
    async def story() -> None:
        store = MemoryStore()
        s = await filled(store, 0.25)
        await store.put(b"standing/1/round/1", encode(RoundRecord(2, 1, ())))
        with pytest.raises(Malformed):
            await s.reasons(ALICE.hotkey)
        await store.put(b"standing/1/book", encode(Book(2, 1, 1, ())))
        with pytest.raises(Malformed):
            await Standings(1, store).open()

    anyio.run(story)


def test_a_new_registration_of_a_hotkey_inherits_nothing() -> None:
    async def story() -> None:
        s = await filled(MemoryStore(), 1.0)
        sniped = Seat(ALICE.hotkey, ALICE.registered_at + 100)
        await s.add_round({}, [sniped, BOB])
        assert s.of(sniped) == EMPTY
        assert s.of(ALICE) == EMPTY

    anyio.run(story)


def test_what_the_disk_did_not_take_is_not_used() -> None:
    async def story() -> None:
        store = MemoryStore()
        s = await filled(store, 1.0)
        before = s.of(ALICE)
        store.full = True
        with pytest.raises(StoreFailed):
            await s.add_round({ALICE: verdicts(1.0)}, [ALICE])
        assert s.of(ALICE) == before
        store.full = False
        await s.add_round({ALICE: verdicts(1.0)}, [ALICE])
        assert s.of(ALICE).count == 2 * ROUND

    anyio.run(story)
