"""A gateway and some miners in memory: real handlers of both rooms, made-up blocks, one hotkey with stake."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from msgspec.structs import replace

from davy.gateway.directory import Directory, Place
from davy.gateway.gateway import Gateway, Limits
from davy.gateway.guarding import Permission
from davy.gateway.relay import Means, Patience
from davy.gateway.sampling import Sample
from davy.miners.admission import Admission, Rules
from davy.miners.backend import Backend
from davy.miners.chain_view import ChainView
from davy.miners.server import MinerHandler
from davy.network.access import Accesses
from davy.network.memory import MemoryNetwork, no_delay
from davy.network.signed import RequestVerifier
from davy.network.signed_client import SignedClient
from davy.protocol.chain import ModelRecord, Neuron, ServedModel
from davy.protocol.errors import DavyError, ModelHalted
from davy.protocol.manifest import Identity, Manifest, ModelClass, model_id
from davy.protocol.ports import Handler, LedgerClient, Response, SignedRequest, StreamReply
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.recorded import AccessRecord
from davy.protocol.transaction import Endpoint
from davy.protocol.words import TOKEN, KeyRole, ModelId
from davy.tasks.shape import Shapes
from tests.miners.stage import CHAIN, Letters, head, metagraph, neuron
from tests.twins import LoopClock, MemoryStore, SeededEntropy, SeededKeys
from tests.twins.brake import ANYBODY, guard_of, subject_of_manifest

GATEWAY = SeededKeys(77)


@dataclass
class Miner:
    """One miner of a stage. `wrap` stands before its handler."""

    name: str
    incentive: int = 100
    backend: Backend = field(default_factory=Letters)
    wrap: Callable[[Handler], Handler] = field(default=lambda handler: handler)
    rules: Rules | None = None
    keys: SeededKeys = field(init=False)
    asked: list[SignedRequest] = field(default_factory=list[SignedRequest])

    def __post_init__(self) -> None:
        self.keys = SeededKeys(int.from_bytes(self.name.encode()))

    @property
    def hotkey(self) -> bytes:
        return self.keys.public(KeyRole.HOTKEY)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.name, 9000, self.hotkey, b"")

    def neuron(self, uid: int) -> Neuron:
        served = (ServedModel(model_id(self.backend.manifest()), Identity.CLAIMED, 1),)
        return neuron(uid, self.hotkey, incentive=self.incentive, endpoint=(self.endpoint,), model=served)

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        self.asked.append(request)
        return await self.handler.handle(request)

    async def start(self, network: MemoryNetwork) -> None:
        clock = LoopClock()
        verifier = RequestVerifier(self.hotkey, CHAIN, clock, MemoryStore())
        await verifier.open()
        view = ChainView(slack=1, outage_ms=10**9)
        view.see(head(10), clock.now())
        admission = Admission(self.rules or Rules(rate=10_000, burst=10_000), clock)
        admission.update(metagraph(10, neuron(0, GATEWAY.public(KeyRole.HOTKEY), 5 * TOKEN)))
        handler = MinerHandler(
            keys=self.keys, chain=CHAIN, verifier=verifier, clock=clock, entropy=SeededEntropy(), view=view,
            admission=admission, guard=guard_of(self.keys, clock, CHAIN), backend=self.backend,
        )  # fmt: skip
        handler.serving.subjects = (subject_of_manifest(self.backend.manifest(), self.hotkey),)
        handler.serving.access = ANYBODY
        self.handler = self.wrap(handler)
        network.serve(self.endpoint, self)


class Said:
    """Of a ledger what a directory asks for: who may ask for models; that changes as the mapping does."""

    def __init__(self, said: Mapping[ModelId, AccessRecord]) -> None:
        self._said = said

    def unchanged(self, netuid: int, since: int) -> bool:
        return False  # it says nothing

    async def accesses(self, models: Sequence[ModelId]) -> tuple[AccessRecord, ...]:
        return tuple(self._said.get(model, ANYBODY) for model in models)


class NoBrake:
    """`Permission` of a network without keyholders: nothing is ever halted."""

    head = EMPTY_BRAKE_HEAD

    async def learn(self, places: Sequence[Place]) -> None: ...

    def permit(self, place: Place) -> None: ...

    @asynccontextmanager
    async def running(self, place: Place) -> AsyncGenerator[None]:
        yield

    async def told(self, place: Place, e: ModelHalted) -> DavyError:
        return e

    def noted(self, place: Place, head: bytes) -> None: ...


@dataclass
class Stage:
    """What a test looks at."""

    gateway: Gateway
    miners: Sequence[Miner]
    shapes: Shapes
    sample: Sample
    directory: Directory
    means: Means

    async def ask(
        self, body: dict[str, Any] | bytes, *headers: tuple[str, str], address: str = ""
    ) -> Response | StreamReply:
        """Ask as a user does."""
        raw = body if isinstance(body, bytes) else json.dumps({"model": "any", "prompt": "abc", **body}).encode()
        return await self.gateway.handle(SignedRequest("POST", "/v1/completions", headers, raw, address))

    async def get(self, path: str, *headers: tuple[str, str]) -> Any:
        answer = await self.gateway.handle(SignedRequest("GET", path, headers, b""))
        assert isinstance(answer, Response)
        return answer.status, json.loads(answer.body)


@asynccontextmanager
async def stage(
    *miners: Miner,
    task: str = "text",
    guard: Permission | None = None,
    key: str = "",
    limits: Limits | None = None,
    patience: Patience | None = None,
    seed: int = 1,
    said: Mapping[ModelId, AccessRecord] | None = None,
    own: Neuron | None = None,
) -> AsyncGenerator[Stage]:
    clock = LoopClock()
    network = MemoryNetwork(clock, 0.0, no_delay, random.Random(0))
    for m in miners:
        await m.start(network)
    records = {model_id(m.backend.manifest()): _record(m.backend.manifest()) for m in miners}

    async def registered(asked: ModelId) -> ModelRecord | None:
        return records.get(asked)

    directory = Directory(
        GATEWAY.public(KeyRole.HOTKEY), registered, Accesses(cast("LedgerClient", Said({} if said is None else said)))
    )
    directory.see(head(10), clock.now())
    neurons = [m.neuron(uid) for uid, m in enumerate(miners)]
    graph = metagraph(10, *neurons, *(() if own is None else (own,)))
    await directory.update([replace(graph, subnet=replace(graph.subnet, task=task))])
    shapes, sample = Shapes(), Sample(random.Random(seed))
    client = SignedClient(GATEWAY, CHAIN, network.transport("gateway"), clock, SeededEntropy(seed))
    means = Means(client, clock, directory, guard or NoBrake(), random.Random(seed), shapes, sample)
    gateway = Gateway(means, key=key, limits=limits, patience=patience)
    async with gateway.opened():
        yield Stage(gateway, miners, shapes, sample, directory, means)


def _record(m: Manifest) -> ModelRecord:
    return ModelRecord(m, b"c" * 32, 1, 1, (), ModelClass.ORDINARY, 1)
