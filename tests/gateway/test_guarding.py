"""A gateway under keyholders: what its guard stops it does not ask, and what miners say of halts it checks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from trio.testing import MockClock

from davy.gateway.guarding import Brake
from davy.network.error_responses import ORDER_HEADER, error_response
from davy.network.events import data_payloads
from davy.network.node_brake import NodeBrake
from davy.protocol.chain import Head
from davy.protocol.errors import ModelHalted, TxCode, TxFailed
from davy.protocol.manifest import model_id
from davy.protocol.order import Global, GroupKey, Halt, Models, Target
from davy.protocol.order import Miner as MinerTarget
from davy.protocol.ports import Handler, Response, SignedRequest, StreamReply
from davy.protocol.recorded import SubjectFacts
from tests.gateway.stage import GATEWAY, Miner, Stage, stage
from tests.killswitch.story import Story
from tests.miners.stage import Letters
from tests.miners.test_halted import Endless
from tests.twins import LoopClock
from tests.twins.brake import KnowsModels, brake_of

pytestmark = pytest.mark.anyio
GREEDY = {"temperature": 0, "max_tokens": 4}
MODEL = model_id(Letters().manifest())


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Ledger(KnowsModels):
    """Knows models, but not for `strangers`."""

    def __init__(self) -> None:
        self.strangers: set[bytes] = set()
        self.systemic = False

    async def subject(self, netuid: int, hotkey: bytes, model: bytes | None = None) -> SubjectFacts:
        if hotkey in self.strangers:
            raise TxFailed(TxCode.NOT_FOUND, "no UID there")
        return msgspec.structs.replace(await super().subject(netuid, hotkey, model), systemic=self.systemic)


@asynccontextmanager
async def guarded(*miners: Miner, pulled: bool = True) -> AsyncGenerator[tuple[Stage, NodeBrake, Story, Ledger]]:
    story, ledger, clock = Story(), Ledger(), LoopClock()
    brake = brake_of(GATEWAY, clock, ledger, story.chain, story.keyholders.roster)
    guard = Brake(brake)
    if pulled:
        await brake.guard.at_block(Head(10, clock.now(), bytes(32), bytes(32)), [])
    async with stage(*miners, guard=guard) as s:
        await guard.learn(s.directory.places)
        yield s, brake, story, ledger


def halt(story: Story, target: Target) -> bytes:
    now = LoopClock().now()
    order = story.keyholders.order(story.chain, Halt(target, GroupKey.HALT), now, now + 86_400_000)
    return story.keyholders.sign(order)


def refused(answer: Response | StreamReply) -> tuple[int, str, bytes]:
    assert isinstance(answer, Response)
    error: dict[str, Any] = json.loads(answer.body)["error"]
    order = dict(answer.headers).get(ORDER_HEADER, "")
    return answer.status, error["code"], base64.b64decode(order)


class Says:
    """A miner that answers everything with 451 and these bytes."""

    def __init__(self, order: bytes) -> None:
        self._order = order

    def __call__(self, handler: Handler) -> Handler:
        return self

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        return error_response(ModelHalted("halted, believe me", self._order))


async def test_who_is_not_halted_is_asked() -> None:
    async with guarded(a := Miner("a")) as (s, _, _, _):
        answer = await s.ask(GREEDY)
        assert isinstance(answer, Response)
        assert answer.status == 200
    assert len(a.asked) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_order_stops_it_with_451_and_nobody_is_asked(stream: bool) -> None:
    async with guarded(a := Miner("a")) as (s, brake, story, _):
        raw = halt(story, Models((MODEL,), (), ()))
        await brake.guard.receive_all([raw])
        assert refused(await s.ask({**GREEDY, "stream": stream})) == (451, "model_halted", raw)
        assert (await s.get("/v1/models"))[1]["data"] == []
    assert a.asked == []


async def test_one_halted_miner_leaves_the_others() -> None:
    a, b = Miner("a", incentive=65_535), Miner("b", incentive=1)
    async with guarded(a, b) as (s, brake, story, _):
        await brake.guard.receive_all([halt(story, MinerTarget(a.hotkey))])
        for _ in range(4):
            answer = await s.ask(GREEDY)
            assert isinstance(answer, Response)
            assert answer.status == 200
    assert (len(a.asked), len(b.asked)) == (0, 4)


async def test_a_stream_ends_within_a_token_and_carries_the_order() -> None:
    frames: list[bytes] = []
    async with guarded(Miner("a", backend=Endless())) as (s, brake, story, _):
        raw = halt(story, Global())
        answer = await s.ask({**GREEDY, "max_tokens": 1_000, "stream": True})
        assert isinstance(answer, StreamReply)

        async def send(frame: bytes) -> None:
            frames.append(frame)
            if len(frames) == 3:
                await brake.guard.receive_all([raw])

        with anyio.fail_after(30):
            await answer.pump(send)
    told = [json.loads(p)["error"] for f in frames for p in data_payloads(f) if b'"error"' in p]
    assert [(e["code"], base64.b64decode(e["order"])) for e in told] == [("model_halted", raw)]
    assert len(frames) <= 8


async def test_a_stream_of_what_was_made_systemic_meanwhile_ends() -> None:
    frames: list[bytes] = []
    async with guarded(Miner("a", backend=Endless())) as (s, brake, _, ledger):
        answer = await s.ask({**GREEDY, "max_tokens": 1_000, "stream": True})
        assert isinstance(answer, StreamReply)

        async def send(frame: bytes) -> None:
            frames.append(frame)
            if len(frames) == 3:
                ledger.systemic = True
                brake._known.clear()  # pyright: ignore[reportPrivateUsage]
                await s.means.guard.learn(s.directory.places)
                await brake.guard.at_block(Head(11, LoopClock().now(), bytes(32), bytes(32)), [])

        with anyio.fail_after(30):
            await answer.pump(send)
    assert any(b'"model_halted"' in frame for frame in frames)
    assert len(frames) <= 8


async def test_a_miner_tells_of_an_order_that_the_gateway_lacked() -> None:
    order: list[bytes] = []

    class Knows(Says):
        async def handle(self, request: SignedRequest) -> Response | StreamReply:
            return error_response(ModelHalted("halted", order[0]))

    async with guarded(Miner("a", wrap=Knows(b""))) as (s, brake, story, _):
        order.append(halt(story, Models((MODEL,), (), ())))
        assert refused(await s.ask(GREEDY)) == (451, "model_halted", order[0])
        assert order[0] in [v.raw for v in brake.guard.state.orders.values()]


@pytest.mark.parametrize("order", [b"", b"junk", bytes(300)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_word_of_a_halt_alone_stops_nobody_else(order: bytes, stream: bool) -> None:
    liar, honest = Miner("a", incentive=65_535, wrap=Says(order)), Miner("b", incentive=1)
    async with guarded(liar, honest) as (s, _, _, _):
        answer = await s.ask({**GREEDY, "stream": stream})
        assert getattr(answer, "status", 200) == 200
    async with guarded(Miner("a", wrap=Says(order))) as (s, _, _, _):
        status, code, told = refused(await s.ask({**GREEDY, "stream": stream}))
        assert (status, code, told) == (503, "unavailable", b"")


async def test_before_the_pull_nobody_is_asked() -> None:
    async with guarded(a := Miner("a"), pulled=False) as (s, _, _, _):
        assert refused(await s.ask(GREEDY))[:2] == (429, "busy")
    assert a.asked == []


async def test_whom_the_ledger_does_not_know_is_left_out() -> None:
    async with guarded(a := Miner("a"), b := Miner("b")) as (s, brake, _, ledger):
        ledger.strangers.add(a.hotkey)
        brake._known.clear()  # pyright: ignore[reportPrivateUsage]
        await s.means.guard.learn(s.directory.places)
        for _ in range(3):
            answer = await s.ask(GREEDY)
            assert isinstance(answer, Response)
            assert answer.status == 200
    assert (len(a.asked), len(b.asked)) == (0, 3)
