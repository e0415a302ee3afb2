"""How many signed transfers a second the embedded ledger takes, and how long a commit lasts.

What is timed is the driver's own path: `Producer.submit` (decode, signature, nonce, mempool), then `make_block` (rules,
map, app hash, signed header, one flushed transaction). Figures of seconds belong to a machine; the ratios are against
loops of the same run: the same driver with the signature check taken out, and the signature check alone.

    python bench/ledger_embedded.py [--txs 20000] [--block 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import aiohttp
import anyio
from nacl import bindings

from davy.host.clock import SystemClock
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.driver.server import RpcServer, listening
from davy.ledger.driver.shapes import to_base64
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Allocation, Genesis, chain_id
from davy.protocol.limits import MAX_RPC_BATCH, chain_parameters
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import SignedTx, Transfer, TxBody, open_tx, verify_tx
from davy.protocol.words import KeyRole

GOAL = 5_000
"""Signed transfers a second."""


class Signer:
    """One key in memory."""

    def __init__(self, n: int) -> None:
        self._public, self._secret = bindings.crypto_sign_seed_keypair(n.to_bytes(32, "big"))

    def public(self, role: KeyRole) -> bytes:
        return self._public

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return sign(self._secret, domain, body)

    def sign_raw(self, role: KeyRole, message: bytes) -> bytes:
        raise NotImplementedError("blocks and transactions are signed in a domain")


class Load(NamedTuple):
    """A chain and transfers that all succeed, spread over all accounts."""

    genesis: Genesis
    producer: Signer
    txs: list[bytes]


class Taken(NamedTuple):
    """What one pass cost, in seconds."""

    submit: float
    commits: list[float]

    @property
    def total(self) -> float:
        return self.submit + sum(self.commits)


def load(count: int, accounts: int) -> Load:
    signers, producer = [Signer(n) for n in range(accounts)], Signer(2**64)
    publics = [s.public(KeyRole.COLDKEY) for s in signers]
    allocations = tuple(Allocation(key, 10**12) for key in publics)
    g = Genesis(1, "bench", 0, chain_parameters(), (producer.public(KeyRole.PRODUCER),), allocations, (), ())
    chain = chain_id(g)

    def transfers() -> Iterator[bytes]:
        for n in range(count):
            sender = n % accounts
            to = publics[(n * 7_919 + 1) % accounts]
            body = encode(TxBody(1, chain, publics[sender], n // accounts, Transfer(to, 1)))
            yield encode(SignedTx(1, body, signers[sender].sign(KeyRole.COLDKEY, Domain.TX, body)))

    return Load(g, producer, list(transfers()))


async def drive(x: Load, block: int) -> Taken:
    """Hand in all transactions, a block's worth at a time, and commit each block."""
    with tempfile.TemporaryDirectory() as folder, closing(BlockStore(Path(folder) / "ledger.db")) as store:
        producer = Producer(x.genesis, store, x.producer, SystemClock())
        submit, commits = 0.0, list[float]()
        for first in range(0, len(x.txs), block):
            start = time.perf_counter()
            verdicts = [producer.submit(raw) for raw in x.txs[first : first + block]]
            submit += time.perf_counter() - start
            assert all(v.code is TxCode.OK for v in verdicts)
            start = time.perf_counter()
            await producer.make_block()
            commits.append(time.perf_counter() - start)
        assert sum(len(store.txs(h)) for h in range(1, producer.head.height + 1)) == len(x.txs)
        return Taken(submit, commits)


async def drive_empty(x: Load, blocks: int) -> list[float]:
    return (await drive(Load(x.genesis, x.producer, x.txs[:blocks]), 1)).commits


async def drive_http(x: Load) -> float:
    """Seconds from the first transaction to the last commit, over HTTP in batches; client and server on one core."""
    batches = [
        [
            {"jsonrpc": "2.0", "id": n, "method": "broadcast_tx_sync", "params": {"tx": to_base64(raw)}}
            for n, raw in part
        ]
        for part in (list(enumerate(x.txs[i : i + MAX_RPC_BATCH])) for i in range(0, len(x.txs), MAX_RPC_BATCH))
    ]
    with tempfile.TemporaryDirectory() as folder, closing(BlockStore(Path(folder) / "ledger.db")) as store:
        producer = Producer(x.genesis, store, x.producer, SystemClock())
        async with listening(RpcServer(producer).app, "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
            start = time.perf_counter()
            for n, batch in enumerate(batches, 1):
                async with session.post(url, json=batch) as response:
                    answers = await response.json()
                assert all(a["result"]["code"] == 0 for a in answers)
                if n * MAX_RPC_BATCH % 2_000 == 0 or n == len(batches):
                    await producer.make_block()
            return time.perf_counter() - start


def verify_alone(x: Load) -> float:
    opened = [open_tx(raw) for raw in x.txs]
    start = time.perf_counter()
    for signed, body in opened:
        verify_tx(signed, body)
    return time.perf_counter() - start


def measure(count: int, block: int) -> dict[str, float]:
    accounts = max(count // 20, 1)
    x = load(count, accounts)
    signed = anyio.run(drive, x, block)
    with mock.patch("davy.ledger.rules.transactions.verify_tx", return_value=None):
        bare = anyio.run(drive, x, block)
    small = sorted(anyio.run(drive_empty, x, 200))
    http = Load(x.genesis, x.producer, x.txs[: count // 2])
    return {
        "accounts": accounts,
        "signed tx/s": count / signed.total,
        "submit, µs a tx": signed.submit / count * 1e6,
        f"commit of {block}, ms": statistics.median(signed.commits) * 1e3,
        "commit of 1, ms p50": statistics.median(small) * 1e3,
        "commit of 1, ms p99": small[int(len(small) * 0.99)] * 1e3,
        "unsigned tx/s": count / bare.total,
        "signed / unsigned": bare.total / signed.total,
        "signature checks alone /s": count / verify_alone(x),
        "signed tx/s over HTTP, one core for both sides": len(http.txs) / asyncio.run(drive_http(http)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Signed transfers a second through the embedded ledger.")
    parser.add_argument("--txs", type=int, default=20_000)
    parser.add_argument("--block", type=int, default=2_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    figures = measure(asked.txs, asked.block)
    for name, value in figures.items():
        print(f"{name:48} {value:12.2f}")
    print(f"{'goal: signed tx/s':48} {GOAL:12.2f} {'reached' if figures['signed tx/s'] >= GOAL else 'missed'}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
