"""A halt at a miner's edges: before an answer, in the queue, during a stream, at a change of models, at a start."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.miners.admission import Rules
from davy.miners.backend import Backend, Piece, Tally
from davy.network.error_responses import response_error
from davy.network.openai import CompletionRequest
from davy.network.receipts import receipt_in
from davy.protocol.attestation import open_attestation
from davy.protocol.brake_messages import BrakeReply, OrderSet
from davy.protocol.chain import Head
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import ModelHalted
from davy.protocol.limits import MAX_RESPONSE_BYTES
from davy.protocol.manifest import Manifest, model_id
from davy.protocol.order import Miner as MinerTarget
from davy.protocol.order import Models, Target
from davy.protocol.ports import SignedRequest, StreamReply
from davy.protocol.receipt import Outcome, open_receipt
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, Story, order_of
from tests.miners.stage import MINER, Letters, Miner, ask, start
from tests.miners.test_server import Stream, error_of, receipt_of
from tests.twins import LoopClock, MemoryStore

pytestmark = pytest.mark.anyio
LETTERS = model_id(Letters().manifest())


class Endless(Letters):
    """A token every 100 ms; `made` counts them, `left` whether its generation was left."""

    def __init__(self) -> None:
        self.made = 0
        self.left = anyio.Event()

    def manifest(self) -> Manifest:
        return Letters().manifest()

    @asynccontextmanager
    async def generate(
        self, request: CompletionRequest, stopped: Any
    ) -> AsyncIterator[AsyncGenerator[Piece | Tally, None]]:
        async def pieces() -> AsyncGenerator[Piece | Tally, None]:
            while not stopped():
                self.made += 1
                yield Piece(ord("a"), "a", -0.1)
                await anyio.sleep(0.1)

        try:
            async with aclosing(pieces()) as every:
                yield every
        finally:
            self.left.set()


async def keyheld(backend: Backend, story: Story, rules: Rules | None = None) -> Miner:
    """A miner that the story's keyholders can halt."""
    guard = Guard(first_state(story.genesis), keys=MINER, clock=LoopClock(), store=MemoryStore())
    await guard.at_block(Head(10, LoopClock().now(), bytes(32), bytes(32)), [])
    return await start(backend, rules, guard)


def halt(story: Story, target: Target | None = None) -> bytes:
    """Of the letters' model, unless another target is given; issued now."""
    days = (LoopClock().now() - START) / 86_400_000
    return story.given[story.halt(days, days + 2, target or Models((LETTERS,), (), ()))]


@pytest.fixture
def story() -> Story:
    return Story()


async def test_a_halted_model_answers_451_with_the_order(story: Story) -> None:
    miner = await keyheld(Letters(), story)
    raw = halt(story)
    await miner.guard.receive(raw)
    response = await miner.call(ask({"prompt": "a"}))
    assert error_of(response) == (451, "model_halted")
    headers = dict(response.headers)
    assert headers["x-should-retry"] == "false"
    assert base64.b64decode(headers["davy-order"]) == raw
    assert base64.b64decode(json.loads(response.body)["error"]["order"]) == raw
    told = response_error(response)
    assert isinstance(told, ModelHalted)
    assert told.order == raw
    in_body_only = response_error(response._replace(headers=()))
    assert isinstance(in_body_only, ModelHalted)
    assert in_body_only.order == raw
    assert "davy-receipt" not in headers


async def test_a_stream_asked_for_is_answered_the_same(story: Story) -> None:
    miner = await keyheld(Letters(), story)
    await miner.guard.receive(halt(story, MinerTarget(MINER.public(KeyRole.HOTKEY))))
    async with miner.stream(ask({"prompt": "a", "stream": True})) as incoming:
        assert incoming.status == 451


async def test_a_lift_brings_it_back(story: Story) -> None:
    miner = await keyheld(Letters(), story)
    raw = halt(story)
    await miner.guard.receive(raw)
    days = (LoopClock().now() - START) / 86_400_000
    lift = story.given[story.lift(days, order_of(raw).id)]
    await miner.guard.receive(lift)
    assert (await miner.call(ask({"prompt": "a"}))).status == 451
    now = LoopClock().now()
    await miner.guard.at_block(Head(11, now, bytes(32), bytes(32)), [(raw, now), (lift, now)])
    assert receipt_of(await miner.call(ask({"prompt": "a"}))).brake_head == miner.guard.head


async def test_a_stream_ends_with_an_error_and_a_receipt_that_covers_it(story: Story) -> None:
    backend = Endless()
    miner = await keyheld(backend, story)
    raw = halt(story)
    got = Stream()
    answers: list[bytes] = []

    async def post() -> None:
        body = encode(OrderSet(1, (raw,)))
        reply = await miner.call(SignedRequest("POST", "/brake", (), body))
        answers.extend(decode(reply.body, BrakeReply, limit=MAX_RESPONSE_BYTES).attestations)

    async with (
        anyio.create_task_group() as tasks,
        miner.stream(ask({"prompt": "a", "max_tokens": 1000, "stream": True})) as incoming,
    ):
        async for frame in incoming.frames:
            got.frames.append(frame)
            if len(got.frames) == 3:
                tasks.start_soon(post)
    assert backend.left.is_set()
    assert got.frames[-1] == b"data: [DONE]"
    error = json.loads(got.payloads[-1])["error"]
    assert (error["code"], base64.b64decode(error["order"])) == ("model_halted", raw)
    assert got.matches()
    assert (got.receipt.outcome, got.receipt.brake_head) == (Outcome.HALTED, miner.guard.head)
    assert backend.made <= 4  # the third token, and one that was on its way
    assert got.receipt.completion_tokens == len(got.payloads) - 1
    a = open_attestation(answers[0])
    assert (a.streams, a.models) == (1, (LETTERS,))


async def test_a_client_that_does_not_read_keeps_nothing_running(story: Story) -> None:
    """Its send blocks; the halt cancels it, nothing of it was sent, and the receipt says so."""
    backend = Endless()
    miner = await keyheld(backend, story)
    raw = halt(story)
    reply = await miner.handler.handle(ask({"prompt": "a", "max_tokens": 1000, "stream": True}))
    sent, blocked = Stream(), anyio.Event()

    async def send(frame: bytes) -> None:
        if len(sent.frames) == 2 and not miner.guard.state.orders:
            blocked.set()
            await anyio.sleep_forever()
        sent.frames.append(frame)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reply.pump, send)  # type: ignore[union-attr]
        await blocked.wait()
        assert open_attestation(await miner.guard.receive(raw)).streams == 1
    assert sent.matches()
    assert sent.receipt.outcome is Outcome.HALTED
    assert backend.left.is_set()


async def test_a_whole_answer_under_way_becomes_451(story: Story) -> None:
    miner = await keyheld(Endless(), story)
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await miner.call(ask({"prompt": "a", "max_tokens": 1000})))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.sleep(0.5)
        await miner.guard.receive(halt(story))
    assert error_of(answers[0]) == (451, "model_halted")


async def test_who_waits_in_the_queue_is_told_at_once(story: Story) -> None:
    miner = await keyheld(Endless(), story, Rules(places=1))
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await miner.call(ask({"prompt": "a", "max_tokens": 1000})))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(call)
        await anyio.sleep(0.5)
        assert open_attestation(await miner.guard.receive(halt(story))).streams == 5
    assert {error_of(a) for a in answers} == {(451, "model_halted")}


async def test_a_drill_disturbs_nobody(story: Story) -> None:
    miner = await keyheld(Letters(), story)
    days = (LoopClock().now() - START) / 86_400_000
    await miner.guard.receive(story.given[story.drill(days, days + 1, Models((LETTERS,), (), ()))])
    assert (await miner.call(ask({"prompt": "a"}))).status == 200


async def test_before_the_pull_at_boot_nothing_is_served(story: Story) -> None:
    guard = Guard(first_state(story.genesis), keys=MINER, clock=LoopClock(), store=MemoryStore())
    miner = await start(Letters(), None, guard)
    assert error_of(await miner.call(ask({"prompt": "a"}))) == (429, "busy")
    health = await miner.call(SignedRequest("GET", "/health", (), b""))
    assert health.status == 503


async def test_a_model_that_the_ledger_does_not_know_is_not_served(story: Story) -> None:
    miner = await keyheld(Letters(), story)
    miner.handler.serving.subjects = ()
    assert error_of(await miner.call(ask({"prompt": "a"}))) == (429, "busy")


async def test_callers_heads_are_heard(story: Story) -> None:
    heard: list[bytes] = []
    miner = await keyheld(Letters(), story)
    miner.handler._heard = heard.append  # pyright: ignore[reportPrivateUsage]
    await miner.call(ask({"prompt": "a"}))
    assert heard == [bytes(32)]


async def test_what_was_held_back_for_a_stop_sequence_does_not_follow_a_halt(story: Story) -> None:
    miner = await keyheld(Letters(), story)
    asked = {"prompt": "a", "max_tokens": 8, "stream": True, "temperature": 0, "stop": ["bcdefghijk"]}
    reply = await miner.handler.handle(ask(asked))
    assert isinstance(reply, StreamReply)
    frames: list[bytes] = []

    async def send(frame: bytes) -> None:
        if not frames:  # a slow reader: its first frame waits while the HALT comes
            frames.append(frame)
            await miner.guard.receive_all([halt(story)])
            await anyio.sleep(1)
            return
        frames.append(frame)

    await reply.pump(send)
    texts = [f for f in frames if b'"text":"' in f and b'"text":""' not in f]
    assert len(texts) <= 1
    (receipt,) = [r for f in frames if (r := receipt_in(f)) is not None]
    assert open_receipt(receipt).outcome is Outcome.HALTED
