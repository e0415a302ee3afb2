"""The embedded ledger as one service: file, producer and front door, started and ended together."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.driver.server import RpcServer, listening
from davy.protocol.genesis import Genesis
from davy.protocol.ports import Clock, KeyStore

DEFAULT_PORT = 26657
"""CometBFT's."""


async def serve_embedded(
    database: Path,
    genesis: Genesis,
    keys: KeyStore,
    clock: Clock,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    block_time: int = 250,
    empty_blocks: bool = True,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run a ledger until it is cancelled; on asyncio. `task_status` is started with its address once it answers.

    Parameters
    ----------
    port
        0 takes any free one.
    block_time
        Milliseconds.

    Raises
    ------
    Misconfigured
        The file, the key or the port cannot be used.
    StoreFailed
        The disk did not take a block; what was acknowledged is safe.
    """
    with closing(BlockStore(database)) as store:
        producer = Producer(genesis, store, keys, clock, block_time=block_time, empty_blocks=empty_blocks)
        async with listening(RpcServer(producer).app, host, port) as address:
            task_status.started(address)
            await producer.run()
