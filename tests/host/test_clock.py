"""The wall clock: it waits until its time, and not for ever when the clock is set."""

import time

import pytest

from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_sleeps_until_its_time() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time() * 1000) < 60_000
    until = clock.now() + 30
    await clock.sleep_until(until)
    assert clock.now() >= until
    await clock.sleep_until(0)


async def test_a_clock_set_forward_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, start = SystemClock(), time.time_ns()
    reads = iter([start, start + 10**18])
    monkeypatch.setattr(time, "time_ns", lambda: next(reads))
    await clock.sleep_until(start // 1_000_000 + 10**9)


def test_entropy_does_not_repeat() -> None:
    assert len({OsEntropy().bytes(16) for _ in range(100)}) == 100
    assert len(OsEntropy().bytes(0)) == 0
