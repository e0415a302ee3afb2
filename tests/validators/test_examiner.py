"""What comes from outside, tasks of strangers included, does not end a validator."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.chain import ServedModel
from davy.protocol.errors import BadAnswer
from davy.protocol.manifest import Identity
from davy.validators.challenger import Answered
from davy.validators.examiner import Examiner, Means, Pace, Round
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys
from tests.twins.brake import brake_of


class Failing:
    """A task that reads an answer by failing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def parse(self, c: object, r: CompletionResponse) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadAnswer("one sentence"), "one sentence"),
        (OverflowError("math range error"), "the task could not read it: OverflowError"),
        (IndexError("list index out of range"), "the task could not read it: IndexError"),
    ],
)
def test_an_answer_that_its_task_fails_on_is_an_absent_one(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    nothing = cast("Any", None)
    means = Means(
        cast("Any", Failing(error)), nothing, nothing, (), nothing, nothing, MemoryStore(), SeededEntropy(),
        LoopClock(), nothing,
    )  # fmt: skip
    examiner = Examiner([1], b"o" * 32, means, Pace())
    answer = Answered(CompletionResponse("id", 0, "m", []), "")
    asked = CompletionRequest("m", "p")
    assert examiner._parse(asked, answer) == (None, reason)  # pyright: ignore[reportPrivateUsage]


class Slow:
    """Somebody who asks, and counts how many questions wait for an answer."""

    head = cast("Any", None)

    def __init__(self) -> None:
        self.waiting = self.most = 0

    async def ask(self, miner: object, request: object, *, deadline_ms: int) -> Answered:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await anyio.lowlevel.checkpoint()
        self.waiting -= 1
        return Answered(None, "late")


class Asking:
    def request(self, c: object) -> object:
        return c


@pytest.mark.anyio
async def test_all_rounds_together_keep_to_one_limit() -> None:
    nothing, slow = cast("Any", None), Slow()
    brake = brake_of(SeededKeys(1), LoopClock(), None, bytes(32))
    means = Means(
        cast("Any", Asking()), nothing, slow, (), brake, nothing, MemoryStore(), SeededEntropy(), LoopClock(), nothing
    )
    examiner = Examiner([1], b"o" * 32, means, Pace(parallel=5))
    miners = [cast("Any", SimpleNamespace(hotkey=bytes([i]))) for i in range(4)]
    r = Round(list(range(6)), miners, [], [(i, n) for i in range(6) for n in miners], [0] * 24)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(examiner._ask_all, r, 0)  # pyright: ignore[reportPrivateUsage]
    assert slow.most == 5


class Shown:
    """A ledger that shows one miner, now with this model."""

    def __init__(self, model_id: bytes, since: int) -> None:
        self.served = (ServedModel(model_id, Identity.FILES, since),)

    async def metagraph(self, netuid: int) -> Any:
        return SimpleNamespace(neurons=[SimpleNamespace(hotkey=b"h", model=self.served)])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("since", "now", "forgiven"),
    [
        (0, Shown(b"B" * 32, 101), True),
        (0, Shown(b"A" * 32, 101), False),  # said `serve` again: its failures stand
        (81, Shown(b"B" * 32, 101), False),  # a change every other round would undo every other failure
        (80, Shown(b"B" * 32, 101), True),
    ],
)
async def test_a_round_is_forgiven_for_an_honest_swap_only(since: int, now: Shown, forgiven: bool) -> None:
    nothing = cast("Any", None)
    means = Means(
        nothing, nothing, nothing, (), nothing, cast("Any", now), MemoryStore(), SeededEntropy(), LoopClock(), nothing
    )
    examiner = Examiner([1], b"o" * 32, means, Pace())
    miner = cast("Any", SimpleNamespace(hotkey=b"h", model=(ServedModel(b"A" * 32, Identity.FILES, since),)))
    rules = SimpleNamespace(hyperparameters=SimpleNamespace(tempo=10))
    graph = cast("Any", SimpleNamespace(height=100, subnet=rules, neurons=[miner]))
    found = await examiner._changed(Round([], [miner], [graph], [], []))  # pyright: ignore[reportPrivateUsage]
    assert found == ([b"h"] if forgiven else [])
