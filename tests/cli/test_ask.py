"""`davy ask` waits for a miner that is busy, or a block behind, and for no other refusal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from davy.cli.ask import PAUSE_MS, until_free
from davy.protocol.errors import Busy, Refused, Unauthorised
from tests.twins import SetClock

pytestmark = pytest.mark.anyio
BEHIND = Busy("the anchor's height 9 is more than 1 above 7; ask again with an older anchor")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answered(clock: SetClock, patience_ms: int, *answers: str | Refused) -> str:
    told: Iterator[str | Refused] = iter(answers)

    async def once() -> str:
        answer = next(told)
        if isinstance(answer, Refused):
            raise answer
        return answer

    return await until_free(once, clock, clock.now() + patience_ms)


async def test_a_miner_that_is_behind_is_asked_again() -> None:
    clock = SetClock()
    began = clock.now()
    assert await answered(clock, 60_000, BEHIND, BEHIND, "text") == "text"
    assert clock.now() - began == 2 * PAUSE_MS


async def test_not_beyond_the_deadline() -> None:
    with pytest.raises(Busy, match="height 9"):
        await answered(SetClock(), PAUSE_MS + 1, BEHIND, BEHIND, "too late")


async def test_any_other_refusal_is_final() -> None:
    with pytest.raises(Unauthorised):
        await answered(SetClock(), 60_000, Unauthorised("add stake"), "never asked")
