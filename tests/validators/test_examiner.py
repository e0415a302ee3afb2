"""What comes from outside, tasks of strangers included, does not end a validator."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from davy.network.openai import CompletionRequest, CompletionResponse
from davy.protocol.errors import BadAnswer
from davy.validators.challenger import Answered
from davy.validators.examiner import Examiner, Means, Pace
from tests.twins import LoopClock, MemoryStore, SeededEntropy


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
