"""Users of a gateway in virtual time, and validators that can run every miner's model again."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import numpy as np

from davy.gateway.directory import Directory
from davy.gateway.gateway import Gateway, Limits
from davy.gateway.guarding import Brake
from davy.gateway.node import GatewayNode
from davy.gateway.relay import Means
from davy.gateway.sampling import Sample
from davy.network.access import Accesses
from davy.network.exchange import Exchanges
from davy.network.openai import CompletionRequest, CompletionResponse
from davy.network.signed_client import SignedClient
from davy.protocol.chain import ModelRecord
from davy.protocol.encoding import decode
from davy.protocol.errors import TxFailed
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.words import ModelId
from davy.tasks.answer import Answer, read_tokens
from davy.tasks.identity import Calibration
from davy.tasks.shape import Shapes
from davy.validators.identity import Known
from tests.simulated.guess import LETTERS, next_letter
from tests.simulated.ledger import SimulatedClient
from tests.simulated.world import NETUID, Node, World

CALIBRATION = Calibration("guess", "00" * 32, "float64", 1e-6, 1e-6, 0.0, 0.0, ())


class Letters:
    """The vocabulary of `Guesser`: a token is a byte."""

    size = 256

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        return bytes(int(i) for i in ids)


def read(asked: CompletionRequest, r: CompletionResponse) -> Answer:
    return read_tokens(r, asked, Letters())  # pyright: ignore[reportArgumentType] - of a vocabulary it needs no more


class Files:
    """What a miner's files say: those of a `Guesser` of this knowledge."""

    def __init__(self, knowledge: float) -> None:
        self._knowledge = knowledge

    def log_probabilities(self, prompts: Sequence[str], continuations: Sequence[Sequence[int]]) -> list[np.ndarray]:
        return [
            np.array([self._after(prompt + bytes(c[:i]).decode()) for i in range(len(c))])
            for prompt, c in zip(prompts, continuations, strict=True)
        ]

    def _after(self, text: str) -> np.ndarray:
        row = np.full(256, -np.inf)
        row[[ord(letter) for letter in LETTERS]] = np.log(
            self._knowledge * np.array(next_letter(text)) + (1 - self._knowledge) / 16
        )
        return row


async def registered(client: SimulatedClient, model_id: ModelId) -> ModelRecord | None:
    try:
        return decode(await client.query("/model", model_id), ModelRecord, limit=MAX_RESULT_BYTES)
    except TxFailed:
        return None


def library(world: World, record: ModelRecord) -> Known:
    """The model that a manifest names: every miner's bears its name."""
    return Known(Files(world.knowledge(int(record.manifest.name.removeprefix("miner-")))), CALIBRATION)


@asynccontextmanager
async def gateway(world: World, node: Node) -> AsyncGenerator[Gateway]:
    """A gateway under a node's hotkey, which puts exchanges into the node's store."""
    directory = Directory(node.hotkey, lambda m: registered(node.client, m), Accesses(node.client))
    sample = Sample(random.Random(1))
    client = SignedClient(node.keys, world.ledger.chain, world.net.transport(node.name), world.clock, node.entropy)
    brake = await world.brake(node)
    guard = Brake(brake)
    means = Means(client, world.clock, directory, guard, random.Random(2), Shapes(), sample, frozenset({"guess"}))
    opened = Gateway(means, limits=Limits(rate=1e6, burst=10**6))
    follower = GatewayNode(
        [NETUID], ledger=node.client, clock=world.clock, directory=directory, brake=brake, guard=guard,
        sample=sample, exchanges=Exchanges(node.store),
    )  # fmt: skip
    async with opened.opened(), anyio.create_task_group() as tasks:
        tasks.start_soon(brake.run)
        tasks.start_soon(follower.run)
        yield opened
        tasks.cancel_scope.cancel()


async def use(door: Gateway, world: World, answered: list[bool], *, a_second: float = 5.0) -> None:
    """Send prompts as they come to mind, until cancelled; `answered` notes which were."""
    rng = random.Random(3)

    async def ask() -> None:
        prompt = "".join(rng.choice(LETTERS) for _ in range(rng.randrange(4, 9)))
        body = json.dumps({"model": "any", "prompt": prompt, "max_tokens": 1, "temperature": 0}).encode()
        answer = await door.handle(SignedRequest("POST", "/v1/completions", (), body))
        answered.append(isinstance(answer, Response) and answer.status == 200)

    async with anyio.create_task_group() as tasks:
        while True:
            await anyio.sleep(rng.expovariate(a_second))
            tasks.start_soon(ask)
