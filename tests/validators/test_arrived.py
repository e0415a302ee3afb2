"""A challenge that wears a streamed request is read and scored like one in one piece, and trusted as little."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from davy.miners.backend import identity_of
from davy.miners.server import MinerHandler
from davy.network.events import data_frame
from davy.network.openai import CompletionRequest
from davy.network.receipts import receipt_in
from davy.network.signed_client import SignedClient
from davy.protocol.chain import ServedModel
from davy.protocol.ports import Frame, Response, SendFrame, SignedRequest, StreamReply
from davy.protocol.words import KeyRole
from davy.validators.challenger import Answered, Challenger
from tests.miners.stage import CHAIN, MINER, VALIDATOR, Letters, head, neuron, start
from tests.twins import LoopClock, SeededEntropy
from tests.twins.brake import brake_of

ASKED = CompletionRequest("any", "abc", max_tokens=5, temperature=0.0, logprobs=2, return_tokens_as_token_ids=True)
Change = Callable[[Frame], list[Frame]]


class Between:
    """Changes the frames of a miner's streams."""

    def __init__(self, miner: MinerHandler, change: Change) -> None:
        self._miner, self._change = miner, change

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        reply = await self._miner.handle(request)
        if isinstance(reply, Response):
            return reply

        async def pump(send: SendFrame) -> None:
            async def changed(frame: Frame) -> None:
                for f in self._change(frame):
                    await send(f)

            await reply.pump(changed)

        return StreamReply(reply.status, reply.headers, pump)


async def answered(request: CompletionRequest, change: Change = lambda frame: [frame]) -> Answered:
    miner = await start(Letters())
    miner.network.serve(miner.endpoint, Between(miner.handler, change))
    clock = LoopClock()
    brake = brake_of(VALIDATOR, clock, None, CHAIN)
    client = SignedClient(VALIDATOR, CHAIN, miner.network.transport(), clock, SeededEntropy(5))
    challenger = Challenger(client, clock, head(10), brake)
    served = ServedModel(miner.handler.serving.model_id, identity_of(miner.handler.serving.manifest), 1)
    asked = neuron(1, MINER.public(KeyRole.HOTKEY), endpoint=(miner.endpoint,), model=(served,))
    return await challenger.ask(asked, request, deadline_ms=5_000)


@pytest.mark.anyio
async def test_a_stream_holds_what_the_answer_in_one_piece_holds() -> None:
    whole = (await answered(ASKED)).response
    stream = (await answered(msgspec.structs.replace(ASKED, stream=True))).response
    assert whole is not None
    assert stream is not None
    assert stream.choices == whole.choices
    assert whole.choices[0].text == "defgh"


def text_changed(frame: Frame) -> list[Frame]:
    return [frame.replace(b'"text":"d"', b'"text":"x"')]


def piece_lost(frame: Frame) -> list[Frame]:
    return [] if b'"text":"d"' in frame else [frame]


def unsigned(frame: Frame) -> list[Frame]:
    return [] if receipt_in(frame) else [frame]


def signed_twice(frame: Frame) -> list[Frame]:
    return [frame, frame] if receipt_in(frame) else [frame]


def error_event(frame: Frame) -> list[Frame]:
    return [data_frame(b'{"error":{"message":"no","type":"server_error"}}')]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (text_changed, "another answer"),
        (piece_lost, "another answer"),
        (unsigned, "no receipt"),
        (signed_twice, "2 receipts"),
        (error_event, "not a valid CompletionResponse"),
        (lambda frame: [], "0 chunks"),
    ],
)
async def test_a_stream_that_is_not_what_its_miner_signed_is_no_answer(change: Change, reason: str) -> None:
    got = await answered(msgspec.structs.replace(ASKED, stream=True), change)
    assert got.response is None
    assert reason in got.reason
