"""What a gateway costs: `python -m bench.gateway`. CPU a request, and time added to the first byte of a stream.

A real miner answers from memory. Its user asks it directly and through a gateway, by turns within one run, so that a
busy machine slows both alike; read the ratios where it is busy. The gateway is a process of its own, the user and the
miner share another one.

==============  ================================================================================================
direct          davy's client to the miner: signed, TLS, receipt checked
gateway         plain HTTP to the gateway, which does towards the miner what `direct` does
==============  ================================================================================================

CPU is that of the gateway's process a request, AT_ONCE whole answers at a time, beside what `direct` costs user and
miner together, and what 1 KB over plain HTTP, unsigned, costs client and server together; the median of the rounds.
First bytes are those of streams, one at a time and AT_ONCE at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import aiohttp
import anyio

from bench.network import AT_ONCE, CHAIN, HOST, Keys, Unsigned, cpu_ms
from davy.gateway.directory import Directory
from davy.gateway.gateway import Gateway, Limits
from davy.gateway.relay import Means
from davy.gateway.sampling import Sample
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.store import SqliteStore
from davy.miners.admission import Admission, Rules
from davy.miners.chain_view import ChainView
from davy.miners.server import MinerHandler
from davy.miners.simple import SimpleBackend
from davy.network.access import Accesses
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.openai import CompletionRequest, to_json
from davy.network.receipts import check_receipt, receipt_of, response_digest
from davy.network.signed import RequestVerifier
from davy.network.signed_client import Question, SignedClient
from davy.protocol.chain import Head, Metagraph, Neuron, ServedModel, SubnetInfo
from davy.protocol.limits import hyperparameters
from davy.protocol.manifest import Identity, model_id
from davy.protocol.ports import LedgerClient
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from davy.tasks.shape import Shapes, outgoing
from tests.gateway.stage import NoBrake
from tests.twins.brake import ANYBODY, KnowsModels, guard_of, subject_of_manifest

GOAL_CPU_MS = 0.30
GOAL_P50_MS, GOAL_P99_MS = 1.0, 3.0
DEADLINE_MS = 60_000
PROMPT = "x" * 1_000


class Sure(SimpleBackend):
    """Twenty tokens, always the same ones."""

    name = "sure"

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        return NEXT


NEXT = {97 + i: 0.5 ** (i + 1) for i in range(20)}


class Scene(NamedTuple):
    """One user, one miner, one gateway, all open."""

    clock: SystemClock
    client: SignedClient
    session: aiohttp.ClientSession
    miner: Endpoint
    hotkey: bytes
    model: bytes
    url: str
    pipe: Any
    plain_url: str

    def gateway_cpu(self) -> float:
        """Seconds of CPU that the gateway's process has used."""
        self.pipe.send("cpu")
        return self.pipe.recv()

    def wish(self, *, stream: bool) -> CompletionRequest:
        return CompletionRequest(self.model.hex(), PROMPT, max_tokens=4, temperature=0.0, stream=stream)

    def question(self, *, stream: bool) -> Question:
        body, anchor = to_json(outgoing(self.wish(stream=stream))), Anchor(10, bytes(32))
        return Question(self.miner, self.hotkey, "/v1/completions", body, anchor, EMPTY_BRAKE_HEAD)

    async def direct(self) -> None:
        got = await self.client.call(self.question(stream=False), deadline=self.clock.now() + DEADLINE_MS)
        check_receipt(
            receipt_of(got.response) or b"",
            sent=got.sent,
            miner=self.hotkey,
            response_body=response_digest(got.response.body),
        )

    async def plain(self) -> None:
        async with self.session.post(self.plain_url, data=PROMPT.encode()) as answer:
            await answer.read()

    async def through(self) -> None:
        async with self.session.post(self.url, data=to_json(self.wish(stream=False))) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()

    async def direct_first(self) -> float:
        began = time.perf_counter()
        first = 0.0
        async with self.client.stream(self.question(stream=True), deadline=self.clock.now() + DEADLINE_MS) as (_, got):
            async for _ in got.frames:
                first = first or time.perf_counter()
        return (first - began) * 1000

    async def through_first(self) -> float:
        began = time.perf_counter()
        async with self.session.post(self.url, data=to_json(self.wish(stream=True))) as answer:
            await answer.content.readany()
            first = time.perf_counter()
            await answer.read()
        return (first - began) * 1000


@asynccontextmanager
async def scene(folder: Path) -> AsyncGenerator[Scene]:
    clock, entropy, user, miner = SystemClock(), OsEntropy(), Keys(), Keys()
    made = make_certificate(entropy.bytes(32))
    files = CertificateFiles(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    backend, head = Sure(), Head(10, clock.now(), bytes(32), bytes(32))
    async with AsyncExitStack() as opened:
        store = opened.enter_context(SqliteStore(folder / "store.db"))
        hotkey = miner.public(KeyRole.HOTKEY)
        verifier = RequestVerifier(hotkey, CHAIN, clock, store)
        await verifier.open()
        view = ChainView(1, 10**9)
        view.see(head, clock.now())
        admission = Admission(Rules(open=True, places=AT_ONCE, queue=10**4, rate=1e6, burst=10**6), clock)
        handler = MinerHandler(
            keys=miner, chain=CHAIN, verifier=verifier, clock=clock, entropy=entropy, view=view, admission=admission,
            guard=guard_of(miner, clock, CHAIN), backend=backend,
        )  # fmt: skip
        handler.serving.subjects = (subject_of_manifest(backend.manifest(), hotkey),)
        handler.serving.access = ANYBODY
        port = await opened.enter_async_context(serve(handler, HOST, 0, files))
        client = SignedClient(user, CHAIN, await opened.enter_async_context(HttpTransport(clock)), clock, entropy)
        endpoint, model = Endpoint(HOST, port, made.fingerprint, b""), model_id(backend.manifest())
        ours, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=run_gateway, args=(theirs, hotkey, tuple(_fields(endpoint)), model), daemon=True)
        process.start()
        door = await anyio.to_thread.run_sync(ours.recv)
        session = await opened.enter_async_context(aiohttp.ClientSession())
        plain = f"http://{HOST}:{await opened.enter_async_context(serve(Unsigned(), HOST, 0, None))}/"
        yield Scene(
            clock, client, session, endpoint, hotkey, model, f"http://{HOST}:{door}/v1/completions", ours, plain
        )
        ours.send("end")
        process.join()


def _fields(e: Endpoint) -> Sequence[Any]:
    return e.host, e.port, e.fingerprint, e.next


def run_gateway(pipe: Any, hotkey: bytes, endpoint: tuple[Any, ...], model: bytes) -> None:
    """The other process: says its port, then its CPU time whenever it is asked."""

    async def main() -> None:
        clock, keys, rng = SystemClock(), Keys(), random.Random(0)
        async with HttpTransport(clock) as transport:
            client = SignedClient(keys, CHAIN, transport, clock, OsEntropy())
            directory = Directory(
                keys.public(KeyRole.HOTKEY), _unregistered, Accesses(cast("LedgerClient", OpenToAll()))
            )
            directory.see(Head(10, clock.now(), bytes(32), bytes(32)), clock.now())
            await directory.update([_graph(hotkey, Endpoint(*endpoint), model)])
            means = Means(client, clock, directory, NoBrake(), rng, Shapes(), Sample(rng))
            gateway = Gateway(means, limits=Limits(rate=1e6, burst=10**6))
            async with gateway.opened(), serve(gateway, HOST, 0, None) as port:
                pipe.send(port)
                while await anyio.to_thread.run_sync(pipe.recv) != "end":
                    pipe.send(time.process_time())

    anyio.run(main, backend_options={"use_uvloop": True})


class OpenToAll(KnowsModels):
    """Of a ledger what a directory asks for."""

    def unchanged(self, netuid: int, since: int) -> bool:
        return True


async def _unregistered(_: bytes) -> None:
    return None


def _graph(hotkey: bytes, endpoint: Endpoint, model: bytes) -> Metagraph:
    served = (ServedModel(model, Identity.CLAIMED, 1),)
    neuron = Neuron(0, hotkey, bytes(32), 1, 0, 0, False, True, 0, 1, 0, 0, 0, 0, 0, (endpoint,), served)
    return Metagraph(10, SubnetInfo(1, bytes(32), "text", "yuma3", hyperparameters(), 0, 0, 20, 0, 0), (neuron,))


async def firsts(ask: Callable[[], Awaitable[float]], count: int, at_once: int) -> list[float]:
    """Milliseconds to the first byte of `count` streams."""
    found: list[float] = []

    async def work() -> None:
        while len(found) < count:
            found.append(await ask())

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(work)
    return found


async def measure(rounds: int, count: int, folder: Path) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    async with scene(folder) as s:
        for n in range(rounds + 1):  # the first warms up and is left out
            cpu = {"cpu direct": await cpu_ms(s.direct, count), "cpu plain": await cpu_ms(s.plain, count)}
            before = s.gateway_cpu()
            await cpu_ms(s.through, count)
            cpu["cpu gateway"] = (s.gateway_cpu() - before) / count * 1000
            for at_once in (1, AT_ONCE):
                for name, ask in (("direct", s.direct_first), ("gateway", s.through_first)):
                    found = await firsts(ask, count, at_once)
                    cpu[f"p50 {name} {at_once}"] = statistics.median(found)
                    cpu[f"p99 {name} {at_once}"] = statistics.quantiles(found, n=100)[98]
            if n:
                for name, value in cpu.items():
                    taken.setdefault(name, []).append(value)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU and latency that a gateway adds.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400, help="a round and kind")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = anyio.run(measure, asked.rounds, asked.requests, Path(folder), backend_options={"use_uvloop": True})
    figures = {name: statistics.median(values) for name, values in taken.items()}

    def added(name: str, suffix: str = "") -> float:
        pairs = zip(taken[f"{name} gateway{suffix}"], taken[f"{name} direct{suffix}"], strict=True)
        return statistics.median(a - b for a, b in pairs)

    cpu = figures["cpu gateway"]
    print(f"CPU a request: gateway {cpu:.3f} ms")
    for other in ("direct", "plain"):
        ratio = statistics.median(a / b for a, b in zip(taken["cpu gateway"], taken[f"cpu {other}"], strict=True))
        print(f"               {other:7} {figures[f'cpu {other}']:.3f} ms; gateway ÷ {other} {ratio:.2f}")
    print(f"               goal {GOAL_CPU_MS} ms: {'reached' if cpu <= GOAL_CPU_MS else 'missed'}")
    for at_once in (1, AT_ONCE):
        for name in ("p50", "p99"):
            figures[f"{name} added {at_once}"] = added(name, f" {at_once}")
            direct, through = figures[f"{name} direct {at_once}"], figures[f"{name} gateway {at_once}"]
            print(
                f"first byte, {at_once:2} at once, {name}: direct {direct:7.2f} ms, gateway {through:7.2f} ms, added "
                f"{figures[f'{name} added {at_once}']:7.2f} ms, {through / direct:.2f} x"
            )
    print(f"                goal, one at a time: {GOAL_P50_MS} ms p50, {GOAL_P99_MS} ms p99 added")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
