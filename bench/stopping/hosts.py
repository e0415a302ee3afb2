"""Some hosts in one process: davy's HTTP server over TLS, guard, miner and a route for orders, for each of them.

A silent relay takes what it is told and stops, and passes nothing on: it answers no exchange and brings nobody an
order. On the far side of a partition nothing passes between hosts, nor from the keyholders. Both are of the exchange.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from bench.stopping.routes import HOST, HostRoute, Own, Route, Weather, open_route
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.killswitch.brake import BrakeState
from davy.killswitch.guard import Guard
from davy.killswitch.scope import ModelFacts, Subject
from davy.miners.admission import Admission, Rules
from davy.miners.backend import Piece, Stopped, Tally
from davy.miners.chain_view import ChainView
from davy.miners.server import MinerHandler
from davy.miners.simple import SimpleBackend
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.openai import CompletionRequest
from davy.network.signed import RequestVerifier
from davy.protocol.chain import Head
from davy.protocol.manifest import Access, model_id
from davy.protocol.recorded import AccessRecord
from davy.protocol.roster import Roster
from davy.protocol.transaction import Endpoint
from davy.protocol.words import ChainId, KeyRole
from tests.twins import MemoryStore, SeededKeys

NEXT = {97: 0.5, 98: 0.25}
LAG_S = 0.02


class Post(NamedTuple):
    """Where a host is; plain values, for it travels between processes."""

    number: int
    port: int
    fingerprint: bytes
    hotkey: bytes
    model: bytes

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(HOST, self.port, self.fingerprint, b"")


class Task(NamedTuple):
    """What one process of hosts is started with."""

    numbers: range
    chain: ChainId
    roster: Roster
    folder: Path
    token_s: float
    route: Route = Route.EXCHANGE
    ledger: str = ""
    """Where one answers, for those who follow it."""


class Slow(SimpleBackend):
    """A token, then a pause."""

    name = "slow"

    def __init__(self, token_s: float) -> None:
        self._token_s = token_s

    def next_token(self, tokens: Sequence[int]) -> Mapping[int, float]:
        return NEXT

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncGenerator[Piece | Tally, None]]:
        return self._paced(request, stopped)

    @asynccontextmanager
    async def _paced(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AsyncIterator[AsyncGenerator[Piece | Tally, None]]:
        async def paced(items: AsyncGenerator[Piece | Tally, None]) -> AsyncGenerator[Piece | Tally, None]:
            async for item in items:
                if stopped():
                    return
                yield item
                await anyio.sleep(self._token_s)

        async with super().generate(request, stopped) as items:
            yield paced(items)


class Node(NamedTuple):
    post: Post
    guard: Guard
    route: HostRoute
    subject: Subject


class Used(NamedTuple):
    """Processor seconds of one process of hosts, and of what runs for them beside it; the worst lag since the last."""

    own_s: float
    beside_s: float
    lag_s: float


def run_hosts(pipe: Any, task: Task) -> None:
    """A process: says where its hosts are, hears of the others, obeys until told to end."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # uvloop tells of each connection that was cut
    anyio.run(_live, pipe, task, backend_options={"use_uvloop": True})


async def _live(pipe: Any, task: Task) -> None:
    weather, lag, rng = Weather(), Lag(), random.Random(task.numbers.start)
    async with AsyncExitStack() as opened, anyio.create_task_group() as tasks:
        transport = await opened.enter_async_context(HttpTransport(SystemClock()))
        nodes = [await _open(n, task, weather, transport, opened, tasks) for n in task.numbers]
        pipe.send([node.post for node in nodes])
        everybody: list[Post] = await anyio.to_thread.run_sync(pipe.recv)
        weather.numbers = {post.port: post.number for post in everybody}
        async with anyio.create_task_group() as meeting:
            for node in nodes:
                others = [(p.endpoint, p.hotkey) for p in everybody if p.number != node.post.number]
                meeting.start_soon(node.route.meet, others, tasks)
                tasks.start_soon(node.guard.run)
        tasks.start_soon(lag.watch)
        pipe.send("ready")
        height = 1
        while (told := await anyio.to_thread.run_sync(pipe.recv)) != "end":
            match told:
                case ("weather", silent, island):
                    weather.silent, weather.island = silent, island
                case ("block", orders, spread_s):
                    height += 1
                    block = Head(height, SystemClock().now(), bytes(32), bytes(32))
                    async with anyio.create_task_group() as seeing:
                        for node in nodes:
                            seeing.start_soon(_see, node, block, orders, rng.uniform(0, spread_s))
                case ("free",):
                    for node in nodes:
                        await node.guard.until_permitted(node.subject)
                case _:
                    pass
            pipe.send(Used(time.process_time(), sum(node.route.cpu_s() for node in nodes), lag.worst()))
        tasks.cancel_scope.cancel()


async def _see(node: Node, block: Head, orders: Sequence[tuple[bytes, int]], after_s: float) -> None:
    """Not all at once, or all nodes' rounds would beat as one from then on."""
    await anyio.sleep(after_s)
    await node.guard.at_block(block, orders)


async def _open(
    number: int, task: Task, weather: Weather, transport: HttpTransport, opened: AsyncExitStack, tasks: TaskGroup
) -> Node:
    clock, entropy, keys, store = SystemClock(), OsEntropy(), SeededKeys(number), MemoryStore()
    hotkey = keys.public(KeyRole.HOTKEY)
    guard = Guard(BrakeState(task.chain, task.roster), keys=keys, clock=clock, store=store)
    await guard.open()
    own = Own(number, guard, keys, clock, entropy, store)
    route = open_route(task.route, own, weather, transport, task.chain, task.ledger, opened)
    await route.open(tasks)
    backend, view = Slow(task.token_s), ChainView(1, 10**9)
    view.see(Head(1, clock.now(), bytes(32), bytes(32)), clock.now())
    verifier = RequestVerifier(hotkey, task.chain, clock, store)
    await verifier.open()
    handler = MinerHandler(
        keys=keys, chain=task.chain, verifier=verifier, clock=clock, entropy=entropy, view=view,
        admission=Admission(Rules(open=True, rate=1e3, burst=1_000), clock), guard=guard, backend=backend,
        heard=route.heard,
    )  # fmt: skip
    model = model_id(backend.manifest())
    subject = Subject(1, hotkey, ModelFacts(model, frozenset(), bytes(32)))
    guard.serving = handler.serving.subjects = (subject,)
    handler.serving.access = AccessRecord(Access.ANY, (), (), 0)
    made = make_certificate(entropy.bytes(32))
    files = CertificateFiles(task.folder / f"{number}.pem", task.folder / f"{number}.key")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    port = await opened.enter_async_context(serve(route.door(handler), HOST, 0, files))
    return Node(Post(number, port, made.fingerprint, hotkey, model), guard, route, subject)


class Lag:
    """How late a loop's timers are: what a saturated processor shows as."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def watch(self) -> None:
        while True:
            due = anyio.current_time() + LAG_S
            await anyio.sleep(LAG_S)
            self._worst = max(self._worst, anyio.current_time() - due)

    def worst(self) -> float:
        """Seconds, since it was asked last."""
        worst, self._worst = self._worst, 0.0
        return worst
