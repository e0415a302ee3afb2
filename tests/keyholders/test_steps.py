"""A step of a ceremony is taken once, however often and impatiently it is asked for."""

from __future__ import annotations

import anyio
import pytest

from davy.keyholders.assembly import STEP_MS
from davy.keyholders.messages import Answer, Ask, Boxes
from davy.keyholders.renewal import bring_together, standings
from tests.keyholders.stage import Bent, Stage
from tests.keyholders.test_renewal import in_office, refreshed, signs, voices_of

pytestmark = pytest.mark.anyio


async def test_a_step_whose_asker_hangs_up_is_taken_to_its_end_and_answered_again() -> None:
    """A keyholder's disk takes longer than its coordinator waits for an answer."""
    stage = await Stage().start()
    stage.people[3].vault.slow = STEP_MS / 1000 + 10
    done = await refreshed(stage, patience_ms=600_000)
    assert set(done.behind) <= {"dave"}
    stage.people[3].vault.slow = 0
    await bring_together(voices_of(stage), await standings(voices_of(stage), await stage.people[0].read_roster()))
    assert in_office(stage) == [1] * 5
    await signs(stage, 3)


async def test_a_step_that_is_asked_for_while_it_runs_is_taken_once() -> None:
    stage = await Stage().start()
    dave = stage.people[3]
    answers: list[Answer] = []

    class Impatient(Bent):
        async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
            if not isinstance(ask, Boxes):
                return await super().ask(ask, patience_ms=patience_ms)

            async def one() -> None:
                answers.append(await dave.attendant.answer(stage.people[0].key, ask))

            dave.vault.slow = 1
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(one)
            return answers[0]

    voices = voices_of(stage)
    voices[dave.key] = Impatient(voices[dave.key])
    await refreshed(stage, voices=voices)
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert in_office(stage) == [1] * 5
