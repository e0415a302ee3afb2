"""One miner, a validator that examines it, and a gateway under the same hotkey: what crosses the wire, in virtual time.

The challenges are made, timed, signed and sent by the validator's own code, the users' requests by the gateway's; the
miner notes every request it receives, and answers. A computation of the examiner takes `THINKS_S` seconds here,
as a model that is run again does on a shared machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import anyio
import msgspec
import numpy as np
import trio
from trio._core import _run  # pyright: ignore[reportMissingImports] - hidden by stubs that libp2p brings
from trio.testing import MockClock

from davy.gateway.directory import Directory
from davy.gateway.gateway import Gateway
from davy.gateway.relay import Means as GatewayMeans
from davy.gateway.sampling import Sample
from davy.network.access import Accesses
from davy.network.events import DONE, data_frame
from davy.network.memory import MemoryNetwork
from davy.network.openai import Choice, CompletionRequest, CompletionResponse, Logprobs, parse_request, to_json
from davy.network.receipts import Served, StreamDigest, make_receipt, receipt_frame, receipt_header, response_digest
from davy.network.signed import Caller, read_request, request_id
from davy.network.signed_client import SignedClient
from davy.protocol.chain import Head, Metagraph, Neuron, ServedModel, SubnetInfo
from davy.protocol.limits import hyperparameters
from davy.protocol.manifest import Identity
from davy.protocol.ports import (
    IncomingStream,
    LedgerClient,
    Response,
    SendFrame,
    SignedRequest,
    StreamReply,
    Transport,
)
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Outcome
from davy.protocol.recorded import AccessRecord
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from davy.tasks.shape import Shapes
from davy.tasks.task import Corpus, Generator, Task
from davy.validators.challenger import Challenger
from davy.validators.examiner import Examiner, Means, Pace
from tests.gateway.stage import NoBrake
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys
from tests.twins.brake import ANYBODY, brake_of

CHAIN: Final = b"\x0c" * 32
MODEL: Final = bytes(range(32))
MINER: Final = Endpoint("miner", 9000, b"\x0f" * 32, b"")
LOGS: Final = Logprobs(["token_id:0"], [-0.1], [{"token_id:0": -0.1}], [0])
ANSWER: Final = CompletionResponse("cmpl", 1, MODEL.hex(), [Choice(0, "a", LOGS, "length")])
BLOCK_S: Final = 1.0
THINKS_S: Final = 2.0
PACE: Final = Pace(challenges=48)


class Seen(NamedTuple):
    """A request as its miner received it; `is_challenge` is what the miner would like to know."""

    at_ms: int
    height: int
    request: SignedRequest
    is_challenge: bool


@dataclass(frozen=True)
class Scene:
    """How much of what is going on; the fields at the end are what a careless validator would do otherwise."""

    seed: int = 1
    seconds: int = 900
    pace: Pace = PACE
    users_per_s: float = 1.6
    tempo: int = 360
    temperature: Callable[[Generator], float] = field(default=lambda rng: 0.0)
    change_request: Callable[[CompletionRequest], CompletionRequest] = field(default=lambda r: r)
    change_sent: Callable[[SignedRequest], SignedRequest] = field(default=lambda r: r)


def play(scene: Scene, task: Task[Any, Any], corpus: Corpus, users_text: str) -> list[Seen]:
    """Let users and validator ask one miner for `seconds`; return what it saw, in order. One scene gives one list."""
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # pyright: ignore[reportPrivateUsage]
    _run._r = random.Random(scene.seed)  # pyright: ignore[reportPrivateUsage]

    async def main() -> list[Seen]:
        return await _Stage(scene, task, corpus, users_text).run()

    return trio.run(main, clock=MockClock(autojump_threshold=0))


class _Stage:
    def __init__(self, scene: Scene, task: Task[Any, Any], corpus: Corpus, users_text: str) -> None:
        self._scene, self._task, self._users_text = scene, task, users_text
        self._clock = LoopClock()
        self._keys, self._miner = SeededKeys(scene.seed), SeededKeys(scene.seed + 1)
        self._rng = np.random.default_rng(scene.seed)
        self._net = MemoryNetwork(self._clock, 0.0, lambda r: r.uniform(5, 40), random.Random(scene.seed))
        self._net.serve(MINER, self)
        self._head = _head(1, self._clock.now())
        self._entropy = SeededEntropy(scene.seed)
        self._challenges: set[str] = set()
        self._seen: list[Seen] = []
        transport = self._net.transport("validator")
        users = SignedClient(self._keys, CHAIN, transport, self._clock, self._entropy)
        ledger = cast("LedgerClient", self)  # of a ledger gateway and examiner need no more than there is
        self._directory = Directory(self._keys.public(KeyRole.HOTKEY), _unregistered, Accesses(ledger))
        shapes = getattr(task, "shapes", Shapes())
        seeded = random.Random(scene.seed)
        means = GatewayMeans(users, self._clock, self._directory, NoBrake(), seeded, shapes, Sample(seeded))
        self._gateway = Gateway(means)
        marked = _Marked(transport, self._challenges, scene.change_sent)
        brake = brake_of(self._keys, self._clock, None, CHAIN)
        challenges = SignedClient(self._keys, CHAIN, marked, self._clock, self._entropy)
        challenger = Challenger(challenges, self._clock, self._head, brake)
        changed, store = _Changed(task, scene.change_request), MemoryStore()
        means = Means(changed, corpus, challenger, (), brake, ledger, store, self._entropy, self._clock, _thinks)
        self._examiner = Examiner([1], self._keys.public(KeyRole.HOTKEY), means, scene.pace)

    async def run(self) -> list[Seen]:
        self._directory.see(self._head, self._clock.now())
        await self._directory.update([await self.metagraph(1)])
        with anyio.move_on_after(self._scene.seconds):
            async with self._gateway.opened(), anyio.create_task_group() as tasks:
                tasks.start_soon(self._blocks)
                tasks.start_soon(self._use)
                await anyio.sleep(60)  # a gateway has traffic before its validator borrows its looks
                tasks.start_soon(self._examiner.run)
        first = next(i for i, s in enumerate(self._seen) if s.is_challenge)
        return self._seen[first:]

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        """The miner: notes, and takes its time."""
        mark = dict(request.headers)["signature"]
        self._seen.append(Seen(self._clock.now(), self._head.height, request, mark in self._challenges))
        await anyio.sleep(random.Random(mark).uniform(0.05, 0.4))
        body = to_json(ANSWER)
        if not parse_request(request.body).stream:
            return Response(200, (receipt_header(self._receipt(request, response_digest(body))),), body)

        async def pump(send: SendFrame) -> None:
            said = StreamDigest()
            said.add_payload(body)
            await send(data_frame(body))
            await send(receipt_frame(self._receipt(request, said.value())))
            await send(data_frame(DONE))

        return StreamReply(200, (), pump)

    def _receipt(self, request: SignedRequest, body: bytes) -> bytes:
        claim = read_request(request)
        caller = Caller(claim.hotkey, request_id(request), claim.anchor, claim.brake_head, claim.created * 1000)
        served = Served(body, MODEL, Identity.FILES, EMPTY_BRAKE_HEAD, 1, 1, Outcome.DONE, self._clock.now())
        return make_receipt(self._miner, CHAIN, caller, request.body, served)

    def unchanged(self, netuid: int, since: int) -> bool:
        return False  # it says nothing

    async def metagraph(self, netuid: int, at: int | None = None) -> Metagraph:
        """What the examiner asks the ledger."""
        hyper = hyperparameters(tempo=self._scene.tempo)
        subnet = SubnetInfo(netuid, b"o" * 32, "text", "yuma3", hyper, 0, 0, 20, 0, 0)
        served = (ServedModel(MODEL, Identity.FILES, 1),)
        own = self._miner.public(KeyRole.HOTKEY)
        miner = Neuron(0, own, b"c" * 32, 1, 0, 0, False, True, 0, 0, 0, 0, 0, 0, 0, (MINER,), served)
        return Metagraph(self._head.height, subnet, (miner,))

    async def accesses(self, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        return (ANYBODY,) * len(models)

    async def _blocks(self) -> None:
        while True:
            await anyio.sleep(BLOCK_S)
            self._head = _head(self._head.height + 1, self._clock.now())
            self._examiner.see(self._head)
            self._directory.see(self._head, self._clock.now())

    async def _use(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.sleep(self._rng.exponential(1 / self._scene.users_per_s))
                tasks.start_soon(self._forward, self._wish())

    async def _forward(self, wish: CompletionRequest) -> None:
        """A user asks the gateway, and reads what comes."""
        body = to_json(msgspec.structs.replace(wish, model=MODEL.hex()))
        answer = await self._gateway.handle(SignedRequest("POST", "/v1/completions", (), body))
        assert answer.status == 200, answer
        if isinstance(answer, StreamReply):
            await answer.pump(_read)

    def _wish(self) -> CompletionRequest:
        """A user of one of three kinds: completing a line, writing a paragraph, or an application with its own ways."""
        rng = self._rng
        kind = rng.choice(3, p=[0.5, 0.3, 0.2])
        size = int(
            np.clip(rng.lognormal((5.2, 6.2, 5.8)[kind], 0.4), 80, 1_000)
        )  # longer ones the smallest models refuse
        start = int(rng.integers(len(self._users_text) - size))
        return CompletionRequest(
            model="-",
            prompt=self._users_text[start : start + size].strip() or "x" * size,
            max_tokens=int(rng.choice(((4, 8, 16), (32, 64), (16, 100))[kind])),
            temperature=self._scene.temperature(rng),
            top_p=float(rng.choice([0.9, 1.0])),
            stop=(None, "\n\n", ["END", "\n"])[kind],
            stream=bool(rng.random() < (0.1, 0.8, 0.0)[kind]),
            seed=int(rng.integers(2**40)) if rng.random() < (0.0, 0.2, 0.8)[kind] else None,
            user=f"user-{int(rng.integers(50))}" if rng.random() < 0.5 else None,
        )


class _Marked:
    """The challenger's transport: remembers what it sent, by signature; the miner sees nothing of this."""

    def __init__(
        self, inner: Transport, challenges: set[str], change: Callable[[SignedRequest], SignedRequest]
    ) -> None:
        self._inner, self._challenges, self._change = inner, challenges, change

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> Response:
        self._challenges.add(dict(r.headers)["signature"])
        return await self._inner.call(to, self._change(r), deadline=deadline)

    def stream(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> AbstractAsyncContextManager[IncomingStream]:
        self._challenges.add(dict(r.headers)["signature"])
        return self._inner.stream(to, self._change(r), deadline=deadline)


class _Changed:
    """A task whose requests are changed on their way out."""

    def __init__(self, task: Task[Any, Any], change: Callable[[CompletionRequest], CompletionRequest]) -> None:
        self._task, self._change = task, change
        self.challenge, self.parse, self.score, self.baseline = task.challenge, task.parse, task.score, task.baseline

    def request(self, c: Any) -> CompletionRequest:
        return self._change(self._task.request(c))


async def _unregistered(_: bytes) -> None:
    """No model's name is known here: users ask by id."""


async def _read(_: bytes) -> None:
    """A user who looks at nothing."""


async def _thinks(work: Callable[[], Any]) -> Any:
    await anyio.sleep(THINKS_S)
    return work()


def _head(height: int, now: int) -> Head:
    return Head(height, now, height.to_bytes(32, "big"), bytes(32))
