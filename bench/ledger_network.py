"""Four producers that somebody falls behind, joins, and fills the disk of: seconds and bytes, of real processes.

    python -m bench.ledger_network [--engine FILE] [--blocks 200] [--forgets 6000]

All four producers, whoever joins and the load share this machine, so seconds belong to it; the blocks that were missed
meanwhile and the bytes do not. Eight senders transfer without a pause, a block is made every fifth of a second or
later. What is forgotten makes room for what comes, in files of megabytes, which four producers do not fill in minutes.
So a fifth that is alone makes blocks as fast as it can, and keeps the newest `KEEP`; its unbonding time is as short.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.driver.cometbft.install import NAME, is_engine
from davy.ledger.submit import deliver
from davy.protocol.encoding import encode
from davy.protocol.errors import Refused, Unreachable
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import SignedTx, Transfer, TxBody
from davy.protocol.words import TOKEN, KeyRole, key_text
from tests.ledger.driver.cometbft.engines import Producers, reach

KEEP: Final = 100
SNAPSHOTS: Final = 50
DAY_S: Final = 86_400
VOTES: Final = "engine/data/cs.wal"
SENDERS: Final = [bindings.crypto_sign_seed_keypair(bytes([n]) * 32) for n in range(1, 9)]


async def send_without_end(ledger: RpcLedger, public: bytes, secret: bytes) -> None:
    """Transfer next to nothing, again and again."""
    nonce = await ledger.nonce(public)
    while True:
        body = encode(TxBody(1, ledger.chain, public, nonce, Transfer(bytes(31) + b"\1", TOKEN // 1_000)))
        with suppress(Unreachable, Refused):
            await deliver(ledger, encode(SignedTx(1, body, sign(secret, Domain.TX, body))))
            nonce += 1


def size(folder: Path) -> int:
    """Bytes on the disk of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # an engine's logs come and go
            total += path.stat().st_blocks * 512
    return total


class Seen:
    """Four running producers, and what was measured of them."""

    def __init__(self, producers: Producers, first: RpcLedger) -> None:
        self.producers, self.first = producers, first
        self.lines: list[str] = []

    async def height(self) -> int:
        return (await self.first.head()).height

    async def sent(self) -> int:
        """Transfers that are in blocks."""
        return sum([await self.first.nonce(public) for public, _ in SENDERS])

    async def later(self, blocks: int) -> int:
        """Wait for so many blocks; the height then."""
        for height in range(await self.height(), await self.height() + blocks):
            await reach(self.first, height + 1)
        return await self.height()

    async def disk(self, blocks: int) -> None:
        """Measure what a block adds to one that keeps all; the engine's log of votes is cut whatever is kept."""
        begin, sent, home = await self.height(), await self.sent(), self.producers.home(1)
        before, log = size(home), size(home / VOTES)
        end = await self.later(blocks)
        txs, log = await self.sent() - sent, size(home / VOTES) - log
        kept, votes = (size(home) - before - log) / (end - begin), log / (end - begin)
        self.lines.append(
            f"Disk, {end - begin} blocks of {txs / (end - begin):.1f} transfers: {kept / 1024:.1f} KiB a block where "
            f"all are kept ({kept * DAY_S / 1e9:.2f} GB a day, with a block a second), and {votes / 1024:.1f} KiB in "
            "the log of votes, which is cut at 10 MB."
        )

    async def forgotten(self, blocks: int) -> None:
        """Measure how large one becomes that keeps the newest, in the first half of some blocks and in the second."""
        home, most, sent = self.producers.home(1), [0, 0], await self.sent()
        for half in (0, 1):
            until = (1 + half) * blocks // 2
            while (height := await self.height()) < until:
                most[half] = max(most[half], size(home))
                await reach(self.first, min(height + 20, until))
        txs = (await self.sent() - sent) / blocks
        self.lines.append(
            f"Disk of one that keeps the newest {KEEP} of {blocks} blocks of {txs:.1f} transfers: at most "
            f"{most[0] / 1e6:.0f} MB in the first half of them, {most[1] / 1e6:.0f} MB in the second."
        )

    async def catch_up(self, blocks: int) -> None:
        """Kill a producer and its engine, and start it when it has missed so many blocks."""
        p = self.producers
        at = await self.height()
        p.end(4)
        missed = await self.later(blocks) - at
        took = await self._until_abreast(4)
        self.lines.append(f"Catching up on {missed} blocks after a restart: {took:.1f} s, the start of both included.")

    async def join(self, *options: str) -> None:
        """Let one more join, by a snapshot or block by block."""
        n = self.producers.join(1, *options)
        height = await self.height()
        took = await self._until_abreast(n)
        how = f"by all {height} blocks" if options else f"by a snapshot of at most {SNAPSHOTS} blocks ago, of {height}"
        self.lines.append(f"Joining {how}: {took:.1f} s, the start of both included.")
        self.producers.end(n)

    async def _until_abreast(self, n: int) -> float:
        """Start one, and wait until it tells the newest block; seconds."""
        began = time.perf_counter()
        self.producers.start(n, options=("--snapshots", str(SNAPSHOTS)))
        async with RpcLedger(self.producers.url(n), self.producers.chain) as ledger:
            while True:
                with suppress(Unreachable, Refused):
                    if (await ledger.head()).height >= await self.height():
                        return time.perf_counter() - began
                await anyio.sleep(0.05)


@asynccontextmanager
async def running(folder: Path, program: Path, count: int, block_time: int, *kept: str) -> AsyncGenerator[Seen]:
    """Make the chain, start its producers and the load."""
    owner = key_text(KeyRole.COLDKEY, SENDERS[0][0])
    granted = [word for public, _ in SENDERS for word in ("--allocate", f"{key_text(KeyRole.COLDKEY, public)}=1000")]
    with ExitStack() as stack:
        producers = Producers(folder, program, stack)
        producers.make(count, ("--owner", owner, *granted), block_time=block_time, parameters=f"unbonding={KEEP}")
        try:
            producers.start(*range(1, count + 1), options=("--snapshots", str(SNAPSHOTS), *kept))
            async with RpcLedger(producers.url(1), producers.chain) as first, anyio.create_task_group() as tasks:
                await reach(first, 2)
                for public, secret in SENDERS:
                    tasks.start_soon(send_without_end, first, public, secret)
                yield Seen(producers, first)
                tasks.cancel_scope.cancel()
        finally:
            producers.stop()


async def measure(program: Path, blocks: int, forgets: int) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="davy-") as folder:
        async with running(Path(folder) / "n", program, 4, 200) as seen:
            await seen.later(KEEP + SNAPSHOTS)
            await seen.disk(blocks)
            await seen.catch_up(blocks)
            await seen.join()
            await seen.join("--every-block")
        async with running(Path(folder) / "m", program, 1, 0, "--keep", str(KEEP)) as alone:
            await alone.forgotten(forgets)
        return [*seen.lines, *alone.lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, default=Path("build/engine") / NAME)
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--forgets", type=int, default=6_000)
    asked = parser.parse_args()
    if not is_engine(asked.engine.absolute()):
        raise SystemExit(f"there is no engine at {asked.engine}: `make engine` builds it; nothing was measured")
    print("\n".join(anyio.run(measure, asked.engine.absolute(), asked.blocks, asked.forgets)))


if __name__ == "__main__":
    main()
