"""A producer's ledger as one service: file, application, engine and front door, started and ended together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.cometbft.application import Application
from davy.ledger.driver.cometbft.engine import Engine
from davy.ledger.driver.cometbft.node import EngineNode
from davy.ledger.driver.cometbft.supervisor import EnginePlace, supervise
from davy.ledger.driver.cometbft.wire import listen
from davy.ledger.driver.server import RpcServer, listening
from davy.ledger.driver.service import DEFAULT_PORT
from davy.protocol.genesis import Genesis
from davy.protocol.words import PublicKey


async def serve_producer(
    database: Path,
    genesis: Genesis,
    public: PublicKey,
    binary: Path,
    place: EnginePlace,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    snapshots: int = 0,
    keep: int = 0,
    renew: Callable[[], Awaitable[None]] | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run a producer until it is cancelled; on asyncio. `task_status` is started with its address once it answers.

    It answers from its own file at once, and hands transactions on as soon as the engine is up.

    Parameters
    ----------
    public
        Its key. One that has no seat follows the chain, and votes when it gets one.
    binary
        The engine.
    snapshots, keep
        See `Application`.
    renew
        Awaited before the engine is started while there is no block.

    Raises
    ------
    Misconfigured
        The file, the key, the engine or the port cannot be used, or the engine failed for good.
    StoreFailed
        The disk did not take a block; start it again when there is room.
    """
    place.check()
    with closing(BlockStore(database)) as store:
        app = Application(genesis, store, snapshots=snapshots, keep=keep)
        async with Engine(place.rpc) as engine, anyio.create_task_group() as tasks:
            node = EngineNode(app, engine, public)

            async def answer(*, task_status: TaskStatus[None]) -> None:
                await listen(place.app, app, task_status=task_status)

            await tasks.start(answer)
            async with listening(RpcServer(node).app, host, port) as address:
                task_status.started(address)
                tasks.start_soon(node.follow)

                async def prepared() -> None:
                    if renew is not None and store.height() == store.base():
                        await renew()

                await supervise(binary, place, store.height, lambda: app.connections, prepared)
