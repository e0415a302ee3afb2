"""A node's word on the ledger: for each order that stops or frees, once, and after what keeps it from being taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import anyio
import pytest
from trio.testing import MockClock

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network import attesting
from davy.network.attesting import Attesting
from davy.protocol.attestation import open_attestation
from davy.protocol.chain import Head, TxResult
from davy.protocol.errors import TxCode, Unreachable
from davy.protocol.order import Drill, Global, GroupKey, Halt, Lease, OrderAction
from davy.protocol.transaction import AttestStop
from tests.killswitch.story import Story
from tests.twins import LoopClock, MemoryStore, SeededKeys

pytestmark = pytest.mark.anyio
NODE = SeededKeys(4)


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Stage:
    """A guard, what it attests, and what becomes of each try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: TxCode | Exception) -> None:
        self.story, self.clock, self.store = Story(), LoopClock(), MemoryStore()
        self.kept = MemoryStore()
        self.guard = Guard(first_state(self.story.genesis), keys=NODE, clock=self.clock, store=self.kept)
        self.sent: list[AttestStop] = []
        self._outcomes: Iterator[TxCode | Exception] = iter(outcomes)
        self._height = 10
        monkeypatch.setattr(attesting, "send", self._send)

    async def _send(self, ledger: Any, keys: Any, role: Any, action: AttestStop) -> TxResult:
        self.sent.append(action)
        outcome = next(self._outcomes, TxCode.OK)
        if isinstance(outcome, Exception):
            raise outcome
        return TxResult(self._height, 0, outcome, "")

    async def guard_again(self) -> Guard:
        """The guard of the next process, on the same disk."""
        guard = Guard(first_state(self.story.genesis), keys=NODE, clock=self.clock, store=self.kept)
        await guard.open()
        return guard

    async def take(self, action: OrderAction) -> bytes:
        now = self.clock.now()
        raw = self.story.keyholders.sign(self.story.keyholders.order(self.story.chain, action, now, now + 86_400_000))
        await self.guard.receive_all([raw])
        return raw

    async def blocks(self, count: int) -> None:
        for _ in range(count):
            self._height += 1
            await self.guard.at_block(Head(self._height, self.clock.now(), bytes(32), bytes(32)), [])
            await anyio.sleep(1)

    async def run(self, *actions: OrderAction, blocks: int = 5) -> None:
        """Attest while some blocks pass after these orders."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Attesting(self.guard, NODE, cast("Any", None), self.store).run)
            await self.blocks(1)
            for action in actions:
                await self.take(action)
            await self.blocks(blocks)
            tasks.cancel_scope.cancel()


HALT = Halt(Global(), GroupKey.HALT)


async def test_a_halt_and_a_drill_are_answered_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Stage(monkeypatch)
    await s.run(HALT, Drill(Global()))
    said = [open_attestation(a.attestation) for a in s.sent]
    assert {a.order for a in said} == {v.id for v in s.guard.obeyed}
    assert len(said) == 2


async def test_what_grants_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Stage(monkeypatch)
    await s.run(Lease((b"\7" * 32,)))
    assert s.sent == []
    assert len(s.guard.obeyed) == 1


@pytest.mark.parametrize("outcome", [TxCode.NOT_FOUND, TxCode.INSUFFICIENT, Unreachable("away")])
async def test_it_is_said_again_until_it_is_taken(monkeypatch: pytest.MonkeyPatch, outcome: TxCode | Exception) -> None:
    s = Stage(monkeypatch, outcome, outcome, TxCode.OK)
    await s.run(HALT)
    assert len(s.sent) == 3
    assert len({a.attestation for a in s.sent}) == 1


async def test_what_the_ledger_has_is_not_said_again_nor_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Stage(monkeypatch, TxCode.EXISTS)
    await s.run(HALT)
    assert len(s.sent) == 1
    await s.run()
    assert len(s.sent) == 1


async def test_what_a_killed_process_had_not_said_is_said_after_its_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Stage(monkeypatch)
    await s.take(HALT)
    s.guard = await s.guard_again()
    await s.run()
    assert len(s.sent) == 1


async def test_who_joins_does_not_answer_for_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Stage(monkeypatch)
    await s.take(HALT)
    await anyio.sleep(3_601)
    await s.run()
    assert s.sent == []


async def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Stage(monkeypatch, *[TxCode.NOT_FOUND] * 1_000)
    await s.run(HALT, blocks=150)
    assert len(s.sent) == 100
