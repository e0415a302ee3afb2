"""Real hosts on this machine, halted again and again: who is silent, who is known and who is cut off differs."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from bench.stopping.council import Council, Given
from bench.stopping.hosts import Post, Task, Used, run_hosts
from bench.stopping.ledger import BLOCK_MS, genesis_of, run_ledger
from bench.stopping.routes import Route
from bench.stopping.users import Seen, run_users
from davy.host.clock import SystemClock
from davy.ledger.client import RpcLedger
from davy.ledger.submit import hand_in
from davy.network.brake_peers import AGAIN_MS, ROUND_MS
from davy.network.fan_out import Addressee, Spreading, spread
from davy.network.http_client import HttpTransport
from davy.protocol.errors import Unreachable
from davy.protocol.genesis import chain_id
from davy.protocol.ports import IncomingStream, Response, SignedRequest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import ChainId

CHAIN = hashlib.sha256(b"a measured chain").digest()
PATIENCE_MS = 5_000
"""Of the keyholders' fan-out."""
ROUND_S = ROUND_MS / 1000
QUIET_S = AGAIN_MS[-1] / 1000 + 1


class Case(NamedTuple):
    """One situation."""

    name: str
    silent: float = 0.0
    """Share of hosts that pass nothing on."""
    known: float = 1.0
    """Share of hosts that the keyholders have an address of."""
    island: float = 0.0
    """Share of hosts behind a partition."""
    heals_after_s: float = 0.0


class Outcome(NamedTuple):
    """Of one halt: milliseconds from the last share to each host's end of stream; None where it went on."""

    case: Case
    stopped: dict[int, float | None]
    far: frozenset[int]
    """Hosts behind the partition, whose times count from its healing."""
    lag_ms: float
    busy: float
    """Share of the machine's processors that was busy, with whatever else ran."""
    own: float
    """Share of the machine's processors that this measurement used."""
    beside: float
    """The part of `own` that the gossip processes, or the ledger, used."""


class Book:
    """The keyholders' way to hosts: nothing passes to who is cut off."""

    def __init__(self, rest: HttpTransport, far: frozenset[int]) -> None:
        self._rest, self.far = rest, far

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> Response:
        if to.port in self.far:
            raise Unreachable("cut off")
        return await self._rest.call(to, r, deadline=deadline)

    def stream(self, to: Endpoint, r: SignedRequest, *, deadline: int) -> AbstractAsyncContextManager[IncomingStream]:
        return self._rest.stream(to, r, deadline=deadline)


class Ledger(NamedTuple):
    """A process that holds one, and where it answers."""

    pipe: Any
    url: str


class Stage:
    """The processes of hosts and users, and the keyholders, who are here.

    Parameters
    ----------
    ledger
        Takes the orders, where hosts have no other route.
    """

    def __init__(
        self, chain: ChainId, hosts: Sequence[Any], users: Any, posts: Sequence[Post], council: Council,
        ledger: Ledger | None = None,
    ) -> None:  # fmt: skip
        self._chain, self._hosts, self._users, self.posts, self._council = chain, hosts, users, posts, council
        self._ledger, self._clock = ledger, SystemClock()

    async def _tell(self, *words: object) -> Used:
        """Tell every process of hosts; what all have used by then."""
        for pipe in self._hosts:
            pipe.send(words)
        told: list[Used] = [await anyio.to_thread.run_sync(pipe.recv) for pipe in self._hosts]
        return Used(sum(u.own_s for u in told), sum(u.beside_s for u in told), max(u.lag_s for u in told))

    async def _ask(self, *words: object) -> tuple[dict[int, Seen], float, float]:
        self._users.send(words)
        return await anyio.to_thread.run_sync(self._users.recv)

    async def _used(self) -> Used:
        """What all processes but this one have used, those beside them included."""
        _, users_s, users_lag = await self._ask("cpu")
        used, ledger_s = await self._tell("cpu"), 0.0
        if self._ledger is not None:
            self._ledger.pipe.send("cpu")
            ledger_s = await anyio.to_thread.run_sync(self._ledger.pipe.recv)
        beside = used.beside_s + ledger_s
        return Used(users_s + used.own_s + beside, beside, max(users_lag, used.lag_s))

    async def halt(self, case: Case, rng: random.Random, patience_s: float) -> Outcome:
        """Let everything stream, halt it, wait until all have stopped, and lift it again."""
        numbers = range(len(self.posts))
        silent = frozenset(rng.sample(numbers, round(case.silent * len(numbers))))
        island = frozenset(rng.sample(numbers, round(case.island * len(numbers))))
        book = rng.sample(numbers, max(1, round(case.known * len(numbers))))
        await self._tell("weather", silent, island)
        await self._ask("stream", list(numbers))
        await anyio.sleep(QUIET_S)  # what a LIFT before set off is over
        await anyio.sleep(rng.uniform(0, BLOCK_MS / 1000))  # at no particular moment between two blocks
        used, before = await self._used(), _ticks()
        began, own = time.monotonic(), time.process_time()
        given = self._council.halt(self._chain, self._clock.now())
        healed, seen, lag = given.at, dict[int, Seen](), 0.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._release, given, [self.posts[n] for n in book], island)
            if island:
                await anyio.sleep(case.heals_after_s)
                healed = time.monotonic_ns()
                await self._tell("weather", silent, frozenset())
            seen, _, lag = await self._ask("seen", patience_s)
            tasks.cancel_scope.cancel()
        after, ticks, took = await self._used(), _ticks(), time.monotonic() - began
        own = time.process_time() - own + after.own_s - used.own_s
        seen, _, _ = await self._ask("again")  # when all was measured: who serves then has not stopped
        await self._lift(given)
        stopped = {n: _ms(seen[n], healed if n in island else given.at, given) for n in numbers}
        cores = os.cpu_count() or 1
        busy = 1 - (ticks[1] - before[1]) / max(1, ticks[0] - before[0])
        beside = (after.beside_s - used.beside_s) / took / cores
        return Outcome(case, stopped, island, max(lag, after.lag_s) * 1000, busy, own / took / cores, beside)

    async def _release(self, given: Given, posts: Sequence[Post], island: frozenset[int]) -> None:
        if self._ledger is not None:
            await self._hand_in(given.raw)
            return
        far = frozenset(p.port for p in self.posts if p.number in island)
        to = [Addressee(p.endpoint, p.hotkey) for p in posts]
        async with HttpTransport(self._clock, pinned=False) as transport:
            await spread([given.raw], to, Book(transport, far), self._clock, how=Spreading(PATIENCE_MS))

    async def _hand_in(self, order: bytes) -> None:
        """Open a client and hand an order in, as a keyholder's command does."""
        assert self._ledger is not None
        async with RpcLedger(self._ledger.url, self._chain) as ledger:
            await hand_in(ledger, order)

    async def _lift(self, given: Given) -> None:
        now = self._clock.now()
        lift = self._council.lift(self._chain, now, given.id)
        if self._ledger is not None:
            await self._hand_in(lift)
        else:
            await self._tell("block", [(given.raw, now), (lift, now)], ROUND_S)
        await self._tell("free")


def _ms(seen: Seen, since: int, given: Given) -> float | None:
    return (seen.ended - since) / 1e6 if seen.ended is not None and seen.order == given.raw else None


def _ticks() -> tuple[int, int]:
    """Processor time of the whole machine since it started, and how much of it was idle."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


@contextmanager
def stage(hosts: int, processes: int, token_s: float, route: Route = Route.EXCHANGE) -> Iterator[Stage]:
    """Start everything; at the end all processes end."""
    council, context = Council(), multiprocessing.get_context("spawn")
    pipes: list[Any] = []
    started: list[Any] = []

    def start(work: Any, *arguments: object) -> Any:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
        process.start()
        started.append(process)
        pipes.append(ours)
        return ours

    with tempfile.TemporaryDirectory() as folder:
        try:
            chain, ledger = CHAIN, None
            if route is Route.LEDGER:
                genesis = genesis_of(council.roster)
                chain, pipe = chain_id(genesis), start(run_ledger, genesis, Path(folder))
                ledger = Ledger(pipe, pipe.recv())
            task = Task(range(hosts), chain, council.roster, Path(folder), token_s, route, ledger.url if ledger else "")
            parts = [task._replace(numbers=range(n, hosts, processes)) for n in range(processes)]
            of_hosts = [start(run_hosts, part) for part in parts]
            posts: list[Post] = sorted(post for pipe in of_hosts for post in pipe.recv())
            for pipe in of_hosts:
                pipe.send(posts)
            for pipe in of_hosts:
                pipe.recv()
            yield Stage(chain, of_hosts, start(run_users, chain, council.roster, posts), posts, council, ledger)
        finally:
            for pipe in pipes:
                pipe.send("end")
            for process in started:
                process.join(20)
                if process.is_alive():
                    process.kill()
