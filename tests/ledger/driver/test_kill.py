"""A ledger is killed at a hundred random moments, under load and watched; nothing that was acknowledged is lost.

A kill tests what the operating system was given, not what a disk does without power: that the flush is asked for is
test_recovery's.
"""

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from davy.ledger.client import RpcLedger
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.recovery import recover
from davy.ledger.headers import Authority, open_header
from davy.ledger.rules.machine import Machine
from davy.ledger.submit import deliver
from davy.protocol.chain import Head, TxResult
from davy.protocol.encoding import encode
from davy.protocol.errors import Refused, TxFailed, Unreachable
from davy.protocol.transaction import tx_hash
from tests.ports import free_ports

KILLS = 100
BURST = 5
pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Nursery:
    """Forks ledgers and kills them."""

    def __init__(self, process: anyio.abc.Process, database: Path) -> None:
        self._process, self._database = process, database
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._lines = BufferedByteReceiveStream(process.stdout)
        self._life, self._address = 0, ""
        (self.port,) = free_ports(1)  # of all its lives
        self.lives = 0

    async def start(self) -> None:
        """Ask for a ledger; its process exists, and opens its file."""
        await self._stdin.send(f"{self._database} {self.port}\n".encode())
        while True:
            pid, said = await self._line()
            if said == "started":
                self._life, self._address, self.lives = int(pid), "", self.lives + 1
                return

    async def kill(self) -> None:
        """Kill the ledger that lives, and wait until the system has let go of all it held."""
        life, self._life = self._life, 0
        if life:
            os.kill(life, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                while await self._line() != (str(life), "killed"):
                    pass

    async def answering(self) -> str:
        """Wait until it answers."""
        while not self._address:
            _, said = await self._line()
            if said.startswith("http"):
                self._address = said
        return self._address

    async def _line(self) -> tuple[str, str]:
        pid, _, said = (await self._lines.receive_until(b"\n", 1000)).decode().partition(" ")
        assert said != "ended", "a ledger ended by itself"
        return pid, said


@asynccontextmanager
async def nursery(chain: Any, database: Path) -> AsyncIterator[Nursery]:
    script = Path(__file__).with_name("nursery.py")
    seed = b"producer".ljust(32, b".").hex()
    command = [sys.executable, str(script), encode(chain.genesis).hex(), seed]
    async with await anyio.open_process(command, stdin=subprocess.PIPE, stderr=None) as process:
        births = Nursery(process, database)
        try:
            yield births
        finally:
            await births.kill()
            process.kill()


async def load(client: RpcLedger, chain: Any, person: int, acknowledged: dict[bytes, TxResult]) -> None:
    for first in count(0, BURST):
        burst = [chain.tx(person, nonce) for nonce in range(first, first + BURST)]
        with suppress(Unreachable, Refused, TxFailed):  # several wait at once; delivering hands in again what was lost
            for raw in burst:
                await client.submit(raw)
        for raw in burst:
            acknowledged[tx_hash(raw)] = await deliver(client, raw)


async def watch(client: RpcLedger, heads: list[Head]) -> None:
    async with client.blocks(0) as new:
        async for head in new:
            heads.append(head)  # noqa: PERF401 - each is to be seen as it comes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1])
async def test_a_hundred_kills_lose_nothing_acknowledged(
    chain: Any, database: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("submit", "client.ledger", "client.following"):  # a life is shorter than a patient client's pause
        monkeypatch.setattr(f"davy.ledger.{module}._SHORTEST_PAUSE_S", 0.005)
        monkeypatch.setattr(f"davy.ledger.{module}._LONGEST_PAUSE_S", 0.02)
    rng, heads, acknowledged = random.Random(seed), list[Head](), dict[bytes, TxResult]()
    async with nursery(chain, database) as births, anyio.create_task_group() as tasks:
        await births.start()
        async with RpcLedger(await births.answering(), chain.id) as client:
            for person in range(3):
                tasks.start_soon(load, client, chain, person, acknowledged)
            tasks.start_soon(watch, client, heads)
            for _ in range(KILLS):
                death = rng.choice(["opening", "answering", "acknowledging", "acknowledging"])
                if death != "opening":
                    await births.answering()
                if death == "acknowledging":
                    await more(acknowledged, 1)
                await anyio.sleep(rng.uniform(0, 0.05))
                await births.kill()
                await births.start()
            await births.answering()
            await settled(client, acknowledged, heads)
            await births.kill()
            tasks.cancel_scope.cancel()
    assert births.lives == KILLS + 1
    with closing(BlockStore(database)) as store:
        nothing_acknowledged_is_lost(store, acknowledged)
        every_head_was_seen_once(chain, store, heads)
        a_fresh_machine_agrees(chain, store)


async def settled(client: RpcLedger, acknowledged: dict[bytes, TxResult], heads: list[Head]) -> None:
    """Wait until load and watch have caught up with the last life."""
    height = (await client.head()).height
    await more(acknowledged, 2 * BURST)
    while not heads or heads[-1].height < height:  # noqa: ASYNC110 - it happens behind a socket
        await anyio.sleep(0.01)


async def more(acknowledged: dict[bytes, TxResult], new: int) -> None:
    seen = len(acknowledged)
    while len(acknowledged) < seen + new:  # noqa: ASYNC110 - it happens behind a socket
        await anyio.sleep(0.002)


def nothing_acknowledged_is_lost(store: BlockStore, acknowledged: dict[bytes, TxResult]) -> None:
    assert len(acknowledged) > KILLS // 4
    for h, result in acknowledged.items():
        stored = store.tx(h)
        assert stored is not None, f"{h.hex()} was acknowledged in block {result.height} and is gone"
        assert stored.result == result
        assert result.code == 0


def every_head_was_seen_once(chain: Any, store: BlockStore, heads: list[Head]) -> None:
    assert [head.height for head in heads] == list(range(1, len(heads) + 1))
    authority = Authority.of(chain.genesis)
    stored = [open_header(raw, authority).head for _, raw, _ in store.headers(1, len(heads))]
    assert stored == heads


def a_fresh_machine_agrees(chain: Any, store: BlockStore) -> None:
    machine, authority = Machine.from_genesis(chain.genesis), Authority.of(chain.genesis)
    for height, raw, after in list(store.headers(1, store.height())):
        header = open_header(raw, authority).header
        assert header.app_hash == machine.app_hash
        txs = store.txs(height)
        done = machine.apply_block(height, header.time, [t.raw for t in txs])
        assert done.results == tuple(t.result for t in txs)
        assert after == machine.app_hash
    restored = recover(store, chain.genesis)
    assert restored.machine.app_hash == machine.app_hash
    assert list(restored.machine.rows()) == list(machine.rows()) == list(store.state())
