"""Asks one miner one thing and returns what came back, receipt checked, or the reason why nothing useful did.

A challenge must look like use: it is sent by the client that a gateway has, on the ordinary route, whole or as a stream
like the request that it imitates, and at a time drawn at random (`arrivals`). So neither fields nor gaps nor what
happens after a miner's restart tell it from a user's.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from davy.network.error_responses import response_error
from davy.network.node_brake import NodeBrake
from davy.network.openai import CompletionRequest, CompletionResponse, to_json
from davy.network.receipts import check_receipt
from davy.network.signed_client import Question, SignedClient
from davy.protocol.chain import Head, Neuron
from davy.protocol.errors import DavyError, ModelHalted
from davy.protocol.ports import Clock, Response
from davy.protocol.receipt import Anchor, Outcome
from davy.protocol.words import UnixMillis
from davy.validators.arrived import Arrived, joined, whole


class Answered(NamedTuple):
    """What came of one request: a response, or a reason why there is none."""

    response: CompletionResponse | None
    reason: str
    halted: bool = False
    """Nothing was to be answered: the guard stopped it. It says nothing about the miner."""


class Asker(Protocol):
    """Who asks; `head` is the newest block it was told of."""

    head: Head

    async def ask(self, miner: Neuron, request: CompletionRequest, *, deadline_ms: int) -> Answered: ...


class Challenger:
    """Sends a validator's requests, anchored to the newest block it was told of (`head`).

    Receipts and refusals tell what miners know of the brake; where that is more or less than this node, they settle it.
    """

    def __init__(self, client: SignedClient, clock: Clock, head: Head, brake: NodeBrake) -> None:
        self._client, self._clock, self.head, self._brake = client, clock, head, brake

    async def ask(self, miner: Neuron, request: CompletionRequest, *, deadline_ms: int) -> Answered:
        """Ask a miner for its registered model; late, refused, unsigned and broken answers come back as a reason."""
        if not (miner.endpoint and miner.model):
            return Answered(None, "serves nothing")
        body = to_json(msgspec.structs.replace(request, model=miner.model[0].model_id.hex()))
        anchor = Anchor(self.head.height, self.head.hash)
        own = self._brake.guard.head
        q = Question(miner.endpoint[0], miner.hotkey, "/v1/completions", body, anchor, own)
        deadline = self._clock.now() + deadline_ms
        try:
            arrived = await (self._streamed if request.stream else self._whole)(q, deadline)
            fault = self.receipt_fault(miner, arrived)
            return Answered(None, fault) if fault else Answered(arrived.response, "")
        except ModelHalted as e:
            await self._brake.guard.receive_all([e.order] if e.order else [])
            return Answered(None, str(e)[:200])
        except DavyError as e:
            return Answered(None, str(e)[:200])

    async def _whole(self, q: Question, deadline: UnixMillis) -> Arrived:
        sent, answer = await self._client.call(q, deadline=deadline)
        if answer.status != 200:
            raise response_error(answer)
        return whole(sent, answer)

    async def _streamed(self, q: Question, deadline: UnixMillis) -> Arrived:
        async with self._client.stream(q, deadline=deadline) as (sent, incoming):
            frames = [frame async for frame in incoming.frames]
        if incoming.status != 200:
            raise response_error(Response(incoming.status, incoming.headers, b"".join(frames)))
        return joined(sent, frames)

    def receipt_fault(self, miner: Neuron, arrived: Arrived) -> str:
        """Say what is wrong with an answer's receipt; an answer is worth nothing unless its miner signed for it.

        Raises
        ------
        Refused
            The receipt is not the miner's, or not for this request and answer.
        """
        if arrived.receipt is None:
            return "no receipt"
        receipt = check_receipt(arrived.receipt, sent=arrived.sent, miner=miner.hotkey, response_body=arrived.digest)
        self._brake.peers.note(receipt.brake_head, miner.endpoint[0], miner.hotkey)
        if receipt.model_id != miner.model[0].model_id or receipt.outcome is not Outcome.DONE:
            return "the receipt is for another model, or for an answer that did not come to its end"
        return ""


def arrivals(rng: np.random.Generator, count: int, span_ms: int) -> list[int]:
    """Draw when each of `count` requests leaves, in ms from now: a Poisson stream's arrivals, given their number."""
    return [int(t) for t in rng.uniform(0, span_ms, count)]
