"""How many signed transfers a second four producers commit under the BFT engine, beside an application of nothing.

Four producers, each davy's process and the engine's, and the load share this machine. The same bytes are handed in, in
the same order, over the engines' RPC to both; the other application takes everything, keeps it in a dictionary and
hashes it into its app hash: what is left is the engine, the sockets and the messages. Figures of seconds belong to a
machine and to what else runs on it; the ratio is of one run.

    python bench/ledger_engine.py [--txs 4000] [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
from nacl import bindings

from davy.cli.ending import until_told
from davy.cli.loop import run
from davy.host.home import Home
from davy.ledger.driver.cometbft.application import Application, Where
from davy.ledger.driver.cometbft.configuration import PRODUCER_KEY, Peer, Secrets, files, producer_of, public_of
from davy.ledger.driver.cometbft.install import NAME, is_engine
from davy.ledger.driver.cometbft.service import serve_producer
from davy.ledger.driver.cometbft.supervisor import EnginePlace, supervise
from davy.ledger.driver.cometbft.wire import listen
from davy.ledger.rules.machine import BlockResult, Machine, Verdict
from davy.ledger.rules.state import Changes
from davy.protocol.chain import TxResult
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Allocation, Genesis, chain_id
from davy.protocol.limits import chain_parameters
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import SignedTx, Transfer, TxBody

PRODUCERS, SENDERS, WINDOW = 4, 32, 32
START_S = 120
GOAL = 0.6
"""Of what the other application reaches."""


class Trivial(Application):
    """Takes everything, and keeps nothing when it ends."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis, self.kept, self._hash, self._height = genesis, {}, bytes(32), 0
        self.machine, self.connections = Machine.from_genesis(genesis), 0

    async def settled(self) -> Machine:
        return self.machine

    async def info(self) -> Where:
        return Where(self._height, self._hash if self._height else b"")

    def check_tx(self, raw: bytes, *, waits: bool = False) -> Verdict:
        return Verdict(TxCode.OK, "", b"", 0, b"")

    def prepare(self, txs: Sequence[bytes], room: int) -> list[bytes]:
        return list(txs)

    def process(self, txs: Sequence[bytes]) -> bool:
        return True

    def finalize(
        self,
        height: int,
        time: int,
        txs: Sequence[bytes],
        evidence: Sequence[bytes] = (),
        absent: Sequence[bytes] = (),
    ) -> BlockResult:
        for raw in txs:
            self.kept[hashlib.sha256(raw).digest()] = raw
        self._height, self._hash = height, hashlib.sha256(self._hash + b"".join(txs)).digest()
        results = tuple(TxResult(height, n, 0, "") for n in range(len(txs)))
        return BlockResult(results, self._hash, (), Changes({}, set()), ())

    async def commit(self) -> int:
        return 0

    def drop(self) -> None:
        pass


async def produce(home: Home, program: Path, kind: str) -> None:
    """Run one producer until it is killed."""
    place = EnginePlace(home.engine)
    if kind == "davy":
        public = producer_of((home.engine / PRODUCER_KEY).read_bytes())
        await serve_producer(home.ledger, home.genesis(), public, program, place, port=0)
        return
    async with anyio.create_task_group() as tasks:
        app = Trivial(home.genesis())

        async def answer(*, task_status: Any) -> None:
            await listen(place.app, app, task_status=task_status)

        await tasks.start(answer)
        await supervise(program, place, lambda: 0, lambda: app.connections)


class Load(NamedTuple):
    genesis: Genesis
    secrets: list[Secrets]
    lanes: list[list[bytes]]
    """A sender's transactions, in the order of their nonces."""


def load(count: int) -> Load:
    draw = os.urandom
    secrets = [Secrets(draw(32), draw(32)) for _ in range(PRODUCERS)]
    keys = [bindings.crypto_sign_seed_keypair(n.to_bytes(32, "big")) for n in range(1, SENDERS + 1)]
    producers = tuple(public_of(s.producer) for s in secrets)
    allocations = tuple(Allocation(public, 10**12) for public, _ in keys)
    g = Genesis(1, "bench", int(time.time() * 1_000), chain_parameters(), producers, allocations, (), ())
    lanes: list[list[bytes]] = []
    for n, (public, secret) in enumerate(keys):
        lane: list[bytes] = []
        for nonce in range(count // SENDERS):
            body = encode(TxBody(1, chain_id(g), public, nonce, Transfer(keys[n - 1][0], 1 + nonce)))
            lane.append(encode(SignedTx(1, body, sign(secret, Domain.TX, body))))
        lanes.append(lane)
    return Load(g, secrets, lanes)


@contextmanager
def running(x: Load, root: Path, program: Path, kind: str) -> Iterator[list[EnginePlace]]:
    first = 20_000 + os.getpid() % 5_000
    peers = [Peer("127.0.0.1", first + n, public_of(s.node)) for n, s in enumerate(x.secrets)]
    homes: list[Home] = []
    for n, (secret, peer) in enumerate(zip(x.secrets, peers, strict=True)):
        home = Home.create(root / f"{kind}{n}")
        home.keep_genesis(x.genesis)
        for name, data in files(x.genesis, secret, peer, [p for p in peers if p is not peer], 200).items():
            (home.engine / name).parent.mkdir(parents=True, exist_ok=True)
            (home.engine / name).write_bytes(data)
        homes.append(home)
    words = [sys.executable, __file__, "--kind", kind, "--engine", str(program), "--home"]
    lives = [
        subprocess.Popen([*words, str(h.root)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for h in homes
    ]
    try:
        yield [EnginePlace(h.engine) for h in homes]
    finally:
        for life in lives:
            life.terminate()
        for life in lives:
            life.wait(60)


async def call(session: aiohttp.ClientSession, method: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with session.post("http://engine/", json=body) as response:
        return (await response.json()).get("result")


async def drive(x: Load, places: Sequence[EnginePlace]) -> tuple[float, list[float]]:
    """Hand everything in, each sender a few at a time, and wait until all of it is committed: seconds, and each's."""
    sent: dict[bytes, float] = {}
    seen: dict[bytes, float] = {}
    total = sum(map(len, x.lanes))
    sessions = [aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(p.rpc), limit=0)) for p in places]
    try:
        async with asyncio.timeout(START_S):
            while not all([await answers(s) for s in sessions]):  # noqa: ASYNC110
                await asyncio.sleep(0.2)

        async def hand_in(lane: list[bytes], session: aiohttp.ClientSession) -> None:
            for n, raw in enumerate(lane):
                while n >= WINDOW and lane[n - WINDOW] not in seen:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                sent[raw] = time.perf_counter()
                said = await call(session, "broadcast_tx_sync", tx=base64.b64encode(raw).decode())
                if not said or said["code"]:
                    raise SystemExit(f"a transaction was turned down: {said}")

        async def watch() -> None:
            height = int((await call(sessions[0], "status"))["sync_info"]["latest_block_height"])
            while len(seen) < total:
                block = await call(sessions[0], "block", height=str(height + 1))
                if block is None or block["block"] is None:
                    await asyncio.sleep(0.01)
                    continue
                height, now = height + 1, time.perf_counter()
                seen.update((base64.b64decode(t), now) for t in block["block"]["data"]["txs"] or [])

        began = time.perf_counter()
        lanes = [hand_in(lane, sessions[n % len(sessions)]) for n, lane in enumerate(x.lanes)]
        await asyncio.gather(watch(), *lanes)
        return time.perf_counter() - began, sorted(seen[raw] - sent[raw] for raw in sent)
    finally:
        for session in sessions:
            await session.close()


async def answers(session: aiohttp.ClientSession) -> bool:
    try:
        return int((await call(session, "status"))["sync_info"]["latest_block_height"]) >= 2
    except (aiohttp.ClientError, OSError, TypeError):
        return False


def measure(count: int, rounds: int, program: Path) -> dict[str, float]:
    rates: dict[str, list[float]] = {"davy": [], "trivial": []}
    waits: dict[str, list[float]] = {"davy": [], "trivial": []}
    for _ in range(rounds):
        x = load(count)
        for kind in rates:
            with tempfile.TemporaryDirectory(prefix="davy-") as root, running(x, Path(root), program, kind) as places:
                seconds, each = asyncio.run(drive(x, places))
            rates[kind].append(len(each) / seconds)
            waits[kind] += each
    found: dict[str, float] = {}
    for kind in rates:
        found[f"{kind}: committed tx/s"] = statistics.median(rates[kind])
        found[f"{kind}: from handing in to the block, s p50"] = statistics.median(waits[kind])
        found[f"{kind}: the same, s p99"] = sorted(waits[kind])[int(len(waits[kind]) * 0.99)]
    found["davy / trivial"] = found["davy: committed tx/s"] / found["trivial: committed tx/s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Signed transfers a second through four producers.")
    parser.add_argument("--txs", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine", type=Path, default=Path("build/engine") / NAME)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    program = asked.engine.absolute()
    if asked.kind:
        run(until_told, partial(produce, Home(asked.home), program, asked.kind), "stopped")
        return
    if not is_engine(program):
        print(f"there is no engine at {program}: `make engine` builds it; nothing was measured")
        return
    figures = measure(asked.txs, asked.rounds, program)
    for name, value in figures.items():
        print(f"{name:52} {value:10.3f}")
    print(f"{'goal: davy / trivial':52} {GOAL:10.3f} {'reached' if figures['davy / trivial'] >= GOAL else 'missed'}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
